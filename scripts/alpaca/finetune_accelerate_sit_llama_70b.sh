#!/usr/bin/env bash
# Stage 2 of the paper on Alpaca: fine-tunes Llama-3-8B on
# sequential instructions.
# self-seq/scripts/generation_alpaca_llama_70b.sh makes the rows
# (Llama-3-70B is their generator). Every other variable and flag:
# scripts/finetune_with_accelerate.sh --help
# Usage: bash scripts/alpaca/finetune_accelerate_sit_llama_70b.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

DATA=${DATA:-$ROOT/self-seq/data/alpaca_llama_70b}                 # folder of stage 1's results
TRAIN_FILE=${TRAIN_FILE:-$DATA/sit.jsonl}                # rows to train on
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/alpaca_sit_llama_70b}  # folder of the fine-tuned checkpoint
export TRAIN_FILE OUTPUT_DIR
export WHERE_FROM="bash self-seq/scripts/generation_alpaca_llama_70b.sh makes it."

exec bash "$ROOT/scripts/finetune_with_accelerate.sh" "$@"
