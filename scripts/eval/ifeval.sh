#!/usr/bin/env bash
# IFEval alone: instructions whose following a program checks.
# Where its data is missing, the error names the command that makes it.
# Usage: bash scripts/eval/ifeval.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=ifeval exec bash "$ROOT/scripts/evaluation.sh" "$@"
