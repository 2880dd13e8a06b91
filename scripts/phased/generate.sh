#!/usr/bin/env bash
# Phased tuning, 4: one or more checkpoints answer the six sets of instructions
# (Self-Instruct, WizardLM, Koala, Vicuna, OASST, Anthropic), greedily. Each is
# named after its folder. The same command goes on after a kill.
# Usage: bash scripts/phased/generate.sh CHECKPOINT [CHECKPOINT ...]
#        bash scripts/phased/generate.sh output/phased/{1,1-2,1-2-3,1+2+3}
#        (other variables: scripts/evaluation.sh --help)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

SETS=${SETS:-instruct_sets}                       # benchmarks or groups, separated by commas
RESULTS_DIR=${RESULTS_DIR:-$ROOT/results/phased}  # folder of all runs; win_rate.sh reads it
export RESULTS_DIR

if (($# == 0)); then
  echo "error: give one or more checkpoint folders: bash scripts/phased/generate.sh CHECKPOINT ... (--help shows more)" >&2
  exit 1
fi
for checkpoint; do
  printf '\n== %s answers\n' "$checkpoint"
  TASKS=$SETS JUDGE='' bash "$ROOT/scripts/evaluation.sh" "$checkpoint"
done
