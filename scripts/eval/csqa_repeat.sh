#!/usr/bin/env bash
# CommonsenseQA alone: plain, and with the question to be repeated first.
# Where its data is missing, the error names the command that makes it.
# Usage: bash scripts/eval/csqa_repeat.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=csqa_repeat exec bash "$ROOT/scripts/evaluation.sh" "$@"
