#!/usr/bin/env bash
# BIG-Bench Hard alone, 3 examples: worked out, and the answer alone. Tulu's 40
# questions of each task: TASKS=bbh_40 bash scripts/evaluation.sh
# Where its data is missing, the error names the command that makes it.
# Usage: bash scripts/eval/bbh.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=bbh exec bash "$ROOT/scripts/evaluation.sh" "$@"
