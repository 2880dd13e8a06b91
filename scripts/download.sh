# shellcheck shell=bash
# Bringing files here, for scripts/prepare_train_data.sh and scripts/prepare_eval_data.sh, which source it: from their
# addresses, going on where a download broke off, or from a folder of copies; checked before they are used.
# It reads DATA_MIRROR, TRIES, PAUSE, HF_ENDPOINT, HF_TOKEN and GITHUB_RAW.

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
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Makes the folder that is written to, and keeps a second run out of it. Arguments: folder, name of its variable.
begin() {
  place=$1
  if ! mkdir -p "$1"; then
    echo "error: $2=$1 cannot be made; name another folder" >&2
    exit 1
  fi
  exec 9>"$1/.prepare.lock"
  if ! flock --nonblock 9; then
    echo "error: another $(basename "$0") is at work in $1; wait for it, or name another $2" >&2
    exit 1
  fi
}

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
    23:*) echo "it cannot be written; $(df -h --output=avail "$place" | tail -n 1 | tr -d ' ') are free there: make room, run again" ;;
    35:* | 60:* | 77:*) echo "its certificate is not trusted; behind a proxy that signs anew, name its certificate in CURL_CA_BUNDLE" ;;
    *) echo "it broke off $TRIES times ($(tail -n 1 "$scratch/message")); run again to go on" ;;
  esac
}

# Downloads to FILE.part, going on where an earlier attempt stopped, and names it FILE once it is whole.
# Arguments: file, address, bytes, SHA-256, page.
download() {
  local file=$1 url=$2 part=$1.part code answer status proxy tag same fault try
  url=${url/#https:\/\/huggingface.co/${HF_ENDPOINT%/}}
  url=${url/#https:\/\/raw.githubusercontent.com/${GITHUB_RAW%/}}
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
