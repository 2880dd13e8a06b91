#!/usr/bin/env bash
# The whole chain on the embedded miniature, on a CPU, with no download: makes
# sequential instructions, fine-tunes one model on plain and one on sequential
# instructions, measures both, and writes a page with the picture. A few minutes.
# The same command goes on after a kill; a finished run only shows its table.
# Usage: bash scripts/quickstart.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/start.sh"

SEED=${SEED:-0}                                # of the data, the training and the oracle's slips
OUTPUT=${OUTPUT:-$ROOT/output/quickstart}      # folder of everything that it writes

mkdir -p "$OUTPUT"
OUTPUT=$(CDPATH='' cd -- "$OUTPUT" && pwd -P)
export SEED
# What earlier, killed runs took counts too.
trap 'echo "$SECONDS" >>"$OUTPUT/seconds"' EXIT

say() { printf '\n== %s\n' "$*"; }

say "1/3 generate: single instructions -> sequential instructions"
OUTPUT_DIR=$OUTPUT/data bash "$ROOT/self-seq/scripts/generation_miniature.sh"

for kind in it sit; do
  say "2/3 fine-tune on $kind.jsonl"
  TRAIN_FILE=$OUTPUT/data/$kind.jsonl OUTPUT_DIR=$OUTPUT/$kind bash "$ROOT/scripts/miniature/finetune.sh"
done

for kind in it sit; do
  say "3/3 evaluate $kind"
  RESULTS_DIR=$OUTPUT/results bash "$ROOT/scripts/evaluation.sh" "$OUTPUT/$kind" "$kind"
done

if [[ ! -f $OUTPUT/total_seconds ]]; then
  awk -v now="$SECONDS" '{ sum += $1 } END { print sum + now }' "$OUTPUT/seconds" 2>/dev/null >"$OUTPUT/total_seconds" ||
    echo "$SECONDS" >"$OUTPUT/total_seconds"
fi
say "result"
python -m eval.report "it=$OUTPUT/results/it" "sit=$OUTPUT/results/sit" --output "$OUTPUT" \
  --seed "$SEED" --seconds "$(<"$OUTPUT/total_seconds")"
