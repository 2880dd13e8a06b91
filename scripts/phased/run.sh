#!/usr/bin/env bash
# Phased instruction fine-tuning: trains on stage 1, from its weights on stage 2,
# and so on (scripts/phased/split.sh makes the stages). The hyper-parameters are
# the published ones, the same for each stage. The same command goes on at the
# stage and step where it was stopped; scripts/phased/stopall.sh stops it.
# Usage: bash scripts/phased/run.sh
#        (further flags are handed to open_instruct.finetune; other variables:
#        scripts/finetune_with_accelerate.sh --help)
# The controls of the publication, one at a time:
#        ONE_OFF=1        all stages mixed: what phased tuning is compared with
#        RANDOM_STAGES=1  stages of the same sizes, drawn by chance
#        ORDER=3-1-2      another order;   ONLY=3  one stage;   MIX=1,2  two mixed
# A checkpoint is named after what was trained up to it: OUTPUT_DIR/1-2 is stage 2
# on top of stage 1, 1+2 both mixed, random-1-2-3 three stages drawn by chance.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

MODEL=${MODEL:-meta-llama/Llama-2-7b-hf}                  # folder of the model to start from, or its name on the hub
STAGES_DIR=${STAGES_DIR:-$ROOT/data/train/phased/stages}  # folder of the stages, as split.sh wrote it
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/phased}             # folder of the checkpoints, one a training
ONE_OFF=${ONE_OFF:-}                                      # 1: all stages mixed, in one training
RANDOM_STAGES=${RANDOM_STAGES:-}                          # 1: stages of the same sizes whose rows are drawn by chance
ORDER=${ORDER:-}                                          # of the stages, such as 3-1-2; by default ascending
ONLY=${ONLY:-}                                            # the one stage to train on
MIX=${MIX:-}                                              # stages to train on together, such as 1,2
EPOCHS=${EPOCHS:-2}                                       # passes over the rows of each stage
LEARNING_RATE=${LEARNING_RATE:-5e-6}                      # peak, of each stage; falls as a cosine after a tenth of warm-up
BATCH=${BATCH:-128}                                       # rows an optimizer step, over all devices (published: 16 a GPU)
PACKING=${PACKING:-false}                                 # true: BATCH counts packed rows of LENGTH tokens, so a step holds many more rows
export MODEL EPOCHS LEARNING_RATE BATCH

# All that this script starts carries this mark; stopall.sh finds it by that, and harms nobody else.
mkdir -p "$OUTPUT_DIR"
OUTPUT_DIR=$(CDPATH='' cd -- "$OUTPUT_DIR" && pwd -P)
if [[ ${SIT_PHASED_RUN:-} != "$OUTPUT_DIR" ]]; then
  export OUTPUT_DIR SIT_PHASED_RUN=$OUTPUT_DIR
  exec bash "${BASH_SOURCE[0]}" "$@"
fi

yes_or_no() { if [[ -n $1 && $1 != 0 && $1 != false ]]; then echo true; else echo false; fi; }
plan=$(python -m open_instruct.phased.plan --stages_dir "$STAGES_DIR" --order "$ORDER" --only "$ONLY" --mix "$MIX" \
  --one_off "$(yes_or_no "$ONE_OFF")" --random_stages "$(yes_or_no "$RANDOM_STAGES")")

# In the background, so that a signal reaches the training at once: it saves a checkpoint and ends with 75.
child=''
trap '[[ -z $child ]] || kill -TERM "$child" 2>/dev/null || true' INT TERM
train() {
  bash "$ROOT/scripts/finetune_with_accelerate.sh" "$@" &
  child=$!
  local code=0
  wait "$child" || code=$?
  while kill -0 "$child" 2>/dev/null; do  # a signal ends `wait` before the child has ended
    code=0
    wait "$child" || code=$?
  done
  child=''
  return "$code"
}

base=$MODEL
while IFS=$'\t' read -r name files; do
  IFS=$'\t' read -ra rows <<<"$files"
  printf '\n== %s: %s, from %s\n' "$name" "${rows[*]##*/}" "$base"
  code=0
  MODEL=$base OUTPUT_DIR=$OUTPUT_DIR/$name train --train_file "${rows[@]}" --lr_scheduler_type cosine \
    --warmup_steps 0.1 --weight_decay 0.1 --adam_beta2 0.95 --packing "$PACKING" "$@" </dev/null || code=$?
  if ((code != 0)); then
    echo "stopped in training $name (exit code $code); the same command goes on there" >&2
    exit "$code"
  fi
  base=$OUTPUT_DIR/$name
done <<<"$plan"
printf '\nphased tuning has ended: %s\n' "$base"
