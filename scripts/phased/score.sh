#!/usr/bin/env bash
# Phased tuning, 1: scores how hard each row is, from 1 to 5 by a judge, or
# without one by a base model's loss. The same command goes on after a kill.
# Usage: bash scripts/phased/score.sh
#        DRY_RUN=1 bash scripts/phased/score.sh      (requests, tokens and cost)
#        METHOD=ratio MODEL=FOLDER bash scripts/phased/score.sh
#        (further flags are handed to open_instruct.phased.score)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

INPUT_FILE=${INPUT_FILE:-$ROOT/data/train/alpaca_cleaned/alpaca_data_cleaned.json}  # rows: instruction / input / output, or published scored rows
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/data/train/phased/scored}                            # folder of scored.jsonl and of the journals
METHOD=${METHOD:-judge}                                                             # judge; loss or ratio: of the base model MODEL, nobody is asked
ENGINE=${ENGINE:-openai}                                                            # who judges (published: GPT-4): openai, vllm, local, ...
ENGINE_OPTIONS=${ENGINE_OPTIONS:-}                                                  # its settings, with spaces between; of openai, none means model=gpt-4.1
VOTES=${VOTES:-1}                                                                   # times that each row is graded; the score is their mean
TEMPERATURE=${TEMPERATURE:-0}                                                       # of the judge; several votes need more than 0
PRICE_IN=${PRICE_IN:-0}                                                             # of a million tokens that the judge reads
PRICE_OUT=${PRICE_OUT:-0}                                                           # of a million tokens that it writes
MODEL=${MODEL:-}                                                                    # folder of the base model, for loss and ratio
DRY_RUN=${DRY_RUN:-}                                                                # 1: tell requests, tokens and cost, and ask nothing

if [[ $ENGINE = openai ]]; then ENGINE_OPTIONS=${ENGINE_OPTIONS:-model=gpt-4.1}; fi
read -ra options <<<"$ENGINE_OPTIONS"
exec python -m open_instruct.phased.score --input_file "$INPUT_FILE" --output_dir "$OUTPUT_DIR" --method "$METHOD" \
  --engine "$ENGINE" ${options[0]+--engine_options "${options[@]}"} --votes "$VOTES" --temperature "$TEMPERATURE" \
  --price_in "$PRICE_IN" --price_out "$PRICE_OUT" --base "$MODEL" ${DRY_RUN:+--dry_run} "$@"
