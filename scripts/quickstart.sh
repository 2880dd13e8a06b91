#!/usr/bin/env bash
# The whole chain on the embedded miniature, on a CPU, with no download: makes
# sequential instructions, fine-tunes one model on plain and one on sequential
# instructions, measures both, and writes a page with the picture. A few minutes.
# The same command goes on after a kill; a finished run only shows its table.
# Usage: bash scripts/quickstart.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/start.sh"

SEED=${SEED:-0}                            # of the data, the training and the oracle's slips
OUTPUT=${OUTPUT:-$ROOT/output/quickstart}  # folder of everything that it writes; another seed needs another folder

if (($# > 0)); then
  echo "error: no arguments are taken; set variables instead (--help lists them)" >&2
  exit 1
fi
mkdir -p "$OUTPUT"
OUTPUT=$(CDPATH='' cd -- "$OUTPUT" && pwd -P)
if [[ -f $OUTPUT/seed && $(<"$OUTPUT/seed") != "$SEED" ]]; then
  echo "error: $OUTPUT holds a run with seed $(<"$OUTPUT/seed"); name another folder (OUTPUT=...) or delete it" >&2
  exit 1
fi
echo "$SEED" >"$OUTPUT/seed"
export SEED

# Runs a stage and notes its seconds, so that a resumed run still tells how long the whole took; a finished run adds none.
stage() {
  local title=$1 begin=$SECONDS
  shift
  printf '\n== %s\n' "$title"
  "$@"
  [[ -f $OUTPUT/results.json ]] || echo "$((SECONDS - begin))" >>"$OUTPUT/stage_seconds"
}

stage "1/3 generate: single instructions -> sequential instructions" \
  env OUTPUT_DIR="$OUTPUT/data" bash "$ROOT/self-seq/scripts/generation_miniature.sh"
for kind in it sit; do
  stage "2/3 fine-tune on $kind.jsonl" \
    env TRAIN_FILE="$OUTPUT/data/$kind.jsonl" OUTPUT_DIR="$OUTPUT/$kind" bash "$ROOT/scripts/miniature/finetune.sh"
done
for kind in it sit; do
  stage "3/3 evaluate $kind" \
    env TASKS=miniature RESULTS_DIR="$OUTPUT/results" bash "$ROOT/scripts/evaluation.sh" "$OUTPUT/$kind" "$kind"
done

printf '\n== result\n'
seconds=$(awk '{ sum += $1 } END { print sum + 0 }' "$OUTPUT/stage_seconds")
python -m eval.report "it=$OUTPUT/results/it" "sit=$OUTPUT/results/sit" --output "$OUTPUT" \
  --title "Sequential instruction tuning on the miniature" --seed "$SEED" --seconds "$seconds" \
  --about "it=fine-tuned on single instructions" \
  "sit=fine-tuned on the same rows, rewritten into chains of up to three tasks"
