#!/usr/bin/env bash
# Multilingual task-driven set: "First translate the input into English, then
# ...". Instruction and answer are English, the input is German, Spanish, Russian
# or Chinese; each row is used once, the rest stays English. Needs no model.
# The files must hold the same rows in the same order. The published set took
# alpaca_data_cleaned.{en,de,es,ru,zh}.json of the GitHub repository
# hplt-project/monolingual-multilingual-instruction-tuning.
# Usage: bash self-seq/scripts/generation_multilingual.sh
#        (further flags are handed to self_seq.task_driven)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/start.sh"

DATA_DIR=${DATA_DIR:-$ROOT/data/train/alpaca_multilingual}         # folder of the files below
EN=${EN:-$DATA_DIR/alpaca_data_cleaned.en.json}                    # the English rows
DE=${DE:-$DATA_DIR/alpaca_data_cleaned.de.json}                    # the same rows in German
ES=${ES:-$DATA_DIR/alpaca_data_cleaned.es.json}                    # in Spanish
RU=${RU:-$DATA_DIR/alpaca_data_cleaned.ru.json}                    # in Russian
ZH=${ZH:-$DATA_DIR/alpaca_data_cleaned.zh.json}                    # in Chinese
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/self-seq/data/alpaca_multilingual}  # folder of sit.jsonl
ROWS_A_LANGUAGE=${ROWS_A_LANGUAGE:-4750}                           # rows drawn for each language, as published
SEED=${SEED:-42}                                                   # of the rows drawn and of their order

for file in "$EN" "$DE" "$ES" "$RU" "$ZH"; do
  if [[ ! -f $file ]]; then
    echo "error: $file: no such file; get alpaca_data_cleaned.*.json of the GitHub repository" \
      "hplt-project/monolingual-multilingual-instruction-tuning and name their folder in DATA_DIR" >&2
    exit 1
  fi
done
exec python -m self_seq.task_driven --task translate --english "$EN" \
  --translations "de=$DE" "es=$ES" "ru=$RU" "zh=$ZH" --output "$OUTPUT_DIR/sit.jsonl" \
  --rows_a_language "$ROWS_A_LANGUAGE" --seed "$SEED" "$@"
