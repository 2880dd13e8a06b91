#!/usr/bin/env bash
# HellaSwag alone, 10 examples.
# Where its data is missing, the error names the command that makes it.
# Usage: bash scripts/eval/hellaswag.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=hellaswag exec bash "$ROOT/scripts/evaluation.sh" "$@"
