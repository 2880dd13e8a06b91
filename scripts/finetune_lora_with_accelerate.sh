#!/usr/bin/env bash
# Stage 2 with a LoRA adapter: a few per cent of the weights are trained, and
# the checkpoint holds the adapter only; open_instruct.merge_lora joins it with
# its base. Every other variable: scripts/finetune_with_accelerate.sh --help
# Usage: bash scripts/finetune_lora_with_accelerate.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/start.sh"

OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/tulu_lora}  # folder of the adapter
LEARNING_RATE=${LEARNING_RATE:-1e-4}              # peak; an adapter bears more than all weights do
RANK_OF_ADAPTER=${RANK_OF_ADAPTER:-64}            # width of the adapter's matrices
ALPHA=${ALPHA:-16}                                # the adapter's part is scaled by ALPHA / RANK_OF_ADAPTER
DROPOUT=${DROPOUT:-0.1}                           # share of the adapter's inputs that is dropped
SHARDING=${SHARDING:-zero2}                       # how gradients and optimizer are split; zero3 splits the base too
ADAPTER=${ADAPTER:-lora}                          # lora, or qlora: on a base in 4 bits
export OUTPUT_DIR LEARNING_RATE SHARDING

exec bash "$ROOT/scripts/finetune_with_accelerate.sh" "--use_$ADAPTER" true --lora_r "$RANK_OF_ADAPTER" \
  --lora_alpha "$ALPHA" --lora_dropout "$DROPOUT" "$@"
