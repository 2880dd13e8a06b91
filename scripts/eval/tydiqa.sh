#!/usr/bin/env bash
# TyDiQA alone: with the gold passage, and closed book.
# Where its data is missing, the error names the command that makes it.
# Usage: bash scripts/eval/tydiqa.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=tydiqa exec bash "$ROOT/scripts/evaluation.sh" "$@"
