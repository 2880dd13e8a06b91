#!/usr/bin/env bash
# Stage 2 on the embedded miniature base model. finetune_it.sh and
# finetune_sit.sh call it with the two training files of stage 1.
# Usage: TRAIN_FILE=rows.jsonl OUTPUT_DIR=out bash scripts/miniature/finetune.sh
#        (further flags are handed to open_instruct.finetune)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TRAIN_FILE=${TRAIN_FILE:-$ROOT/self-seq/data/miniature/sit.jsonl}  # rows to train on
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/miniature/sit}               # folder of the fine-tuned checkpoint
MODEL=${MODEL:-$ROOT/open_instruct/miniature/base}                 # checkpoint to start from
EPOCHS=${EPOCHS:-3}                                                # passes over the rows
LEARNING_RATE=${LEARNING_RATE:-1.5e-3}                             # peak; 75 times an 8B model's: the miniature is small
LENGTH=${LENGTH:-128}                                              # tokens of a packed row; attention costs its square
BATCH=${BATCH:-8}                                                  # packed rows an optimizer step, in one forward pass
SAVE_STEPS=${SAVE_STEPS:-200}                                      # optimizer steps between checkpoints; a kill loses fewer
SEED=${SEED:-0}                                                    # of the order of the rows
THREADS=${THREADS:-$(getconf _NPROCESSORS_ONLN)}                   # CPU threads

export OMP_NUM_THREADS=$THREADS
exec python -m open_instruct.finetune \
  --model_name_or_path "$MODEL" --train_file "$TRAIN_FILE" --output_dir "$OUTPUT_DIR" --prompt_template tulu \
  --num_train_epochs "$EPOCHS" --learning_rate "$LEARNING_RATE" --warmup_steps 50 --adam_beta2 0.98 \
  --max_length "$LENGTH" --total_batch_size "$BATCH" --per_device_train_batch_size "$BATCH" \
  --gradient_checkpointing false --use_cpu true --logging_steps 100 --save_steps "$SAVE_STEPS" --seed "$SEED" \
  --report_to none "$@"
