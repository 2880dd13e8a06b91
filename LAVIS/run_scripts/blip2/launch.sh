#!/usr/bin/env bash
# Runs LAVIS/train.py or LAVIS/evaluate.py on every GPU of this machine, or on
# the CPU where there is none. The other scripts here call it. On several
# machines: accelerate launch, with its own flags.
# Usage: bash LAVIS/run_scripts/blip2/launch.sh train --cfg-path FILE.yaml [--options section.key=value ...]
#        bash LAVIS/run_scripts/blip2/launch.sh evaluate --cfg-path FILE.yaml
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/start.sh"

NUM_PROCESSES=${NUM_PROCESSES:-}  # one a GPU; empty: the GPUs here, or 1

if (($# == 0)) || [[ ! -f $ROOT/LAVIS/$1.py ]]; then
  echo "error: say what to run, train or evaluate, and its flags (--help shows more)" >&2
  exit 1
fi
program=$ROOT/LAVIS/$1.py
shift
if [[ -z $NUM_PROCESSES ]]; then
  NUM_PROCESSES=1
  if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then NUM_PROCESSES=gpu; fi
fi
if [[ $NUM_PROCESSES = 1 ]]; then exec python "$program" "$@"; fi
exec python -m open_instruct.training.launch --standalone --nproc_per_node "$NUM_PROCESSES" "$program" "$@"
