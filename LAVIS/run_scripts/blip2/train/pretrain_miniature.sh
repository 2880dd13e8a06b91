#!/usr/bin/env bash
# Makes the base model of the picture miniature: it learns to describe, and
# never sees a question. Its result is committed in LAVIS/lavis/miniature/base.
# Usage: bash LAVIS/run_scripts/blip2/train/pretrain_miniature.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../../scripts/start.sh"

OUTPUT=${OUTPUT:-$ROOT/output/miniature_vl_base}      # folder of the checkpoint
STEPS=${STEPS:-1000}                                  # optimizer steps; all take about 4 minutes on two cores
SEED=${SEED:-0}                                       # of the weights and the pictures
THREADS=${THREADS:-$(getconf _NPROCESSORS_ONLN)}      # CPU threads

export OMP_NUM_THREADS=$THREADS
exec python -m lavis.miniature.pretrain --output_dir "$OUTPUT" --steps "$STEPS" --seed "$SEED"
