#!/usr/bin/env bash
# Brings the data of the vision-language experiments and makes their rows:
# VQAv2's questions and annotations, GQA's balanced test-dev questions, COCO's
# captions, and the pictures. Says how much that is before it starts; the same
# command goes on where it stopped, and what is there is not fetched again.
# Usage: bash LAVIS/download_vqa.sh [vqa] [gqa] [captions] [images] [gqa_images]
#        (none named: vqa gqa captions images; gqa_images are another 20 GB)
#        YES=1 bash LAVIS/download_vqa.sh                     # does not ask
#        DATA_MIRROR=/copies bash LAVIS/download_vqa.sh       # without internet
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/start.sh"

DATA_DIR=${DATA_DIR:-$ROOT/data/train/vl}  # folder of everything: downloads/, annotations/, images/, rows/
DATA_MIRROR=${DATA_MIRROR:-}               # folder with copies of the downloads, found by their names; nothing is fetched
YES=${YES:-}                               # 1: start without asking
KEEP_ZIPS=${KEEP_ZIPS:-}                   # 1: keep the downloads after they are unpacked
CAPTION=${CAPTION:-one}                    # captions of a question: one, drawn, or all
ANSWER=${ANSWER:-majority}                 # training answer: majority, or sampled from the annotators
ROWS=${ROWS:--1}                           # only so many questions for training, drawn; -1 takes all
SEED=${SEED:-42}                           # of what is drawn
TRIES=${TRIES:-5}                          # attempts at a download that breaks off; each goes on where the last one stopped
VQA_URL=${VQA_URL:-https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa}  # address of VQAv2, or of a copy of it
COCO_URL=${COCO_URL:-http://images.cocodataset.org}                # the same of COCO
LAVIS_URL=${LAVIS_URL:-https://storage.googleapis.com/sfr-vision-language-research}  # the same of LAVIS's data
GQA_URL=${GQA_URL:-https://downloads.cs.stanford.edu/nlp/data/gqa}  # the same of GQA's pictures

# Part, file, address, bytes ("-": what the server says), and folder it is unpacked into ("-": it is no archive).
FILES="
vqa v2_Questions_Train_mscoco.zip $VQA_URL/v2_Questions_Train_mscoco.zip 7239401 annotations
vqa v2_Questions_Val_mscoco.zip $VQA_URL/v2_Questions_Val_mscoco.zip 3494929 annotations
vqa v2_Annotations_Train_mscoco.zip $VQA_URL/v2_Annotations_Train_mscoco.zip 21708861 annotations
vqa v2_Annotations_Val_mscoco.zip $VQA_URL/v2_Annotations_Val_mscoco.zip 10518930 annotations
gqa testdev_balanced_questions.json $LAVIS_URL/LAVIS/datasets/gqa/testdev_balanced_questions.json - -
captions annotations_trainval2014.zip $COCO_URL/annotations/annotations_trainval2014.zip 252872794 annotations
images train2014.zip $COCO_URL/zips/train2014.zip 13510573713 images
images val2014.zip $COCO_URL/zips/val2014.zip 6645013297 images
gqa_images images.zip $GQA_URL/images.zip - images/gqa
"

fail() {
  echo "error: $1" >&2
  exit 1
}

parts=("$@")
if ((${#parts[@]} == 0)); then parts=(vqa gqa captions images); fi
for part in "${parts[@]}"; do
  case $part in
    vqa | gqa | captions | images | gqa_images) ;;
    *) fail "$part: expected vqa, gqa, captions, images or gqa_images" ;;
  esac
done
if [[ -n $DATA_MIRROR && ! -d $DATA_MIRROR ]]; then
  fail "DATA_MIRROR=$DATA_MIRROR: no such folder; expected the folder with copies of the downloads"
fi
command -v curl >/dev/null || fail "curl is not installed"
mkdir -p "$DATA_DIR/downloads" "$DATA_DIR/annotations" "$DATA_DIR/images" || fail "DATA_DIR=$DATA_DIR cannot be made"
exec 9>"$DATA_DIR/.download.lock"
flock --nonblock 9 || fail "another download_vqa.sh is at work in $DATA_DIR; wait for it, or name another DATA_DIR"

wanted() { [[ " ${parts[*]} " = *" $1 "* ]]; }
unpacked() { [[ -f $DATA_DIR/downloads/$1.unpacked ]]; }
size_of() { stat -c %s "$1" 2>/dev/null || echo 0; }
megabytes() { echo "$((($1 + 999999) / 1000000)) MB"; }

# What is to come, before anything does.
total=0
unknown=
echo "Into $DATA_DIR:"
while read -r part name _ bytes folder; do
  if [[ -z $part ]] || ! wanted "$part"; then continue; fi
  if unpacked "$name" || { [[ $folder = - ]] && [[ -f $DATA_DIR/annotations/$name ]]; }; then
    echo "  $name is there"
  elif [[ $bytes = - ]]; then
    unknown=" and what the sizes above do not tell"
    echo "  $name, size not known beforehand"
    if [[ $part = gqa_images ]]; then echo "    (about 20 GB)"; fi
  else
    total=$((total + bytes - $(size_of "$DATA_DIR/downloads/$name.part")))
    echo "  $name, $(megabytes "$bytes")"
  fi
done <<<"$FILES"
need=$((total * 2))  # the archive and what is in it
free=$(($(df --output=avail -B1 "$DATA_DIR" | tail -n 1)))
echo "To bring: $(megabytes "$total")$unknown; with the unpacked files it takes $(megabytes "$need") for a while."
if ((free < need)); then fail "$DATA_DIR: $(megabytes "$free") are free; make room, or name another DATA_DIR"; fi
if [[ -z $YES && -z $DATA_MIRROR && $total -gt 1000000000 && -t 0 ]]; then
  read -r -p "Go on? [y/N] " reply
  [[ $reply = [yY]* ]] || exit 1
fi

# Why a file is not what it must be, or nothing. Arguments: file, bytes.
fault_of() {
  local found
  found=$(size_of "$1")
  if [[ $2 != - && $found != "$2" ]]; then
    echo "has $found bytes, expected $2"
  elif ((found == 0)); then
    echo "is empty"
  elif head -c 300 "$1" | tr -d '\0' | grep -qiE '^[[:space:]]*<(!doctype html|html|\?xml)'; then
    echo "is a web page, no data (the login page of a proxy?)"
  fi
}

# Arguments: name, address, bytes.
bring() {
  local file=$DATA_DIR/downloads/$1 found fault code try bytes=$3
  if [[ -f $file && -z $(fault_of "$file" "$bytes") ]]; then return 0; fi
  if [[ -n $DATA_MIRROR ]]; then
    found=$(find -L "$DATA_MIRROR" -type f -name "$1" -print -quit)
    [[ -n $found ]] || fail "$1 is not in DATA_MIRROR=$DATA_MIRROR; copy it there from $2"
    fault=$(fault_of "$found" "$bytes")
    [[ -z $fault ]] || fail "$found $fault; copy it again"
    cp --reflink=auto "$found" "$file.part" && chmod u+w "$file.part" && mv "$file.part" "$file"
    return 0
  fi
  echo "  $1 from $2"
  for ((try = 1; try <= TRIES; try++)); do
    code=0
    curl --fail --location --continue-at - --connect-timeout 30 --speed-limit 1000 --speed-time 60 \
      --progress-bar --output "$file.part" "$2" || code=$?
    case $code in
      0) break ;;
      33 | 36) rm -f "$file.part" ;;  # the server cannot go on: from the beginning
      16 | 18 | 28 | 52 | 55 | 56 | 92) sleep $((try * 5)) ;;
      *) break ;;
    esac
  done
  if ((code == 22)) && [[ -f $file.part && -z $(fault_of "$file.part" "$bytes") && $bytes != - ]]; then code=0; fi
  ((code == 0)) || fail "$1: curl ended with $code at $2; behind a proxy set https_proxy, without internet DATA_MIRROR; the same command goes on"
  fault=$(fault_of "$file.part" "$bytes")
  if [[ -n $fault ]]; then
    rm -f "$file.part"
    fail "$1: what $2 sent $fault; run again"
  fi
  mv "$file.part" "$file"
}

# Arguments: name, folder. Only a whole unpacking is marked.
unpack() {
  python -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])' \
    "$DATA_DIR/downloads/$1" "$DATA_DIR/$2" || fail "$DATA_DIR/downloads/$1 cannot be unpacked; delete it and run again"
  touch "$DATA_DIR/downloads/$1.unpacked"
  if [[ -z $KEEP_ZIPS ]]; then rm "$DATA_DIR/downloads/$1"; fi
}

while read -r part name url bytes folder <&3; do
  if [[ -z $part ]] || ! wanted "$part" || unpacked "$name"; then continue; fi
  if [[ $folder = - ]]; then
    if [[ ! -f $DATA_DIR/annotations/$name ]]; then
      bring "$name" "$url" "$bytes"
      mv "$DATA_DIR/downloads/$name" "$DATA_DIR/annotations/$name"
    fi
  else
    bring "$name" "$url" "$bytes"
    echo "  unpacking $name"
    unpack "$name" "$folder"
  fi
done 3<<<"$FILES"

# Rows, from what is there: training with captions, evaluation on the validation questions and on GQA.
found=$DATA_DIR/annotations
captions() { find "$found" -name "captions_$1.json" -print -quit; }
make_rows() {
  python "$ROOT/LAVIS/make_instruct_data.py" --output_dir "$DATA_DIR/rows" --caption "$CAPTION" --answer "$ANSWER" \
    --seed "$SEED" "$@"
}
for set in train val; do
  questions=$found/v2_OpenEnded_mscoco_${set}2014_questions.json
  texts=$(captions "${set}2014")
  if [[ ! -f $questions || -z $texts ]]; then continue; fi
  flags=()
  if [[ -d $DATA_DIR/images/${set}2014 ]]; then flags=(--images "$DATA_DIR/images"); fi
  if [[ $set = train ]]; then flags+=(--rows "$ROWS"); fi
  echo "== rows of VQAv2 $set"
  make_rows --questions "$questions" --annotations "$found/v2_mscoco_${set}2014_annotations.json" \
    --captions "$texts" --split "$set" ${flags[@]+"${flags[@]}"}
done
if [[ -f $found/testdev_balanced_questions.json ]]; then
  echo "== rows of GQA"
  make_rows --questions "$found/testdev_balanced_questions.json" --split gqa_testdev
fi
echo "Done: $DATA_DIR"
