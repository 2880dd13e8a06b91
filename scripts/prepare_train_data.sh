#!/usr/bin/env bash
# Downloads the source datasets of the training mixtures and reformats each to
# conversations: TRAIN_DIR/SOURCE holds the downloads, PROCESSED_DIR/SOURCE the
# conversations (SOURCE_data.jsonl), what was rejected, and run.json. The same
# command goes on where it stopped; what is there is not fetched or made again.
# Stage 1 reads the downloads of alpaca_cleaned, flancot and alpaca_multilingual.
# Usage: bash scripts/prepare_train_data.sh [SOURCE...]
#        (no SOURCE: all there are; a wrong one lists them)
#        MIX=tulu bash scripts/prepare_train_data.sh flan_v2 cot dolly oasst1 gpt4_alpaca code_alpaca sharegpt
#        DATA_MIRROR=/copies bash scripts/prepare_train_data.sh  # no internet
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/start.sh"

TRAIN_DIR=${TRAIN_DIR:-$ROOT/data/train}              # folder of the downloads
PROCESSED_DIR=${PROCESSED_DIR:-$TRAIN_DIR/processed}  # folder of the conversations
DATA_MIRROR=${DATA_MIRROR:-}                          # folder with copies of the downloads, found by their names, or in folders with the sources' names; nothing is fetched
MIX=${MIX:-}                                          # human or tulu: write that mixture too, when its sources are there
TOKENIZER=${TOKENIZER:-}                              # folder of the tokenizer that ShareGPT is split with; none: 4 characters are a token
SEED=${SEED:-42}                                      # of the rows and templates drawn
TRIES=${TRIES:-5}                                     # attempts at a download that breaks off; each goes on where the last one stopped
PAUSE=${PAUSE:-5}                                     # seconds before the second attempt; longer before each further one
HF_ENDPOINT=${HF_ENDPOINT:-https://huggingface.co}    # address of the hub, or of a copy of it; HF_TOKEN says who you are
GITHUB_RAW=${GITHUB_RAW:-https://raw.githubusercontent.com}  # address of GitHub's files, or of a copy of them

. "$ROOT/scripts/download.sh"
downloads=$(python -m open_instruct.reformat._downloads "$@")
begin "$TRAIN_DIR" TRAIN_DIR

# Brings the files of a source into TRAIN_DIR/SOURCE, and sets `input` to the folder that holds them. Fails after saying why.
fetch() {
  local source=$1 name url bytes sha256 page home folder=$TRAIN_DIR/$1 code failed=0 missing=()
  input=$folder
  mkdir -p "$folder"
  while IFS=$'\t' read -r _ name url bytes sha256 page; do
    code=0 home=$page
    if compgen -G "$folder/$name" >/dev/null && [[ $name == *\** || -z $(fault_of "$folder/$name" "$bytes" "$sha256") ]]; then
      echo "  $name is there"
    elif [[ $name != *\** && -n $DATA_MIRROR ]]; then
      copy "$folder/$name" "$source" "$name" "$bytes" "$sha256" || code=$?
    elif [[ $url != - && -z $DATA_MIRROR ]]; then
      echo "  $name from $url"
      download "$folder/$name" "$url" "$bytes" "$sha256" "$page" || code=$?
    else
      code=2
    fi
    case $code in
      0) ;;
      2) missing+=("$name") ;;
      *) failed=1 ;;
    esac
  done < <(grep -P "^$source\t" <<<"$downloads")
  if ((failed || ${#missing[@]} == 0)); then
    return $failed
  elif [[ -z $DATA_MIRROR ]]; then
    fail "$folder/${missing[*]}: no address to download it from is known; put it there by hand: $home"
  elif [[ ! -d $DATA_MIRROR/$source ]]; then
    fail "not in DATA_MIRROR=$DATA_MIRROR: ${missing[*]}; copy them there from $home"
  else
    input=$DATA_MIRROR/$source  # unpacked archives, a subset, other parts: the source says what it can read
  fi
}

incomplete=()
for source in $(cut -f 1 <<<"$downloads" | uniq); do
  echo "== $source"
  if ! fetch "$source" || ! python -m open_instruct.reformat --source "$source" --input "$input" \
    --output "$PROCESSED_DIR/$source/${source}_data.jsonl" --seed "$SEED" --tokenizer "$TOKENIZER"; then
    incomplete+=("$source")
  fi
done
if ((${#incomplete[@]})); then
  echo "error: not done: ${incomplete[*]} (the reasons stand above). All else is kept, and the same command goes on" >&2
  exit 1
fi
if [[ -n $MIX ]]; then
  echo "== $MIX mixture"
  exec python -m open_instruct.mix --mix "$MIX" --input_dir "$PROCESSED_DIR" --seed "$SEED" \
    --output "$PROCESSED_DIR/$MIX/${MIX}_data.jsonl"
fi
