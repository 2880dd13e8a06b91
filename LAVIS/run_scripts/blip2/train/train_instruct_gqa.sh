#!/usr/bin/env bash
# Tunes InstructBLIP on the direct and the describe-first rows of VQAv2
# together, as the publication did before it evaluated on GQA.
# Usage: bash LAVIS/run_scripts/blip2/train/train_instruct_gqa.sh
#        (variables and arguments are those of train_instruct_coco.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../../scripts/start.sh"

export CFG=${CFG:-$ROOT/LAVIS/lavis/projects/instructblip/caption_gqa_vicuna7b_train.yaml}
exec bash "$ROOT/LAVIS/run_scripts/blip2/train/train_instruct_coco.sh" "$@"
