"""Rescoring 16,000 stored predictions, the start of Python included.

    python benchmarks/rescoring.py        # the stored rows of MGSM in $SIT_SHARED, or `shared` beside the checkout

Rows are the real predictions of MGSM, repeated. Seconds are of `python -m eval.rescore` as users run it: on the wall,
and of the CPU, which other programs on the machine hardly change. Beside it: the command that only prints its help.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

ROWS = 16_000
ROOT = Path(__file__).resolve().parents[1]


def seconds(*arguments: str) -> tuple[float, float]:
    """On the wall, and of the CPU."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", "eval.rescore", *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    shared = Path(os.environ.get("SIT_SHARED") or ROOT.parent / "shared")
    stored = [
        line
        for path in sorted((shared / "data/outputs/mgsm").glob("*/predictions_*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.jsonl"
        path.write_text("".join(islice(cycle(stored), ROWS)), encoding="utf-8")
        print(f"{'':<24}{'wall, s':>9}{'CPU, s':>9}")
        fields = ["--prediction_field", "model_output", "--answer_field", "answer"]
        for name, arguments in (
            (f"{ROWS:,} predictions", ["--task", "mgsm", "--predictions", str(path), *fields]),
            ("start alone (--help)", ["--help"]),
        ):
            wall, cpu = min(seconds(*arguments) for _ in range(3))
            print(f"{name:<24}{wall:>9.2f}{cpu:>9.2f}")
