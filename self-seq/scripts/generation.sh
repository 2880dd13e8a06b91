#!/usr/bin/env bash
# Stage 1 on any instruction set with any generator: rewrites single instructions
# into sequences and answers both. Writes it.jsonl, sit.jsonl, rejected.jsonl, a
# dataset card and report.html. The same command goes on after a kill. DRY_RUN=1
# says what it would ask and cost.
# Usage: export INPUT_FILE=rows.json ENGINE=local ENGINE_OPTIONS=path=MODEL
#        bash self-seq/scripts/generation.sh
#        (further flags are handed to python -m self_seq.generate)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/start.sh"

INPUT_FILE=${INPUT_FILE:-}                                # rows of instruction, input, output: JSON or JSONL, .gz too
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/self-seq/data/generation}  # folder of the journals and results; one an experiment
ENGINE=${ENGINE:-vllm}                                    # who answers: vllm, openai, openai-batch, local, oracle, replay
ENGINE_OPTIONS=${ENGINE_OPTIONS:-}                        # its settings, each NAME=VALUE, separated by spaces
ITERATIONS=${ITERATIONS:-2}                               # rounds of rewriting; each adds at most one task
NUM_TASKS=${NUM_TASKS:-0}                                 # so many tasks in each instruction; 0: as the generator sees fit
EXTRACT=${EXTRACT:-0}                                     # 1: first separate an input that stands within the instruction
REFINE=${REFINE:-0}                                       # 1: let the generator check and repair each new instruction
IT_ANSWERS=${IT_ANSWERS:-generator}                       # answers of it.jsonl: generator (the fair baseline), source, none
MAX_ROWS=${MAX_ROWS:--1}                                  # only the first so many rows; -1 for all
SAMPLE_ROWS=${SAMPLE_ROWS:-0}                             # only so many rows, drawn by the seed; 0 for all
NEAR_DUPLICATES=${NEAR_DUPLICATES:-0}                     # drop rows this alike to an earlier one (0.8 is usual); 0 keeps all
DECONTAMINATE=${DECONTAMINATE:-}                          # evaluation files or folders, separated by spaces; rows that share text with them go
JUDGE_ROWS=${JUDGE_ROWS:-200}                             # so many rewritten rows have their tasks counted; 0 for none
PRICE_IN=${PRICE_IN:-0}                                   # price of a million prompt tokens
PRICE_OUT=${PRICE_OUT:-0}                                 # price of a million answer tokens
SEED=${SEED:-42}                                          # of every draw
DRY_RUN=${DRY_RUN:-0}                                     # 1: print requests, tokens, cost and time, and ask nothing
MEASURED_RUN=${MEASURED_RUN:-}                            # folder of a small finished run, whose figures the dry run takes
SOURCE_NAME=${SOURCE_NAME:-}                              # name of the input set, for the dataset card
SOURCE_LICENSE=${SOURCE_LICENSE:-}                        # its licence, as the hub names licences
SOURCE_URL=${SOURCE_URL:-}                                # where it comes from
PUBLISHED=${PUBLISHED:-alpaca}                            # show our options beside those published for alpaca or flancot
PUSH_TO_HUB=${PUSH_TO_HUB:-}                              # OWNER/NAME: upload the result (HF_TOKEN says who you are)

if [[ -z $INPUT_FILE ]]; then
  echo "error: INPUT_FILE is not set; name a file of instructions (--help explains)" >&2
  exit 1
elif [[ ! -f $INPUT_FILE ]]; then
  echo "error: $INPUT_FILE: no such file.${WHERE_FROM:+ $WHERE_FROM} INPUT_FILE=... names another." >&2
  exit 1
fi
lists=()
# Cut before each NAME=, so that a path may hold blanks.
if [[ -n $ENGINE_OPTIONS ]]; then
  mapfile -t words < <(sed -E 's/ +([a-z_]+=)/\n\1/g; s/ +$//' <<<"$ENGINE_OPTIONS")
  lists+=(--engine_options "${words[@]}")
fi
if [[ -n $DECONTAMINATE ]]; then read -ra words <<<"$DECONTAMINATE" && lists+=(--decontaminate "${words[@]}"); fi
exec python -m self_seq.generate --input_file "$INPUT_FILE" --output_dir "$OUTPUT_DIR" --engine "$ENGINE" \
  --iterations "$ITERATIONS" --num_tasks "$NUM_TASKS" --extract "$EXTRACT" --refine "$REFINE" --it_answers "$IT_ANSWERS" \
  --max_rows "$MAX_ROWS" --sample_rows "$SAMPLE_ROWS" --near_duplicates "$NEAR_DUPLICATES" --judge_rows "$JUDGE_ROWS" \
  --price_in "$PRICE_IN" --price_out "$PRICE_OUT" --seed "$SEED" --dry_run "$DRY_RUN" --measured_run "$MEASURED_RUN" \
  --source_name "$SOURCE_NAME" --source_license "$SOURCE_LICENSE" --source_url "$SOURCE_URL" --published "$PUBLISHED" \
  --push_to_hub "$PUSH_TO_HUB" ${lists[@]+"${lists[@]}"} "$@"
