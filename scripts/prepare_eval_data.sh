#!/usr/bin/env bash
# Downloads the data of the benchmarks to EVAL_DIR/BENCHMARK, checks sizes and
# SHA-256 where they are known, and tells what each set is, its licence, and
# the rows found beside those expected. The same command goes on where it
# stopped; what is there is not fetched again. (The miniature's data is made,
# not fetched: scripts/quickstart.sh.)
# Usage: bash scripts/prepare_eval_data.sh [BENCHMARK...]
#        (no BENCHMARK: all there are; a wrong one lists them)
#        DATA_MIRROR=/copies bash scripts/prepare_eval_data.sh   # no internet
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/start.sh"

EVAL_DIR=${EVAL_DIR:-${SIT_EVAL_DATA:-$ROOT/data/eval}}  # folder of the data; evaluation reads the one that SIT_EVAL_DATA names
DATA_MIRROR=${DATA_MIRROR:-}                             # folder with copies, in folders with the benchmarks' names; nothing is fetched
TRIES=${TRIES:-5}                                        # attempts at a download that breaks off; each goes on where the last one stopped
PAUSE=${PAUSE:-5}                                        # seconds before the second attempt; longer before each further one
HF_ENDPOINT=${HF_ENDPOINT:-https://huggingface.co}       # address of the hub, or of a copy of it; HF_TOKEN says who you are
GITHUB_RAW=${GITHUB_RAW:-https://raw.githubusercontent.com}  # address of GitHub's files, or of a copy of them

. "$ROOT/scripts/download.sh"
files=$(python -m eval.data files "$@")
begin "$EVAL_DIR" EVAL_DIR

# Brings the files of a set into EVAL_DIR/SET. Fails after saying why.
fetch() {
  local set=$1 name url bytes sha256 page folder=$EVAL_DIR/$1 failed=0 missing=() other home
  while IFS=$'\t' read -r _ name url bytes sha256 page; do
    home=$page
    mkdir -p "$(dirname "$folder/$name")"
    if [[ -f $folder/$name && -z $(fault_of "$folder/$name" "$bytes" "$sha256") ]]; then
      continue
    elif [[ -z $DATA_MIRROR ]]; then
      echo "  $name from $url"
      download "$folder/$name" "$url" "$bytes" "$sha256" "$page" || failed=1
    elif [[ -f $DATA_MIRROR/$set/$name ]]; then
      copy "$folder/$name" "$set" "$name" "$bytes" "$sha256" || failed=1
    else
      missing+=("$name")
    fi
  done < <(grep -P "^$set\t" <<<"$files")
  if ((${#missing[@]})); then
    # What it has instead, a subset or another release, may do: the benchmark says so when it reads it.
    for other in "$DATA_MIRROR/$set"/*; do
      if [[ -f $other && ! -e $folder/${other##*/} ]]; then
        echo "  ${other##*/} is there instead"
        copied "$other" "$folder/${other##*/}" || failed=1
      fi
    done
    echo "  not in DATA_MIRROR=$DATA_MIRROR/$set: ${missing[*]:0:3}$( ((${#missing[@]} > 3)) && echo " and $((${#missing[@]} - 3)) more")"
    if [[ -z $(ls -A "$folder") ]]; then
      fail "$set: nothing of it is there; copy it there from $home"
      return 1
    fi
  fi
  return $failed
}

incomplete=()
for set in $(cut -f 1 <<<"$files" | uniq); do
  echo "== $set"
  if ! fetch "$set"; then incomplete+=("$set"); fi
  SIT_EVAL_DATA=$EVAL_DIR python -m eval.data report "$set"
done
if ((${#incomplete[@]})); then
  echo "error: not done: ${incomplete[*]} (the reasons stand above). All else is kept, and the same command goes on" >&2
  exit 1
fi
