#!/usr/bin/env bash
# Stage 3: measures one fine-tuned model on every benchmark in TASKS, with one
# model load. The same command again goes on after a kill, and keeps what is
# finished. Several runs side by side: python -m eval.report results/ --output DIR
# Usage: bash scripts/evaluation.sh CHECKPOINT [RUN_NAME]
#   CHECKPOINT   folder of the model, its tokenizer and chat template
#   RUN_NAME     folder below RESULTS_DIR, and the run's name in reports; by
#                default the name of the checkpoint's folder. A name that
#                another model's results have is refused.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/start.sh"

TASKS=${TASKS:-miniature}                   # benchmarks or groups, separated by commas; an unknown name lists all
RESULTS_DIR=${RESULTS_DIR:-$ROOT/results}   # folder of all runs
BACKEND=${BACKEND:-hf}                      # what runs the model: hf (transformers)
BATCH_SIZE=${BATCH_SIZE:-128}               # requests at once; lower it if memory runs out: in float32 answers stay the same, in bfloat16 a few change
LIMIT=${LIMIT:-0}                           # only the first N items of each benchmark, for a quick look; 0 takes all
SEED=${SEED:-0}                             # of sampled answers and of examples in the prompt

if (($# < 1 || $# > 2)); then
  echo "error: give the checkpoint folder: bash scripts/evaluation.sh CHECKPOINT [RUN_NAME] (--help shows more)" >&2
  exit 1
fi
checkpoint=$1
folder=$(CDPATH='' cd -- "$checkpoint" 2>/dev/null && pwd -P) || folder=$checkpoint  # so that "." has a name, too
run_name=${2:-$(basename -- "$folder")}

exec python -m eval.run --model "$checkpoint" --tasks "$TASKS" --output_dir "$RESULTS_DIR/$run_name" \
  --backend "$BACKEND" --batch_size "$BATCH_SIZE" --limit "$LIMIT" --seed "$SEED"
