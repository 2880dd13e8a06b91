#!/usr/bin/env bash
# Tunes InstructBLIP on VQAv2 with COCO's captions. Data first:
# bash LAVIS/download_vqa.sh. Settings stand in the YAML file; variables that
# are set here win over it. The same command goes on after a kill.
# Usage: bash LAVIS/run_scripts/blip2/train/train_instruct_coco.sh [--options section.key=value ...]
#        ROWS=base bash LAVIS/run_scripts/blip2/train/train_instruct_coco.sh    # answers directly: the baseline
#        (NUM_PROCESSES=8: see LAVIS/run_scripts/blip2/launch.sh)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../../scripts/start.sh"

CFG=${CFG:-$ROOT/LAVIS/lavis/projects/instructblip/caption_coco_vicuna7b_train.yaml}  # the YAML file
MODEL_TYPE=${MODEL_TYPE:-}      # vicuna7b, vicuna13b, flant5xl or flant5xxl; empty: as the YAML says
PRETRAINED=${PRETRAINED:-}      # folder of that InstructBLIP; empty: as its YAML in configs/models/blip2 says
ROWS=${ROWS:-}                  # describe, base or merge: which rows of make_instruct_data.py; empty: as the YAML says
ROWS_DIR=${ROWS_DIR:-$ROOT/data/train/vl/rows}  # folder of the rows, for ROWS
OUTPUT_DIR=${OUTPUT_DIR:-}      # folder of the trained parts; empty: with ROWS output/vqa_ROWS, else as the YAML says
USE_LORA=${USE_LORA:-}          # true: LoRA adapters in the language model train as well

options=()
if [[ -n $MODEL_TYPE ]]; then options+=("model.model_type=$MODEL_TYPE"); fi
if [[ -n $PRETRAINED ]]; then options+=("model.pretrained=$PRETRAINED"); fi
if [[ -n $USE_LORA ]]; then options+=("model.use_lora=$USE_LORA"); fi
if [[ -n $ROWS ]]; then
  options+=("datasets.coco_vqa.build_info.annotations.train.storage=$ROWS_DIR/${ROWS}_vqa_train.json")
  OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/vqa_$ROWS}
fi
if [[ -n $OUTPUT_DIR ]]; then options+=("run.output_dir=$OUTPUT_DIR"); fi
if [[ ${1:-} = --options ]]; then shift; fi
options+=("$@")
if ((${#options[@]} > 0)); then options=(--options "${options[@]}"); fi

exec bash "$ROOT/LAVIS/run_scripts/blip2/launch.sh" train --cfg-path "$CFG" ${options[@]+"${options[@]}"}
