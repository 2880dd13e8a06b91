#!/usr/bin/env bash
# Stage 2 on the embedded miniature: fine-tunes on the original instructions (the
# plain baseline).
# Usage: bash scripts/miniature/finetune_it.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TRAIN_FILE=${TRAIN_FILE:-$ROOT/self-seq/data/miniature/it.jsonl}  # rows to train on; every other variable: see finetune.sh
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/miniature/it}               # folder of the fine-tuned checkpoint
export TRAIN_FILE OUTPUT_DIR

exec bash "$ROOT/scripts/miniature/finetune.sh" "$@"
