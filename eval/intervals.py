"""The 95 % interval of a mean over items: how far the figure could lie from what endless items would give.

Called by `eval.run` for every metric. lm-evaluation-harness's own standard error is the normal one, which is zero
where all items are right or all are wrong, just where a small benchmark most needs the interval.
"""

import math
from collections.abc import Sequence

import numpy as np

_Z = 1.959963984540054  # standard normal deviate that leaves 2.5 % on each side
_DRAWS = 4_000  # of a bootstrap: from seed to seed the ends then move by some hundredth of the interval's length
_BLOCK = 1 << 20  # items drawn at once: 12 MiB


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean of `values`, from their sample deviation; None for a single value."""
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Lower and upper end of the 95 % interval of the mean of `values`, one an item.

    Values that are all 0 or 1 get Wilson's score interval (Wilson 1927; Brown, Cai and DasGupta 2001, who advise it
    for small numbers); others the percentile bootstrap over items (Efron 1979), the same at every call with the same
    `seed`.
    """
    array = np.asarray(values, dtype=float)
    if np.isin(array, (0.0, 1.0)).all():
        return _wilson(float(array.mean()), len(array))
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // len(array))
    means = np.concatenate(
        [
            array[rng.integers(len(array), size=(min(block, _DRAWS - done), len(array)), dtype=np.int32)].mean(axis=1)
            for done in range(0, _DRAWS, block)
        ]
    )
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def _wilson(share: float, n: int) -> tuple[float, float]:
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return (0.0 if share == 0 else centre - half), (1.0 if share == 1 else centre + half)
