#!/usr/bin/env bash
# The FlanCoT pilot: 15,000 rows drawn from FlanCoT, otherwise as
# generation_flancot_full_llama_70b.sh, which it calls.
# Usage: bash self-seq/scripts/generation_flancot_llama_70b.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/start.sh"

SAMPLE_ROWS=${SAMPLE_ROWS:-15000}                                  # rows, drawn by the seed
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/self-seq/data/flancot_llama_70b}    # folder of the journals and results

export SAMPLE_ROWS OUTPUT_DIR
exec bash "$ROOT/self-seq/scripts/generation_flancot_full_llama_70b.sh" "$@"
