#!/usr/bin/env bash
# MGSM alone: eleven languages, four modes, 0 and 8 examples.
# Where its data is missing, the error names the command that makes it.
# Usage: bash scripts/eval/mgsm.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=mgsm exec bash "$ROOT/scripts/evaluation.sh" "$@"
