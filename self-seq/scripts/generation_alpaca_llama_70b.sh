#!/usr/bin/env bash
# The paper's main set: cleaned Alpaca (51,760 rows) rewritten and answered by
# Llama-3-70B-Instruct under vLLM, on all GPUs of the machine (bfloat16 needs
# about 160 GB of GPU memory). The same command goes on after a kill.
# Usage: bash self-seq/scripts/generation_alpaca_llama_70b.sh
#        DRY_RUN=1 bash self-seq/scripts/generation_alpaca_llama_70b.sh
#        (generation.sh --help lists every further variable and flag)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/start.sh"

MODEL=${MODEL:-meta-llama/Meta-Llama-3-70B-Instruct}                                 # folder of the generator, or its name on the hub
INPUT_FILE=${INPUT_FILE:-$ROOT/data/train/alpaca_cleaned/alpaca_data_cleaned.json}  # the single instructions
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/self-seq/data/alpaca_llama_70b}                       # folder of the journals and results
ITERATIONS=${ITERATIONS:-2}                                                         # rounds of rewriting; published were 1 to 4
ENGINE=${ENGINE:-vllm}                                                              # who answers; with another engine set ENGINE_OPTIONS
ENGINE_OPTIONS=${ENGINE_OPTIONS:-path=$MODEL}                                       # its settings: tensor_parallel=4 data_parallel=2 ...

export INPUT_FILE OUTPUT_DIR ITERATIONS ENGINE ENGINE_OPTIONS
export SOURCE_NAME=${SOURCE_NAME:-alpaca-cleaned} SOURCE_LICENSE=${SOURCE_LICENSE:-cc-by-4.0} PUBLISHED=alpaca
export WHERE_FROM="It is alpaca_data_cleaned.json of the dataset yahma/alpaca-cleaned; bash scripts/prepare_train_data.sh alpaca_cleaned brings it."
exec bash "$ROOT/self-seq/scripts/generation.sh" "$@"
