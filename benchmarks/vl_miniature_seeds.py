"""Runs the picture miniature on several seeds: describing first against answering directly, on the same pictures.

    python benchmarks/vl_miniature_seeds.py [SEED ...]        (default: 0 to 5; the environment must be set up)

Prints the share of answers that are right, with its 95 % interval over the questions, and what describing first gains
on each question (paired), with its interval over questions and over seeds. A seed whose run is there is not run again,
and one that was killed goes on. With another number of THREADS sums are added in another order, which after some
hundred steps is as another seed.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t as student

from open_instruct.core.intervals import interval
from open_instruct.core.records import read_rows

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--output", default=str(ROOT / "output" / "vl_miniature_seeds"), help="folder of the runs")
    arguments = parser.parse_args()
    gains = []
    print("| seed | direct | describe first | gain | description right | distracted | train s (direct, describe) |")
    print("| --- " * 7 + "|")
    for seed in arguments.seeds:
        folder = Path(arguments.output) / f"seed{seed}"
        if not (folder / "results.json").is_file():
            miniature(seed, folder)
        direct, describe = (rights(folder / "results" / run / "vqa") for run in ("it", "sit"))
        gain = [describe[name] - direct[name] for name in direct]
        gains.append(gain)
        described = shares(folder / "results" / "sit" / "vqa", "caption_rouge_l", exactly=1.0)
        distracted = shares(folder / "results" / "sit" / "vqa_distracted", "exact_match")
        seconds = ", ".join(seconds_of(folder / run) for run in ("it", "sit"))
        cells = [told(list(direct.values())), told(list(describe.values())), told(gain), told(described)]
        print(f"| {seed} | {' | '.join(cells)} | {told(distracted)} | {seconds} |", flush=True)
    # Over seeds, the questions are the same: each counts once, with its mean.
    pooled = [sum(question) / len(question) for question in zip(*gains, strict=True)]
    print(f"\nmean gain of describing first over {len(gains)} seeds, % (95 % interval over questions): {told(pooled)}")
    if len(gains) > 1:
        means = [100 * sum(gain) / len(gain) for gain in gains]
        low, high = student.interval(0.95, len(means) - 1, mean(means), stdev(means) / len(means) ** 0.5)
        print(f"over seeds, whose gains differ by more than questions do (Student's t): {low:.1f} to {high:.1f}")


def miniature(seed: int, folder: Path) -> None:
    environment = {**os.environ, "SEED": str(seed), "OUTPUT": str(folder)}
    script = ROOT / "LAVIS" / "run_scripts" / "blip2" / "train" / "train_miniature.sh"
    done = subprocess.run(["bash", script], env=environment, stdout=sys.stderr)
    if done.returncode:
        sys.exit(f"error: the miniature with seed {seed} ended with {done.returncode}")


def rights(folder: Path) -> dict[str, float]:
    """Whether each question was answered right, by its id."""
    return {row["id"]: row["metrics"]["exact_match"] for _, row in read_rows(folder / "predictions.jsonl")}


def shares(folder: Path, metric: str, exactly: float | None = None) -> list[float]:
    """A metric of each question, or whether it has just that value."""
    values = [row["metrics"][metric] for _, row in read_rows(folder / "predictions.jsonl")]
    return values if exactly is None else [float(value >= exactly) for value in values]


def seconds_of(folder: Path) -> str:
    """Seconds that training took; with "+" where it was killed in between, since a killed run leaves no end."""
    info = json.loads((folder / "run.json").read_text())
    earlier = [one["seconds"] for one in info.get("earlier", [])]
    known = info["seconds"] + sum(seconds or 0 for seconds in earlier)
    return f"{known:.0f}" + ("+" if None in earlier else "")


def told(values: list[float]) -> str:
    low, high = interval(values)
    return f"{100 * sum(values) / len(values):.1f} ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
