"""Writes the miniature's files: single instructions with their answers for stage 1, and the evaluation items for
stage 3.

    python -m open_instruct.miniature.make_data --eval_dir data/eval/miniature --train_file instructions.jsonl

The evaluation's items do not depend on `--seed`: runs with other seeds are measured on the same items.
"""

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from open_instruct.core.command import help_field, run
from open_instruct.core.records import write_rows
from open_instruct.miniature.world import (
    SIMPLE,
    TASKS,
    UNSEEN_CHAINS,
    UNSEEN_PAIRS,
    draw_words,
    solve,
    write_instruction,
)

# What each benchmark asks for: the chains that its items are drawn from.
BENCHMARKS: dict[str, list[tuple[str, ...]]] = {
    "single": [(task,) for task in TASKS],
    "pairs": sorted(UNSEEN_PAIRS),
    "chains": sorted(UNSEEN_CHAINS),
    "longer": list(permutations(SIMPLE, 4)),
}


@dataclass
class Settings:
    eval_dir: str = help_field("folder of the evaluation items")
    train_file: str = help_field("where the single instructions go; not given: none are written", "")
    rows: int = help_field("single instructions", 20_000)
    items: int = help_field("evaluation items a benchmark", 300)
    seed: int = help_field("of the single instructions", 0)


def main(settings: Settings) -> None:
    """Write both and print the counts."""
    if settings.train_file:
        taken = {(item["instruction"], item["input"]) for item in items("single", settings.items)}
        rows = write_rows(settings.train_file, training_rows(settings.rows, settings.seed, taken))
        print(f"{settings.train_file}: {rows} rows")
    for name in BENCHMARKS:
        path = Path(settings.eval_dir, f"{name}.jsonl")
        print(f"{path}: {write_rows(path, items(name, settings.items))} items")


def training_rows(count: int, seed: int, taken: Collection[tuple[str, str]] = ()) -> Iterator[dict]:
    """Single instructions of every task, equally often, with the right answer; no (instruction, input) of `taken`."""
    rng = random.Random(seed)
    for number in range(count):
        instruction, words = _draw(rng)
        while (instruction, " ".join(words)) in taken:
            instruction, words = _draw(rng)
        yield {
            "id": number,
            "instruction": instruction,
            "input": " ".join(words),
            "output": solve(instruction, words)[0],
        }


def _draw(rng: random.Random) -> tuple[str, list[str]]:
    task = rng.choice(list(TASKS))
    return write_instruction([rng.choice(TASKS[task].phrasings)]), draw_words(rng)


def items(name: str, count: int) -> Iterator[dict]:
    """The evaluation items of the benchmark `name`, each with the right answer to every step."""
    rng = random.Random(name)
    for number in range(count):
        chain = rng.choice(BENCHMARKS[name])
        words = draw_words(rng)
        instruction = write_instruction([rng.choice(TASKS[task].phrasings) for task in chain])
        yield {
            "id": f"{name}-{number}",
            "instruction": instruction,
            "input": " ".join(words),
            "steps": list(chain),
            "answers": solve(instruction, words),
        }


if __name__ == "__main__":
    run(main, Settings)
