#!/usr/bin/env bash
# Stage 1 without a generator: classify, rewrite, refine and respond, answered
# from the stored completions of a published run. The rows are those of the first
# file. Writes sit.jsonl, and rejected.jsonl with what could not be used and why.
# The same command goes on after a kill.
# Usage: bash self-seq/scripts/generation_replay.sh FILE...
#   FILE   files of one and the same run, in any order; see engines/replay.py
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/start.sh"

OUTPUT_DIR=${OUTPUT_DIR:-$ROOT/self-seq/data/replay}  # folder of the journals and of sit.jsonl; one a run

if [[ $# -lt 1 ]]; then
  echo "error: no file given; expected FILE... (--help explains)" >&2
  exit 1
fi
files=$(IFS=, && echo "$*")
# One iteration and one attempt: a run stored one answer a step. It stored none to the original instructions.
exec python -m self_seq.generate --input_file "$1" --output_dir "$OUTPUT_DIR" --engine replay \
  --engine_options "files=$files" --iterations 1 --attempts 1 --refine True --it_answers none
