#!/usr/bin/env bash
# Task-driven sets that need paraphrases: "First paraphrase the input, then ...",
# or repeat and paraphrase in both orders (TASK=merge). A generator paraphrases
# the inputs. Writes sit.jsonl, and sit.rejected.jsonl with what could not be
# paraphrased and why. The same command goes on after a kill.
# Usage: INPUT_FILE=rows.json bash self-seq/scripts/generation_task_driven.sh
#        (further flags are handed to self_seq.task_driven: --rows 1000 with
#        paraphrase, --repeat_rows and others with merge; --labels names answers)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/start.sh"

INPUT_FILE=${INPUT_FILE:-}                                       # rows of instruction, input, output: JSON or JSONL
TASK=${TASK:-paraphrase}                                         # paraphrase, or merge (sizes as published)
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/self-seq/data/task_driven_$TASK}  # folder of sit.jsonl and of the journal
ENGINE=${ENGINE:-vllm}                                           # who paraphrases: vllm, openai, openai-batch, local
ENGINE_OPTIONS=${ENGINE_OPTIONS:-}                               # its settings, each NAME=VALUE, separated by spaces
SEED=${SEED:-42}                                                 # of the rows drawn and of their order

if [[ -z $INPUT_FILE ]]; then
  echo "error: INPUT_FILE is not set; name a file of instructions (--help explains)" >&2
  exit 1
fi
options=()
if [[ -n $ENGINE_OPTIONS ]]; then read -ra words <<<"$ENGINE_OPTIONS" && options+=(--engine_options "${words[@]}"); fi
exec python -m self_seq.task_driven --task "$TASK" --input "$INPUT_FILE" --output "$OUTPUT_DIR/sit.jsonl" \
  --engine "$ENGINE" ${options[@]+"${options[@]}"} --seed "$SEED" "$@"
