#!/usr/bin/env bash
# Stage 3: measures one model on everything that the papers measure, or on the
# benchmarks in TASKS, with one load. The same command again goes on after a
# kill, and keeps what is finished. Data: bash scripts/prepare_eval_data.sh.
# Several runs side by side: python -m eval.report results/ --output report.html
# Usage: bash scripts/evaluation.sh CHECKPOINT [RUN_NAME]
#   CHECKPOINT   folder of the model, its tokenizer and chat template; with
#                BACKEND=api the name of the model at the server
#   RUN_NAME     folder below RESULTS_DIR, and the run's name in reports; by
#                default the name of the checkpoint's folder. A name that
#                another model's results have is refused.
#        TASKS=gsm,mmlu BACKEND=vllm bash scripts/evaluation.sh CHECKPOINT
#        JUDGE=openai JUDGE_OPTIONS="model=gpt-4.1" JUDGE_REFERENCE=results/base bash scripts/evaluation.sh CHECKPOINT
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/start.sh"

TASKS=${TASKS:-paper}                       # benchmarks or groups, separated by commas; paper: all that the papers measure; an unknown name lists all
RESULTS_DIR=${RESULTS_DIR:-$ROOT/results}   # folder of all runs
BACKEND=${BACKEND:-hf}                      # what runs the model: hf (transformers), vllm (all GPUs, many times faster), api (a server)
BACKEND_OPTIONS=${BACKEND_OPTIONS:-}        # settings of vllm or api, with spaces between: "tensor_parallel=4 max_model_len=8192", "base_url=http://HOST:8000/v1"
DTYPE=${DTYPE:-auto}                        # number format of the weights; auto: the checkpoint's
BATCH_SIZE=${BATCH_SIZE:-128}               # of hf, requests at once; lower it if memory runs out: in float32 answers stay the same, in bfloat16 a few change
LIMIT=${LIMIT:-0}                           # only the first N items of each benchmark, for a quick look; 0 takes all
SEED=${SEED:-0}                             # of sampled answers and of examples in the prompt
JUDGE=${JUDGE:-}                            # engine that judges (openai, vllm, local, ...); none: answers are judged by a later call
JUDGE_OPTIONS=${JUDGE_OPTIONS:-}            # its settings, with spaces between: "model=NAME", "path=FOLDER"; KIND.SETTING=VALUE for one kind of judge alone
JUDGE_REFERENCE=${JUDGE_REFERENCE:-}        # run or file whose answers a judge compares with

if (($# < 1 || $# > 2)); then
  echo "error: give the checkpoint folder: bash scripts/evaluation.sh CHECKPOINT [RUN_NAME] (--help shows more)" >&2
  exit 1
fi
checkpoint=$1
folder=$(CDPATH='' cd -- "$checkpoint" 2>/dev/null && pwd -P) || folder=$checkpoint  # so that "." has a name, too
run_name=${2:-$(basename -- "$folder")}
read -ra backend_options <<<"$BACKEND_OPTIONS"
read -ra judge_options <<<"$JUDGE_OPTIONS"

exec python -m eval.run --model "$checkpoint" --tasks "$TASKS" --output_dir "$RESULTS_DIR/$run_name" \
  --backend "$BACKEND" ${backend_options[0]+--backend_options "${backend_options[@]}"} --dtype "$DTYPE" \
  --batch_size "$BATCH_SIZE" --limit "$LIMIT" --seed "$SEED" --judge "$JUDGE" \
  ${judge_options[0]+--judge_options "${judge_options[@]}"} --judge_reference "$JUDGE_REFERENCE"
