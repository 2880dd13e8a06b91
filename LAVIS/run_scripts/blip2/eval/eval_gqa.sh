#!/usr/bin/env bash
# Evaluates InstructBLIP, tuned or as published, on the balanced test-dev
# questions of GQA: a share on every GPU. Killed, the same command goes on.
# Usage: bash LAVIS/run_scripts/blip2/eval/eval_gqa.sh [TUNED [RUN_NAME]]
#        (variables and arguments are those of eval_vqav2.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../../scripts/start.sh"

export CFG=${CFG:-$ROOT/LAVIS/lavis/projects/instructblip/gqa_vicuna7b_eval.yaml}
exec bash "$ROOT/LAVIS/run_scripts/blip2/eval/eval_vqav2.sh" "$@"
