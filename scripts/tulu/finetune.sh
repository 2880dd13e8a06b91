#!/usr/bin/env bash
# Stage 2 on a mixture of Tulu v1 (arXiv 2306.04751), with its two epochs: the
# human one or the human and GPT one. prepare_train_data.sh makes the rows.
# Every other variable and flag: scripts/finetune_with_accelerate.sh --help
# Usage: bash scripts/tulu/finetune.sh
#        MIX=human MODEL=FOLDER bash scripts/tulu/finetune.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

MIX=${MIX:-tulu}                                                             # human, or tulu: human and GPT
TRAIN_FILE=${TRAIN_FILE:-$ROOT/data/train/processed/$MIX/${MIX}_data.jsonl}  # rows to train on
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/$MIX}                                  # folder of the fine-tuned checkpoint
EPOCHS=${EPOCHS:-2}                                                          # passes over the rows
LEARNING_RATE=${LEARNING_RATE:-2e-5}                                         # peak; published for 30B and more: 1e-5
export TRAIN_FILE OUTPUT_DIR EPOCHS LEARNING_RATE

sources="flan_v2 cot dolly oasst1"
if [[ $MIX = tulu ]]; then sources+=" gpt4_alpaca code_alpaca sharegpt"; fi
export WHERE_FROM="MIX=$MIX bash scripts/prepare_train_data.sh $sources makes it."

exec bash "$ROOT/scripts/finetune_with_accelerate.sh" "$@"
