#!/usr/bin/env bash
# ARC-Challenge alone, 25 examples.
# Where its data is missing, the error names the command that makes it.
# Usage: bash scripts/eval/arc_challenge.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=arc_challenge exec bash "$ROOT/scripts/evaluation.sh" "$@"
