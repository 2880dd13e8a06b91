"""Where rows are cut into stages by their difficulty, and what the stages hold. `split.py` calls it."""

import random
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from open_instruct.core.errors import UserError


@dataclass(frozen=True)
class Cut:
    """Rows in stages.

    Attributes:
        stage_of: of each row, from 0.
        borders: difficulties at which a stage ends and the next begins, ascending.
        ties: rows whose difficulty is just at a border between stages of equal size, and that lie on both sides of it.
    """

    stage_of: array
    borders: tuple[float, ...]
    ties: int = 0

    @property
    def stages(self) -> int:
        return len(self.borders) + 1


def by_thresholds(difficulties: Sequence[float], thresholds: Sequence[float]) -> Cut:
    """Stage k holds the rows from threshold k - 1 on and below threshold k.

    Raises:
        UserError: the thresholds do not ascend.
    """
    if not thresholds or any(low >= high for low, high in pairwise(thresholds)):
        shown = " ".join(f"{one:g}" for one in thresholds)
        raise UserError(f"--thresholds {shown}: expected one or more numbers, each above the one before")
    return Cut(array("H", (bisect_right(thresholds, value) for value in difficulties)), tuple(thresholds))


def by_size(difficulties: Sequence[float], stages: int) -> Cut:
    """Stages of equal size, give or take a row, the easiest rows first; of equally hard ones, those that come first.

    Raises:
        UserError: fewer rows than stages, or fewer than two stages.
    """
    if not 2 <= stages <= len(difficulties):
        raise UserError(f"--stages {stages}: expected from 2 to the number of rows, {len(difficulties):,}")
    order = np.argsort(np.asarray(difficulties, dtype=float), kind="stable")
    ends = [len(order) * stage // stages for stage in range(1, stages)]
    stage_of = array("H", bytes(2 * len(order)))
    for place, row in enumerate(order):
        stage_of[row] = bisect_right(ends, place)
    values = np.asarray(difficulties, dtype=float)[order]
    split = {float(values[end]) for end in ends if values[end - 1] == values[end]}
    ties = int(np.isin(values, sorted(split)).sum())
    return Cut(stage_of, tuple(float(values[end]) for end in ends), ties)


def at_random(cut: Cut, seed: int) -> array:
    """The control of the publication: stages of the same sizes, whose rows are drawn without regard to difficulty."""
    stage_of = array("H", cut.stage_of)
    random.Random(f"{seed}/random stages").shuffle(stage_of)
    return stage_of


def refuse_empty(sizes: Sequence[int], difficulties: Sequence[float], borders: Sequence[float]) -> None:
    """End where a stage would teach nothing.

    Raises:
        UserError: a stage has no rows; the line names it and the difficulties there are.
    """
    for stage, size in enumerate(sizes, start=1):
        if not size:
            raise UserError(
                f"stage {stage} ({interval_of(stage, borders)}) is empty: difficulties go from "
                f"{min(difficulties):g} to {max(difficulties):g}. Choose other --thresholds, or --stages N for equal "
                "sizes; --dry_run shows the table"
            )


def interval_of(stage: int, borders: Sequence[float]) -> str:
    """The difficulties of a stage, counted from 1: "below 1.5", "1.5 to 3.5", "from 3.5"."""
    if stage == 1:
        return f"below {borders[0]:.4g}"
    low = f"{borders[stage - 2]:.4g}"
    return f"from {low}" if stage > len(borders) else f"{low} to {borders[stage - 1]:.4g}"
