#!/usr/bin/env bash
# Stage 2 on the embedded miniature: fine-tunes on sequential instructions.
# Usage: bash scripts/miniature/finetune_sit.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

TRAIN_FILE=${TRAIN_FILE:-$ROOT/self-seq/data/miniature/sit.jsonl}  # rows to train on; every other variable: see finetune.sh
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/miniature/sit}               # folder of the fine-tuned checkpoint
export TRAIN_FILE OUTPUT_DIR

exec bash "$ROOT/scripts/miniature/finetune.sh" "$@"
