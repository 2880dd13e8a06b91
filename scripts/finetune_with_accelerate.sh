#!/usr/bin/env bash
# Stage 2: fine-tunes a model on conversations or instructions, on one device or
# many. Every other finetune_*.sh calls it. The defaults are the published ones:
# all weights, 3 epochs, batch 128, learning rate 2e-5, ZeRO-3 on several
# devices. The same command goes on after a kill; after a SIGTERM it has saved
# and ends with exit code 75. On a CPU, NUM_PROCESSES=2 runs it all, small.
# Usage: bash scripts/finetune_with_accelerate.sh
#        (further flags are handed to open_instruct.finetune: --config FILE.yaml,
#        --train_file A B=20000 C=0.5x, ...; they win over the variables)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/start.sh"

MODEL=${MODEL:-meta-llama/Meta-Llama-3-8B}                                   # folder of the model to start from, or its name on the hub
TRAIN_FILE=${TRAIN_FILE:-$ROOT/data/train/processed/tulu/tulu_data.jsonl}    # rows: .json, .jsonl, .jsonl.gz or .parquet
EVAL_FILE=${EVAL_FILE:-}                                                     # rows whose loss is told every 100 steps; none: not told
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/tulu}                                  # folder of the fine-tuned checkpoint
PROMPT_TEMPLATE=${PROMPT_TEMPLATE:-tulu}                                     # chat template: tulu, alpaca, llama3, vicuna, or model for its own
EPOCHS=${EPOCHS:-3}                                                          # passes over the rows
LEARNING_RATE=${LEARNING_RATE:-2e-5}                                         # peak; published for Mistral on Alpaca: 1e-5
LENGTH=${LENGTH:-2048}                                                       # tokens of a packed row; longer rows are cut off
BATCH=${BATCH:-128}                                                          # packed rows an optimizer step, over all devices
DEVICE_BATCH=${DEVICE_BATCH:-1}                                              # packed rows a forward pass a device; more need more memory
SHARDING=${SHARDING:-zero3}                                                  # zero2, zero3, zero2_offload, zero3_offload (ds_configs/), fsdp2, or none; one process needs none
NUM_PROCESSES=${NUM_PROCESSES:-}                                             # processes of all machines, one a GPU; empty: the GPUs here, or 1
NUM_MACHINES=${NUM_MACHINES:-1}                                              # machines; each runs this script with its MACHINE_RANK
MACHINE_RANK=${MACHINE_RANK:-0}                                              # which of them this one is
MAIN_PROCESS_IP=${MAIN_PROCESS_IP:-}                                         # address of machine 0, with several
MAIN_PROCESS_PORT=${MAIN_PROCESS_PORT:-29500}                                # a free port there, with several
SAVE_STEPS=${SAVE_STEPS:-500}                                                # optimizer steps between checkpoints; a kill loses fewer
REPORT_TO=${REPORT_TO:-tensorboard}                                          # tensorboard (into OUTPUT_DIR/runs), wandb or none
SEED=${SEED:-42}                                                             # of the order of the rows

# WHERE_FROM: what a script that calls this one says of rows that are not there; flags may name others.
if [[ -n ${WHERE_FROM:-} && ! -f $TRAIN_FILE && ! -f ${TRAIN_FILE%=*} && " $*" != *" --train"[_-]file* && " $*" != *" --config"* ]]; then
  echo "error: $TRAIN_FILE: no such file. $WHERE_FROM TRAIN_FILE=... names another." >&2
  exit 1
fi

gpus=0
if command -v nvidia-smi >/dev/null && listed=$(nvidia-smi --list-gpus 2>/dev/null); then
  gpus=$(grep -c '^GPU' <<<"$listed" || true)  # not the parts of one (MIG)
  if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then gpus=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c . || true); fi
fi
for number in NUM_PROCESSES NUM_MACHINES; do
  if [[ ! ${!number:-1} =~ ^[1-9][0-9]*$ ]]; then
    echo "error: $number=${!number}: expected a number from 1 on" >&2
    exit 1
  fi
done
processes=${NUM_PROCESSES:-$((NUM_MACHINES * (gpus > 0 ? gpus : 1)))}
if ((processes % NUM_MACHINES != 0)); then
  echo "error: NUM_PROCESSES=$processes does not divide into NUM_MACHINES=$NUM_MACHINES; give as many to each" >&2
  exit 1
fi

launcher=(--nproc_per_node "$((processes / NUM_MACHINES))")
if ((NUM_MACHINES > 1)); then
  if [[ -z $MAIN_PROCESS_IP ]]; then
    echo "error: NUM_MACHINES=$NUM_MACHINES needs MAIN_PROCESS_IP, the address of machine 0" >&2
    exit 1
  fi
  launcher+=(--nnodes "$NUM_MACHINES" --node_rank "$MACHINE_RANK" --master_addr "$MAIN_PROCESS_IP" --master_port "$MAIN_PROCESS_PORT")
else
  launcher+=(--standalone)
fi
if [[ -n ${RANK_LOGS:-} ]]; then launcher+=(--log_dir "$RANK_LOGS" --tee 3); fi

flags=()
if ((gpus == 0)); then flags+=(--use_cpu true); fi
if ((processes > 1)) || [[ $SHARDING = *_offload ]]; then
  case $SHARDING in
    none) ;;
    fsdp2) flags+=(--fsdp true --fsdp_config "$ROOT/ds_configs/fsdp2.json") ;;
    *)
      if [[ ! -f $ROOT/ds_configs/$SHARDING.json ]]; then
        echo "error: SHARDING=$SHARDING: expected zero2, zero3, zero2_offload, zero3_offload, fsdp2 or none" >&2
        exit 1
      fi
      flags+=(--deepspeed "$ROOT/ds_configs/$SHARDING.json")
      ;;
  esac
fi
if [[ -n $EVAL_FILE ]]; then flags+=(--eval_file "$EVAL_FILE"); fi

exec python -m open_instruct.training.launch "${launcher[@]}" -m open_instruct.finetune \
  --model_name_or_path "$MODEL" --train_file "$TRAIN_FILE" --output_dir "$OUTPUT_DIR" \
  --prompt_template "$PROMPT_TEMPLATE" --num_train_epochs "$EPOCHS" --learning_rate "$LEARNING_RATE" \
  --lr_scheduler_type linear --warmup_steps 0.03 --weight_decay 0 --max_length "$LENGTH" --total_batch_size "$BATCH" \
  --per_device_train_batch_size "$DEVICE_BATCH" --save_steps "$SAVE_STEPS" --report_to "$REPORT_TO" --seed "$SEED" \
  "${flags[@]}" "$@"
