#!/usr/bin/env bash
# Stage 2 with a LoRA adapter on a base in 4 bits (QLoRA): an 8B model fits a
# GPU of 16 GB, a 70B one a GPU of 80 GB. Needs bitsandbytes. Variables:
# scripts/finetune_lora_with_accelerate.sh and finetune_with_accelerate.sh --help
# Usage: bash scripts/finetune_qlora_with_accelerate.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/start.sh"

OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/tulu_qlora}  # folder of the adapter
SHARDING=${SHARDING:-none}                         # a whole 4-bit base a device
export OUTPUT_DIR SHARDING ADAPTER=qlora

exec bash "$ROOT/scripts/finetune_lora_with_accelerate.sh" "$@"
