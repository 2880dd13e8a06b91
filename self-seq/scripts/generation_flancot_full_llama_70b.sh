#!/usr/bin/env bash
# FlanCoT, 100,000 rows, rewritten and answered by Llama-3-70B-Instruct (vLLM).
# Its rows hold instruction and input in one text: they are separated first
# (EXTRACT=1) and put together again at the end. The same command goes on after a
# kill. SAMPLE_ROWS draws a part of the rows by the seed.
# Usage: bash self-seq/scripts/generation_flancot_full_llama_70b.sh
#        DRY_RUN=1 bash self-seq/scripts/generation_flancot_full_llama_70b.sh
#        (generation.sh --help lists every further variable and flag)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/start.sh"

MODEL=${MODEL:-meta-llama/Meta-Llama-3-70B-Instruct}                        # folder of the generator, or its name on the hub
INPUT_FILE=${INPUT_FILE:-$ROOT/data/train/flancot/flancot_100k.jsonl}       # the single instructions
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/self-seq/data/flancot_full_llama_70b}        # folder of the journals and results
ITERATIONS=${ITERATIONS:-2}                                                 # rounds of rewriting; published were 1 to 4
SAMPLE_ROWS=${SAMPLE_ROWS:-0}                                               # only so many rows, drawn by the seed; 0 for all
ENGINE=${ENGINE:-vllm}                                                      # who answers; with another engine set ENGINE_OPTIONS
ENGINE_OPTIONS=${ENGINE_OPTIONS:-path=$MODEL}                               # its settings: tensor_parallel=4 data_parallel=2 ...

export INPUT_FILE OUTPUT_DIR ITERATIONS SAMPLE_ROWS ENGINE ENGINE_OPTIONS
export EXTRACT=${EXTRACT:-1} SOURCE_NAME=${SOURCE_NAME:-FlanCoT} PUBLISHED=flancot
export WHERE_FROM="It holds the FlanCoT rows as instruction, input, output (and system_prompt), one a line; bash scripts/prepare_train_data.sh flancot brings it."
exec bash "$ROOT/self-seq/scripts/generation.sh" "$@"
