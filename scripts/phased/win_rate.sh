#!/usr/bin/env bash
# Phased tuning, 5: a judge compares the answers of one or more runs with those of
# the last one named, in both orders; then the win rates, a set and weighted, and
# with several runs the curve over the stages. The same command goes on after a
# kill, and pays for no verdict twice. Runs are those of generate.sh.
# Usage: bash scripts/phased/win_rate.sh A B
#        bash scripts/phased/win_rate.sh 1 1-2 1-2-3 1+2+3    (the curve, against one-off)
#        DRY_RUN=1 bash scripts/phased/win_rate.sh A B        (requests, tokens and cost)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

RESULTS_DIR=${RESULTS_DIR:-$ROOT/results/phased}  # folder of the runs
OUTPUT_DIR=${OUTPUT_DIR:-$RESULTS_DIR/win_rates}  # folder of verdicts, table and curve
SETS=${SETS:-}                                    # benchmarks, separated by commas; by default all that A has and a judge compares
JUDGE=${JUDGE:-openai}                            # engine that judges: openai, vllm, local, ...
JUDGE_OPTIONS=${JUDGE_OPTIONS:-}                  # its settings, with spaces between; of openai, none means model=gpt-4.1
PRICE_IN=${PRICE_IN:-0}                           # of a million tokens that the judge reads
PRICE_OUT=${PRICE_OUT:-0}                         # of a million tokens that it writes
DRY_RUN=${DRY_RUN:-}                              # 1: tell requests, tokens and cost, and ask nothing

if (($# < 2)); then
  echo "error: give the runs to compare and the one to compare with: bash scripts/phased/win_rate.sh A B (--help shows more)" >&2
  exit 1
fi
reference=${*: -1}
runs=("${@:1:$#-1}")
if [[ $JUDGE = openai ]]; then JUDGE_OPTIONS=${JUDGE_OPTIONS:-model=gpt-4.1}; fi
read -ra options <<<"$JUDGE_OPTIONS"
IFS=, read -ra sets <<<"$SETS"
for run in "$@"; do
  if [[ ! -d $RESULTS_DIR/$run ]]; then
    echo "error: $RESULTS_DIR/$run: no such run; answer first: bash scripts/phased/generate.sh CHECKPOINT" >&2
    exit 1
  fi
done
if ((${#sets[@]} == 0)); then
  for folder in "$RESULTS_DIR/${runs[0]}"/instruct_*/; do
    [[ ! -f $folder/predictions.jsonl ]] || sets+=("$(basename -- "$folder")")
  done
fi
if ((${#sets[@]} == 0)); then
  echo "error: $RESULTS_DIR/${runs[0]}: holds answers to none of the six sets; name others with SETS=..., or run generate.sh" >&2
  exit 1
fi
for run in "$@"; do  # before any verdict is paid for
  for set in "${sets[@]}"; do
    if [[ ! -f $RESULTS_DIR/$run/$set/predictions.jsonl ]]; then
      echo "error: $RESULTS_DIR/$run: no answers to $set; answer first: bash scripts/phased/generate.sh CHECKPOINT, or name the sets with SETS=..." >&2
      exit 1
    fi
  done
done

compared=()
for run in "${runs[@]}"; do
  for set in "${sets[@]}"; do
    printf '\n== %s against %s: %s\n' "$run" "$reference" "$set"
    python -m eval.judges --kind pairwise --predictions "$RESULTS_DIR/$run/$set/predictions.jsonl" \
      --reference "$RESULTS_DIR/$reference" --output_dir "$OUTPUT_DIR/${run}_vs_$reference/$set" --engine "$JUDGE" \
      ${options[0]+--engine_options "${options[@]}"} --price_in "$PRICE_IN" --price_out "$PRICE_OUT" ${DRY_RUN:+--dry_run}
  done
  compared+=("$run=$OUTPUT_DIR/${run}_vs_$reference")
done
[[ -z $DRY_RUN ]] || exit 0
exec python -m open_instruct.phased.win_rates --compared "${compared[@]}" --reference "$reference" --sets "${sets[@]}" \
  --output_dir "$OUTPUT_DIR"
