#!/usr/bin/env bash
# Phased tuning, 2: cuts scored rows into stages of rising difficulty, and shows
# them beside the published ones (stages.html).
# Usage: bash scripts/phased/split.sh
#        DIFFICULTY=chain_length INPUT_FILE=sit.jsonl bash scripts/phased/split.sh
#        (further flags are handed to open_instruct.phased.split: --dry_run,
#        --tokenizer FOLDER, several files behind --input_file, ...)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

INPUT_FILE=${INPUT_FILE:-$ROOT/data/train/phased/scored/scored.jsonl}  # scored.jsonl, a published scored file, or stage 1's sit.jsonl
OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/data/train/phased/stages}               # folder of the stages
DIFFICULTY=${DIFFICULTY:-score}                                        # score; chain_length: tasks that sit.jsonl's instructions ask for; or a field
THRESHOLDS=${THRESHOLDS:-}                                             # with spaces between; by default 1.5 and 3.5, of chain lengths 2 and 3
STAGES=${STAGES:-0}                                                    # so many stages of equal size, instead of thresholds
SEED=${SEED:-0}                                                        # of the random stages (RANDOM_STAGES of run.sh)

read -ra thresholds <<<"$THRESHOLDS"
exec python -m open_instruct.phased.split --input_file "$INPUT_FILE" --output_dir "$OUTPUT_DIR" \
  --difficulty "$DIFFICULTY" ${thresholds[0]+--thresholds "${thresholds[@]}"} --stages "$STAGES" --seed "$SEED" "$@"
