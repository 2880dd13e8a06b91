#!/usr/bin/env bash
# Makes the embedded base model anew: tokenizer and weights, from a fixed seed.
# The result is committed as open_instruct/miniature/base.
# Usage: bash scripts/miniature/pretrain.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/miniature_base}  # folder of the checkpoint
STEPS=${STEPS:-1800}                                   # optimizer steps of 128 documents
SEED=${SEED:-0}                                        # of the weights and the documents

exec python -m open_instruct.miniature.pretrain --output_dir "$OUTPUT_DIR" --steps "$STEPS" --seed "$SEED" "$@"
