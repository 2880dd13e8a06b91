#!/usr/bin/env bash
# GSM8K alone, 8 examples: worked out, and the number alone.
# Where its data is missing, the error names the command that makes it.
# Usage: bash scripts/eval/gsm.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=gsm exec bash "$ROOT/scripts/evaluation.sh" "$@"
