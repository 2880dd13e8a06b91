"""Whether vLLM answers as transformers does: every benchmark by both backends, compared item by item.

    python benchmarks/backends_agree.py --model CHECKPOINT --limit 50 --output output/agree

One line a benchmark: items, how many have another answer or choice, and the greatest difference of a metric (the
choices' probabilities among them). Items that a benchmark draws at a temperature differ by nature. Both runs use
float32: in bfloat16 the order of additions alone turns near ties. A killed run goes on with the same command.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from eval import results

DRAWN = {"codex_humaneval_pass1", "codex_humaneval_pass10", "mbpp_pass1", "mbpp_pass10"}


def compare(one: Path, other: Path) -> None:
    print(f"\n{'benchmark':<28}{'items':>7}{'differ':>8}{'metrics':>10}")
    items = differing = 0
    others = results.read_run(other)
    for name in (name for name in results.read_run(one) if name in others):
        pairs = list(zip(*(results.read_predictions(run / name) for run in (one, other)), strict=True))
        unlike = [mine["id"] for mine, its in pairs if mine["response"] != its["response"]]
        both = [(mine["metrics"], its["metrics"]) for mine, its in pairs]
        apart = max((abs(mine[key] - its[key]) for mine, its in both for key in mine.keys() & its.keys()), default=0.0)
        drawn = name in DRAWN
        told = "  drawn" if drawn else f"  {', '.join(unlike[:3])}"
        print(f"{name:<28}{len(pairs):>7,}{len(unlike):>8,}{apart:>10.1e}{told}".rstrip())
        if not drawn:
            items, differing = items + len(pairs), differing + len(unlike)
    print(f"\nnot drawn: {items:,} items, {differing:,} with another answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tasks", default="paper")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--backend_options", nargs="*", default=[], help="of vllm")
    given = parser.parse_args()
    for backend in ("hf", "vllm"):
        command = [sys.executable, "-m", "eval.run", "--model", given.model, "--tasks", given.tasks]
        command += ["--limit", str(given.limit), "--dtype", "float32", "--backend", backend]
        command += ["--output_dir", str(given.output / backend)]
        if backend == "vllm" and given.backend_options:
            command += ["--backend_options", *given.backend_options]
        subprocess.run(command, check=True)
    compare(given.output / "hf", given.output / "vllm")


if __name__ == "__main__":
    main()
