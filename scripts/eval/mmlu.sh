#!/usr/bin/env bash
# MMLU alone, four choices in 57 subjects: without examples, and with five.
# Where its data is missing, the error names the command that makes it.
# Usage: bash scripts/eval/mmlu.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=mmlu exec bash "$ROOT/scripts/evaluation.sh" "$@"
