#!/usr/bin/env bash
# Stage 2 with PyTorch's FSDP2 instead of DeepSpeed: weights, gradients and
# optimizer are split over the devices. Every variable and flag:
# scripts/finetune_with_accelerate.sh --help
# Usage: bash scripts/finetune_with_fsdp.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/start.sh"

SHARDING=${SHARDING:-fsdp2}  # how the model is split
export SHARDING

exec bash "$ROOT/scripts/finetune_with_accelerate.sh" "$@"
