#!/usr/bin/env bash
# Stage 1 on the embedded miniature: makes single instructions, lets the oracle
# engine rewrite them into sequences in two iterations and answer them. Writes
# it.jsonl and sit.jsonl, with the same rows. The same command goes on after a
# kill.
# Usage: bash self-seq/scripts/generation_miniature.sh
#        (further flags are handed to self_seq.generate)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/start.sh"

OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/self-seq/data/miniature}  # folder of the journals and of it.jsonl and sit.jsonl
ROWS=${ROWS:-20000}                                      # single instructions to begin with
ITERATIONS=${ITERATIONS:-2}                              # rounds of rewriting; each adds at most one task
GROW=${GROW:-0.6}                                        # share of the instructions that a round makes longer
MALFORMED=${MALFORMED:-0.05}                             # share of the oracle's answers that are badly written on purpose
SEED=${SEED:-0}                                          # of the single instructions and of the badly written answers

python -m open_instruct.miniature.make_data --rows "$ROWS" --seed "$SEED" \
  --train_file "$OUTPUT_DIR/instructions.jsonl" --eval_dir "${SIT_EVAL_DATA:-$ROOT/data/eval}/miniature"
exec python -m self_seq.generate --input_file "$OUTPUT_DIR/instructions.jsonl" --output_dir "$OUTPUT_DIR" \
  --engine oracle --engine_options "malformed=$MALFORMED" "grow=$GROW" --iterations "$ITERATIONS" --seed "$SEED" "$@"
