#!/usr/bin/env bash
# Downloads the source datasets of the training mixtures and reformats each to
# conversations: TRAIN_DIR/SOURCE holds the downloads, PROCESSED_DIR/SOURCE the
# conversations (SOURCE_data.jsonl), what was rejected, and run.json. The same
# command goes on where it stopped; what is there is not fetched or made again.
# Stage 1 reads the downloads of alpaca_cleaned, flancot and alpaca_multilingual.
# Usage: bash scripts/prepare_train_data.sh [SOURCE...]
#        (no SOURCE: all there are; a wrong one lists them)
#        MIX=tulu bash scripts/prepare_train_data.sh flan_v2 cot dolly oasst1 gpt4_alpaca code_alpaca sharegpt
#        DATA_MIRROR=/copies bash scripts/prepare_train_data.sh   # without internet
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

for program in curl sha256sum flock; do
  if ! command -v "$program" >/dev/null; then
    echo "error: $program is not installed; expected curl, sha256sum and flock" >&2
    exit 1
  fi
done
if [[ -n $DATA_MIRROR && ! -d $DATA_MIRROR ]]; then
  echo "error: DATA_MIRROR=$DATA_MIRROR: no such folder; expected the folder with copies of the downloads" >&2
  exit 1
fi
downloads=$(python -m open_instruct.reformat._downloads "$@")
if ! mkdir -p "$TRAIN_DIR"; then
  echo "error: TRAIN_DIR=$TRAIN_DIR cannot be made; name another folder" >&2
  exit 1
fi
exec 9>"$TRAIN_DIR/.prepare.lock"
if ! flock --nonblock 9; then
  echo "error: another prepare_train_data.sh is at work in $TRAIN_DIR; wait for it, or name another TRAIN_DIR" >&2
  exit 1
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "  error: $1" >&2
  return 1
}

# Prints why a file is not what it must be, or nothing. Arguments: file, bytes, SHA-256 ("-" where not known).
fault_of() {
  local found
  found=$(stat -c %s "$1")
  if [[ $2 != - && $found != "$2" ]]; then
    echo "has $found bytes, expected $2"
  elif [[ $3 != - && $(sha256sum <"$1" | cut -d ' ' -f 1) != "$3" ]]; then
    echo "has another SHA-256 than $3"
  elif ((found == 0)); then
    echo "is empty"
  elif head -c 300 "$1" | tr -d '\0' | grep -qiE '^[[:space:]]*<(!doctype html|html)'; then
    echo "is a web page, no data (the login page of a proxy?)"
  elif head -c 40 "$1" | tr -d '\0' | grep -q '^version https://git-lfs'; then
    echo "is a pointer of Git LFS, not the file it points to"
  fi
}

# Says what to do about an exit code of curl. Arguments: exit code, HTTP status, HTTP status of the proxy, page.
reason() {
  case $1:$2:$3 in
    *:*:407 | 22:407:*) echo "HTTP 407: the proxy wants a login; put it into https_proxy" ;;
    *:*:[45]*) echo "the proxy refuses it (HTTP $3); ask for its host to be allowed, or use DATA_MIRROR" ;;
    5:*) echo "the proxy that https_proxy names cannot be found; correct or unset it" ;;
    6:*) echo "its host cannot be found: no internet here? Copy the files here and name their folder in DATA_MIRROR, or set https_proxy" ;;
    7:*) echo "its host takes no connection: behind a proxy set https_proxy, without internet DATA_MIRROR" ;;
    22:401:* | 22:403:*) echo "HTTP $2: it wants to know who you are; accept its terms at $4 and set HF_TOKEN" ;;
    22:404:* | 22:410:*) echo "HTTP $2: it is no longer there; look at $4, put the file into place by hand, and run again" ;;
    22:*) echo "HTTP $2: its server does not send it; try again later" ;;
    23:*) echo "it cannot be written; $(df -h --output=avail "$TRAIN_DIR" | tail -n 1 | tr -d ' ') are free there: make room, run again" ;;
    35:* | 60:* | 77:*) echo "its certificate is not trusted; behind a proxy that signs anew, name its certificate in CURL_CA_BUNDLE" ;;
    *) echo "it broke off $TRIES times ($(tail -n 1 "$scratch/message")); run again to go on" ;;
  esac
}

# Downloads to FILE.part, going on where an earlier attempt stopped, and names it FILE once it is whole.
# Arguments: file, address, bytes, SHA-256, page.
download() {
  local file=$1 url=$2 part=$1.part code answer status proxy tag same fault try
  url=${url/#https:\/\/huggingface.co/${HF_ENDPOINT%/}}
  : >"$scratch/headers"
  if [[ -n ${HF_TOKEN:-} && $url == "${HF_ENDPOINT%/}"/* ]]; then  # in a file: others can read our command line
    printf 'header = "Authorization: Bearer %s"\n' "$HF_TOKEN" >"$scratch/headers"
  fi
  for ((try = 1; try <= TRIES; try++)); do
    # What the server has now is added only to the beginning of the very same file.
    tag=$(tail -n 1 "$part.etag" 2>/dev/null | tr -d '\r' || true)
    same=()
    if [[ -s $part && $tag == '"'* ]]; then same=(--header "If-Range: $tag"); fi
    code=0
    answer=$(curl --config "$scratch/headers" --silent --show-error --fail --location --continue-at - \
      --connect-timeout 30 --speed-limit 1000 --speed-time 60 ${same[@]+"${same[@]}"} --etag-save "$part.etag" \
      --write-out '%{http_code} %{http_connect}' --output "$part" "$url" 2>"$scratch/message") || code=$?
    read -r status proxy <<<"$answer"
    case $code:$status:$proxy in
      0:* | *:*:[45]*) break ;;
      33:* | 22:416:*) rm -f "$part" "$part.etag" ;;  # not the same file any more, or no going on: from the beginning
      22:429:* | 22:5*) sleep $((PAUSE * try)) ;;
      16:* | 18:* | 28:* | 52:* | 55:* | 56:* | 92:*) sleep $((PAUSE * try)) ;;
      *) break ;;
    esac
  done
  if ((code != 0)); then
    fail "$file: $url: $(reason "$code" "$status" "$proxy" "$5")"
    return 1
  fi
  fault=$(fault_of "$part" "$3" "$4")
  rm -f "$part.etag"
  if [[ -n $fault ]]; then
    rm -f "$part"
    fail "$file: what $url sent $fault; run again, or look at $5"
    return 1
  fi
  mv "$part" "$file"
}

# Copies from the mirror: SOURCE/NAME, or else the one file of that name anywhere in it. Arguments: file, source, name, bytes, SHA-256.
copy() {
  local file=$1 found fault
  found=$DATA_MIRROR/$2/$3
  if [[ ! -f $found ]]; then
    mapfile -t found < <(find -L "$DATA_MIRROR" -type f -name "$3" | sort)
    ((${#found[@]})) || return 2
    if ((${#found[@]} > 1)); then
      fail "$3 is ${#found[@]} times in DATA_MIRROR=$DATA_MIRROR; expected it once, or in a folder $2"
      return 1
    fi
  fi
  fault=$(fault_of "${found[0]}" "$4" "$5")
  if [[ -n $fault ]]; then
    fail "${found[0]} $fault; copy it again"
    return 1
  fi
  copied "${found[0]}" "$file"
}

copied() {
  if [[ $1 -ef $2 ]] || cmp -s "$1" "$2"; then return 0; fi
  if ! cp --reflink=auto "$1" "$2.part" 2>"$scratch/message" || ! mv "$2.part" "$2"; then
    fail "$2: $(tail -n 1 "$scratch/message"); is the disk full?"
    return 1
  fi
  chmod u+w "$2"
}

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
