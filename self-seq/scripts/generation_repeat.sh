#!/usr/bin/env bash
# Sequential instructions without a language model, the paper's task-driven
# method: rows with an input get "First repeat the input, then ...", the others
# stay as they are. Prints the counts. The baseline to compare with is the input
# file itself.
# Usage: bash self-seq/scripts/generation_repeat.sh INPUT.json [OUTPUT.jsonl]
#   INPUT   rows {"instruction", "input", "output"}: JSON or JSONL, .gz too
#   OUTPUT  default: a file named after INPUT in OUTPUT_DIR; run.json lies beside
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/start.sh"

OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/self-seq/data/repeat}  # folder of the rows, where OUTPUT is not given

if [[ $# -lt 1 || $# -gt 2 ]]; then
  echo "error: $# arguments given; expected INPUT.json [OUTPUT.jsonl] (--help explains)" >&2
  exit 1
fi
name=$(basename "${1%.gz}")
python -m self_seq.task_driven --task repeat --input "$1" --output "${2:-$OUTPUT_DIR/${name%.json*}.jsonl}"
