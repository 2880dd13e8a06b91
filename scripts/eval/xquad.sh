#!/usr/bin/env bash
# XQuAD alone: translate into English, then answer.
# Where its data is missing, the error names the command that makes it.
# Usage: bash scripts/eval/xquad.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=xquad exec bash "$ROOT/scripts/evaluation.sh" "$@"
