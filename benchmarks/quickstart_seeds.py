"""Runs the quickstart on several seeds and prints its figures beside the goals: time, memory, IT against SIT.

    python benchmarks/quickstart_seeds.py [SEED ...]        (default: 0 1 2; the environment must be set up)

Each seed runs in an empty folder below --output. Memory is the proportional share (PSS) of all processes of the run
together, sampled every second.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ("single", "pairs", "chains", "longer")
GOALS = (  # from the project's first milestone
    ("seconds", "under 480", lambda run: run["seconds"] < 480),
    ("peak memory", "under 3 GiB", lambda run: run["peak_gib"] < 3),
    ("unseen pairs", "SIT >= 0.90, IT <= 0.10", lambda run: run["sit"]["pairs"] >= 0.90 and run["it"]["pairs"] <= 0.10),
    (
        "unseen chains of 3",
        "SIT >= 0.70, IT <= 0.05",
        lambda r: r["sit"]["chains"] >= 0.70 and r["it"]["chains"] <= 0.05,
    ),
    (
        "single tasks",
        "both >= 0.97, SIT at most 0.02 below IT",
        lambda run: (
            min(run["it"]["single"], run["sit"]["single"]) >= 0.97
            and run["sit"]["single"] >= run["it"]["single"] - 0.02
        ),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--output", default=str(ROOT / "output" / "quickstart_seeds"), help="folder of the runs")
    arguments = parser.parse_args()
    runs = [quickstart(seed, Path(arguments.output, str(seed))) for seed in arguments.seeds]
    print(f"\n| seed | seconds | peak GiB | model | {' | '.join(COLUMNS)} |")
    print("| --- " * 8 + "|")
    for run in runs:
        for model in ("it", "sit"):
            shares = " | ".join(f"{run[model][column]:.3f}" for column in COLUMNS)
            print(f"| {run['seed']} | {run['seconds']:.0f} | {run['peak_gib']:.2f} | {model} | {shares} |")
    print()
    for name, goal, reached in GOALS:
        print(f"{name}: {goal}: {sum(map(reached, runs))} of {len(runs)} seeds")


def quickstart(seed: int, folder: Path) -> dict:
    """One run from nothing: what `results.json` says, with its wall-clock seconds and all processes' peak memory."""
    if folder.exists():
        sys.exit(f"error: {folder} is there already; delete it, so that the run is measured from its beginning")
    start = time.monotonic()
    environment = {**os.environ, "SEED": str(seed), "OUTPUT": str(folder)}
    process = subprocess.Popen(["bash", ROOT / "scripts" / "quickstart.sh"], env=environment)
    peak = [0]
    sampler = threading.Thread(target=_watch_memory, args=(psutil.Process(process.pid), peak), daemon=True)
    sampler.start()
    if process.wait():
        sys.exit(f"error: the quickstart with seed {seed} ended with {process.returncode}")
    seconds = time.monotonic() - start
    results = json.loads((folder / "results.json").read_text())
    return {**results, "seconds": seconds, "peak_gib": peak[0] / 2**30}


def _watch_memory(root: psutil.Process, peak: list[int]) -> None:
    while root.is_running():
        total = 0
        for process in [root, *_children(root)]:
            try:
                total += process.memory_full_info().pss
            except psutil.Error:  # it ended in between
                continue
        peak[0] = max(peak[0], total)
        time.sleep(1)


def _children(root: psutil.Process) -> list[psutil.Process]:
    try:
        return root.children(recursive=True)
    except psutil.Error:
        return []


if __name__ == "__main__":
    main()
