#!/usr/bin/env bash
# Stage 1 with any server that speaks OpenAI's protocol: OpenAI itself, vLLM
# serve, llama.cpp, TGI, Ollama. The key is read from OPENAI_API_KEY and goes
# nowhere else. The same command goes on after a kill.
# Usage: export INPUT_FILE=rows.json MODEL=gpt-4o-mini
#        DRY_RUN=1 bash self-seq/scripts/generation_openai.sh   # the cost first
#        bash self-seq/scripts/generation_openai.sh
#        BATCH=1 bash self-seq/scripts/generation_openai.sh     # the Batch API
#        BASE_URL=http://localhost:8000/v1 bash self-seq/scripts/generation_openai.sh
#        (generation.sh --help lists every further variable and flag)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/start.sh"

INPUT_FILE=${INPUT_FILE:-}                                   # rows of instruction, input, output: JSON or JSONL, .gz too
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/self-seq/data/openai}         # folder of the journals and results; one an experiment
MODEL=${MODEL:-}                                             # the model's name at the server
BASE_URL=${BASE_URL:-}                                       # the server, ending in /v1; empty: OPENAI_BASE_URL, or else OpenAI
IN_FLIGHT=${IN_FLIGHT:-256}                                  # requests on their way at once
REQUESTS_PER_MINUTE=${REQUESTS_PER_MINUTE:-0}                # no more than so many; 0: no limit
TOKENS_PER_MINUTE=${TOKENS_PER_MINUTE:-0}                    # prompt and answer tokens, no more than so many; 0: no limit
BATCH=${BATCH:-0}                                            # 1: through the Batch API

if [[ -z $MODEL ]]; then
  echo "error: MODEL is not set; name a model of the server (--help explains)" >&2
  exit 1
fi
options="model=$MODEL${BASE_URL:+ base_url=$BASE_URL}"
if [[ $BATCH = 1 ]]; then
  ENGINE=openai-batch
  options+=" state=$OUTPUT_DIR/batches"
else
  ENGINE=openai
  options+=" in_flight=$IN_FLIGHT requests_per_minute=$REQUESTS_PER_MINUTE tokens_per_minute=$TOKENS_PER_MINUTE"
fi
export INPUT_FILE OUTPUT_DIR ENGINE ENGINE_OPTIONS="$options ${ENGINE_OPTIONS:-}"
exec bash "$ROOT/self-seq/scripts/generation.sh" "$@"
