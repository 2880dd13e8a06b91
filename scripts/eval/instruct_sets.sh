#!/usr/bin/env bash
# The six sets of phased instruction tuning; a judge compares with a reference
# model.
# Without JUDGE the responses are written; the same command with it judges them.
# Usage: bash scripts/eval/instruct_sets.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments: scripts/evaluation.sh --help; judges: docs/judges.md)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=instruct_sets exec bash "$ROOT/scripts/evaluation.sh" "$@"
