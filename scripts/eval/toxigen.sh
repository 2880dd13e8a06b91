#!/usr/bin/env bash
# ToxiGen alone: hateful prompts about fourteen groups, and how many responses
# a classifier finds toxic. Without JUDGE_OPTIONS the responses are written; the
# same command with it judges them.
# Usage: bash scripts/eval/toxigen.sh CHECKPOINT [RUN_NAME]
#        JUDGE_OPTIONS="toxicity.path=CLASSIFIER" bash scripts/eval/toxigen.sh CHECKPOINT
#        (variables and arguments are those of scripts/evaluation.sh; docs/judges.md)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TASKS=toxigen exec bash "$ROOT/scripts/evaluation.sh" "$@"
