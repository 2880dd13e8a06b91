#!/usr/bin/env bash
# The picture miniature, on a CPU, with no download: draws pictures of coloured
# shapes, tunes one model to answer directly and one to describe first, on the
# same pictures and number of rows, evaluates both, and shows them on one page.
# About four minutes; the same command goes on after a kill.
# Usage: bash LAVIS/run_scripts/blip2/train/train_miniature.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../../scripts/start.sh"

SEED=${SEED:-0}                                    # of the training pictures, and of the order of the rows
OUTPUT=${OUTPUT:-$ROOT/output/miniature_vl}        # folder of everything; another seed needs another folder
PICTURES=${PICTURES:-19200}                        # to train on, with a question each, seen once
TEST=${TEST:-500}                                  # to evaluate on; the same ones for every seed
RUNS=${RUNS:-it sit}                               # models to tune: it answers directly, sit describes first
THREADS=${THREADS:-1}                              # CPU threads; more are faster and give other figures, as another seed does

export OMP_NUM_THREADS=$THREADS
settings=$ROOT/LAVIS/lavis/projects/instructblip
if [[ -f $OUTPUT/seed && $(<"$OUTPUT/seed") != "$SEED $PICTURES $TEST" ]]; then
  echo "error: $OUTPUT holds a run with other SEED, PICTURES or TEST; name another folder (OUTPUT=...) or delete it" >&2
  exit 1
fi
mkdir -p "$OUTPUT"
OUTPUT=$(CDPATH='' cd -- "$OUTPUT" && pwd -P)
echo "$SEED $PICTURES $TEST" >"$OUTPUT/seed"
export OUTPUT  # the YAML files name it

if [[ ! -f $OUTPUT/data/whole ]]; then
  python -m lavis.miniature.make_data --output_dir "$OUTPUT/data" --train "$PICTURES" --test "$TEST" --seed "$SEED"
  for split in train test; do
    python "$ROOT/LAVIS/make_instruct_data.py" --questions "$OUTPUT/data/$split.jsonl" --split "$split" \
      --output_dir "$OUTPUT/data" --images "$OUTPUT/data/images" --seed "$SEED"
  done
  touch "$OUTPUT/data/whole"
fi

# Arguments: name of the run, its rows, its prompt.
tune() {
  printf '\n== %s: trained on %s_vqa_train.json\n' "$1" "$2"
  python "$ROOT/LAVIS/train.py" --cfg-path "$settings/miniature_train.yaml" --options \
    "datasets.shapes.build_info.annotations.train.storage=$OUTPUT/data/$2_vqa_train.json" \
    "run.output_dir=$OUTPUT/$1" "run.seed=$SEED"
  evaluate "$1" vqa Shapes "$3"
}

# Arguments: name of the run, of the benchmark, its title, the prompt.
evaluate() {
  python "$ROOT/LAVIS/evaluate.py" --cfg-path "$settings/miniature_eval.yaml" --options \
    "model.finetuned=$OUTPUT/$1" "run.run_name=$1" "run.benchmark=$2" "run.title=$3" "run.prompt=$4"
}

shown=() told=()
for run in $RUNS; do
  case $run in
    it)
      tune it base direct_as_trained
      told+=("it=tuned to answer directly")
      ;;
    sit)
      tune sit describe describe_first_as_trained
      evaluate sit vqa_distracted Distracted distracted_as_trained
      told+=("sit=tuned to describe the picture and then answer")
      ;;
    *)
      echo "error: RUNS=$RUNS: expected it, sit or both" >&2
      exit 1
      ;;
  esac
  shown+=("$run=$OUTPUT/results/$run")
done

printf '\n== result\n'
python -m eval.report "${shown[@]}" --output "$OUTPUT" --seed "$SEED" \
  --title "Describe, then answer: the picture miniature" --about "${told[@]}"
