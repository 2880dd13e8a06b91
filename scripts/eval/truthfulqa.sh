#!/usr/bin/env bash
# TruthfulQA alone: 790 questions, answered freely and by choice. Without a judge
# the free answers are only written; the same command with one judges them.
# Usage: bash scripts/eval/truthfulqa.sh CHECKPOINT [RUN_NAME]
#        JUDGE=openai JUDGE_OPTIONS="model=gpt-4.1" bash scripts/eval/truthfulqa.sh CHECKPOINT
#        JUDGE_OPTIONS="truthfulness.truth=FOLDER truthfulness.info=FOLDER" bash scripts/eval/truthfulqa.sh CHECKPOINT
#        (variables and arguments are those of scripts/evaluation.sh; docs/judges.md)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=truthfulqa exec bash "$ROOT/scripts/evaluation.sh" "$@"
