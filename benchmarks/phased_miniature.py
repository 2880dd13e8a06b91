"""Phased against one-off tuning on the miniature, both on the same rows, passes and hyper-parameters.

    python benchmarks/phased_miniature.py [SEED ...]        (default: 0 1 2; about 4 minutes a seed on two cores)

Each seed makes its own rows (stage 1), cuts them by chain length (one task, two, three), and trains with
scripts/phased/run.sh: the stages in order, all rows at once, stages drawn by chance, and (--arms) any other order. What
is finished is kept, so seeds may be run one by one, and the last call prints the table of all that it is given.

On a machine with other work, OMP_NUM_THREADS=1: two threads that wait for each other took ten times as long. EPOCHS,
LEARNING_RATE and other variables of run.sh may be set, with another --output, for all arms. docs/phased.md has
the figures and what they say.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ("single", "pairs", "chains", "longer")
ARMS = {
    "phased": ("1-2-3", {}),
    "one-off": ("1+2+3", {"ONE_OFF": "1"}),
    "random stages": ("random-1-2-3", {"RANDOM_STAGES": "1"}),
    "reversed": ("3-2-1", {"ORDER": "3-2-1"}),
}
# As scripts/miniature/finetune.sh trains, but for what phased tuning sets: cosine, a tenth of warm-up, decay, 2 passes.
SETTINGS = {
    "MODEL": str(ROOT / "open_instruct" / "miniature" / "base"),
    **{"LENGTH": "128", "BATCH": "8", "DEVICE_BATCH": "8", "LEARNING_RATE": "1.5e-3", "PACKING": "true"},
    **{"SAVE_STEPS": "200", "REPORT_TO": "none"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=6000, help="single instructions of each seed")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["phased", "one-off", "random stages"])
    parser.add_argument("--output", default=str(ROOT / "output" / "phased_miniature"), help="folder of the runs")
    arguments = parser.parse_args()
    output = Path(arguments.output).resolve()
    figures = {seed: one_seed(seed, output / str(seed), arguments) for seed in arguments.seeds}
    print(f"\n| seed | trained | tokens | steps | {' | '.join(BENCHMARKS)} | mean |")
    print("| --- | --- |" + " ---: |" * (len(BENCHMARKS) + 3))
    for seed, arms in figures.items():
        for arm, found in arms.items():
            cells = [f"{found[name]:.3f}" for name in (*BENCHMARKS, "mean")]
            print(f"| {seed} | {arm} | {found['tokens']:,} | {found['steps']:,} | {' | '.join(cells)} |")
    for arm in arguments.arms:
        cells = [f"{mean(figures[seed][arm][name] for seed in figures):.3f}" for name in (*BENCHMARKS, "mean")]
        print(f"| all | {arm} | | | {' | '.join(cells)} |")
    for arm in arguments.arms:
        if arm != "one-off" and "one-off" in arguments.arms:
            print(verdict(arm, figures))


def one_seed(seed: int, folder: Path, arguments: argparse.Namespace) -> dict[str, dict]:
    """Make the rows, cut them, train each arm, and measure it: shares of items with all steps right."""
    settings = {name: os.environ.get(name, value) for name, value in SETTINGS.items()}
    given = {**settings, "SEED": str(seed), "SIT_EVAL_DATA": str(folder / "eval"), "STAGES_DIR": str(folder / "stages")}
    if not (folder / "stages" / "stages.json").exists():
        script(
            "self-seq/scripts/generation_miniature.sh", **given, ROWS=str(arguments.rows), OUTPUT_DIR=folder / "data"
        )
        rows = {"INPUT_FILE": folder / "data" / "sit.jsonl", "OUTPUT_DIR": folder / "stages"}
        script("scripts/phased/split.sh", **given, DIFFICULTY="chain_length", **rows)
    found = {}
    for arm in arguments.arms:
        name, control = ARMS[arm]
        flags = ("--gradient_checkpointing", "false", "--logging_steps", "100")
        script("scripts/phased/run.sh", *flags, **given, **control, OUTPUT_DIR=folder / "models")
        results = folder / "results"
        script("scripts/phased/generate.sh", folder / "models" / name, **given, SETS="miniature", RESULTS_DIR=results)
        found[arm] = shares(results / name) | trained_on(folder / "models", name)
    return found


def script(name: str, *arguments: str | Path, **variables: str | Path) -> None:
    """Run a script of the project; end where it fails."""
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count())}
    environment = {**os.environ, **threads, **{key: str(value) for key, value in variables.items()}}
    code = subprocess.run(["bash", ROOT / name, *arguments], env=environment).returncode
    if code:
        sys.exit(f"error: {name} ended with {code}")


def shares(folder: Path) -> dict[str, float]:
    """Of each benchmark, the share of items with all steps right; and their mean."""
    found = {}
    for name in BENCHMARKS:
        metrics = json.loads((folder / f"miniature_{name}" / "metrics.json").read_text())["metrics"]
        found[name] = metrics["all_steps"]["value"]
    return found | {"mean": mean(found.values())}


def trained_on(models: Path, name: str) -> dict[str, int]:
    """Tokens and optimizer steps of all trainings up to a checkpoint, all passes together."""
    parts = name.removeprefix("random-").split("-")
    prefix = "random-" if name.startswith("random-") else ""
    tokens = steps = 0
    for number in range(1, len(parts) + 1):
        run = json.loads((models / (prefix + "-".join(parts[:number])) / "run.json").read_text())
        tokens += run["results"]["tokens"] * int(run["settings"]["num_train_epochs"])
        steps += run["results"]["steps"]
    return {"tokens": tokens, "steps": steps}


def verdict(arm: str, figures: dict[int, dict[str, dict]]) -> str:
    """Which of an arm and one-off tuning won: only where all seeds agree did one."""
    differences = [found[arm]["mean"] - found["one-off"]["mean"] for found in figures.values()]
    shown = ", ".join(f"{difference:+.3f}" for difference in differences)
    if all(difference > 0 for difference in differences):
        won = f"{arm} won"
    elif all(difference < 0 for difference in differences):
        won = "one-off won"
    else:
        won = "neither won: the seeds disagree"
    return f"\n{arm} less one-off, mean of the benchmarks, a seed: {shown}: {won}"


if __name__ == "__main__":
    main()
