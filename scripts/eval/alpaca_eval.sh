#!/usr/bin/env bash
# AlpacaEval alone: 805 instructions; a judge compares with a reference model.
# Without JUDGE the responses are written; the same command with it judges them.
# Usage: bash scripts/eval/alpaca_eval.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments: scripts/evaluation.sh --help; judges: docs/judges.md)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=alpaca_eval exec bash "$ROOT/scripts/evaluation.sh" "$@"
