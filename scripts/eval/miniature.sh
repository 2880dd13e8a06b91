#!/usr/bin/env bash
# The miniature benchmark alone: single tasks, unseen pairs and chains of tasks.
# Where its data is missing, the error names the command that makes it.
# Usage: bash scripts/eval/miniature.sh CHECKPOINT [RUN_NAME]
#        (variables and arguments are those of scripts/evaluation.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=miniature exec bash "$ROOT/scripts/evaluation.sh" "$@"
