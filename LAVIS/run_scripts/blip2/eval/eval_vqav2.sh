#!/usr/bin/env bash
# Evaluates InstructBLIP, tuned or as published, on VQAv2's validation
# questions: a share on every GPU. Killed, the same command goes on.
# Usage: bash LAVIS/run_scripts/blip2/eval/eval_vqav2.sh [TUNED [RUN_NAME]]
#   TUNED      folder that training wrote; "" evaluates the model as published
#   RUN_NAME   folder below results, and the run's name in reports
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../../scripts/start.sh"

CFG=${CFG:-$ROOT/LAVIS/lavis/projects/instructblip/vqav2_vicuna7b_eval.yaml}  # the YAML file
MODEL_TYPE=${MODEL_TYPE:-}              # vicuna7b, vicuna13b, flant5xl or flant5xxl; empty: as the YAML says
PRETRAINED=${PRETRAINED:-}              # folder of that InstructBLIP; empty: as its YAML in configs/models/blip2 says
PROMPT=${PROMPT:-}                      # direct, describe_first or distracted; empty: as the YAML says
RESULTS_DIR=${RESULTS_DIR:-$ROOT/results}  # folder of all runs
NUM_BEAMS=${NUM_BEAMS:-5}               # width of the beam search, as published; 1: greedy
LIMIT=${LIMIT:--1}                      # only so many questions, for a quick look; -1 takes all

options=("run.results_dir=$RESULTS_DIR" "run.num_beams=$NUM_BEAMS" "run.max_rows=$LIMIT")
if (($# > 0)); then options+=("model.finetuned=$1"); fi
if (($# > 1)); then options+=("run.run_name=$2"); fi
if [[ -n $MODEL_TYPE ]]; then options+=("model.model_type=$MODEL_TYPE"); fi
if [[ -n $PRETRAINED ]]; then options+=("model.pretrained=$PRETRAINED"); fi
if [[ -n $PROMPT ]]; then options+=("run.prompt=$PROMPT"); fi

exec bash "$ROOT/LAVIS/run_scripts/blip2/launch.sh" evaluate --cfg-path "$CFG" --options "${options[@]}"
