#!/usr/bin/env bash
# TRAINS, whatever its name says: this is the published code's name for the
# training on VQAv2 with COCO's captions, and calls train_instruct_coco.sh.
# Evaluation is in LAVIS/run_scripts/blip2/eval.
# Usage: bash LAVIS/run_scripts/blip2/train/eval_instruct_caption_coco.sh
#        (variables and arguments are those of train_instruct_coco.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../../scripts/start.sh"

echo "This trains (the published name says eval): train_instruct_coco.sh. To evaluate: LAVIS/run_scripts/blip2/eval/eval_vqav2.sh"
exec bash "$ROOT/LAVIS/run_scripts/blip2/train/train_instruct_coco.sh" "$@"
