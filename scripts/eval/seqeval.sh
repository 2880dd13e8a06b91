#!/usr/bin/env bash
# SeqEval alone: 805 chains of tasks; a judge says which tasks are followed, and
# how well.
# Without JUDGE the responses are written; the same command with it judges them.
# Usage: bash scripts/eval/seqeval.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments: scripts/evaluation.sh --help; judges: docs/judges.md)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=seqeval exec bash "$ROOT/scripts/evaluation.sh" "$@"
