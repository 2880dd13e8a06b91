"""Forward and backward of the miniature base on packed rows, by the shape of the batch: tokens a second.

    OMP_NUM_THREADS=2 python benchmarks/packed_shapes.py

Compares packed rows as rows of the batch (`open_instruct/training/packing.py`) with the one flat sequence that TRL
makes of the same rows, in one run. Each figure is the median of 9 passes, the shapes taking turns.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

BASE = Path(__file__).resolve().parents[1] / "open_instruct" / "miniature" / "base"
SHAPES = ((1, 256), (4, 256), (1, 128), (4, 128), (8, 128))  # packed rows, tokens of each
EXAMPLE = 32  # tokens of an example in a packed row, as in the miniature's training files


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).train()
    cases = [(rows, length, flat) for rows, length in SHAPES for flat in ((False, True) if rows > 1 else (False,))]
    seconds = {case: [] for case in cases}
    for _ in range(10):  # the first pass warms up
        for case in cases:
            seconds[case].append(one_pass(model, *case))
    print("| packed rows | tokens of each | as | tokens/s |\n| --- | --- | --- | ---: |")
    for (rows, length, flat), times in seconds.items():
        speed = rows * length / statistics.median(times[1:])
        print(f"| {rows} | {length} | {'one flat sequence' if flat else 'rows of the batch'} | {speed:,.0f} |")


def one_pass(model: torch.nn.Module, rows: int, length: int, flat: bool) -> float:
    """Seconds of a forward and backward pass over random tokens."""
    shape = (1, rows * length) if flat else (rows, length)
    ids = torch.randint(300, 600, shape)
    positions = (torch.arange(shape[1]) % EXAMPLE).expand(shape).contiguous()
    start = time.perf_counter()
    hidden = model.model(ids, position_ids=positions, use_cache=False).last_hidden_state
    model.lm_head(hidden[:, ::4]).logsumexp(-1).mean().backward()  # a quarter of the tokens is learned
    model.zero_grad()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
