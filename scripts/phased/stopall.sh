#!/usr/bin/env bash
# Stops what scripts/phased/run.sh started, and nothing else: training saves a
# checkpoint, and the same run.sh goes on from it.
# Usage: bash scripts/phased/stopall.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/output/phased}  # folder that the run writes to
ALL=${ALL:-}                                   # 1: every run of yours on this machine, whatever its folder
SECONDS_TO_SAVE=${SECONDS_TO_SAVE:-600}        # given to a run for its checkpoint; what is left then is killed

exec python -m open_instruct.phased.stop --output_dir "$([[ $ALL ]] || echo "$OUTPUT_DIR")" --seconds "$SECONDS_TO_SAVE" "$@"
