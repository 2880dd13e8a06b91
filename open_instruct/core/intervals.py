"""The 95 % interval of a mean over items: how far the figure could lie from what endless items would give.

Evaluation calls it for every metric and for how two runs differ, stage 1's report for what its judge counted.
lm-evaluation-harness's own standard error is the normal one, which is zero where all items are right or all are wrong,
just where a small benchmark most needs the interval.
"""

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist

import numpy as np

_Z = NormalDist().inv_cdf(0.975)  # 1.959964: leaves 2.5 % on each side
_DRAWS = 2_000  # of a bootstrap: with other draws the ends move by some hundredth of the interval's length
_SEED = 0  # the same answers have the same interval, whatever the run's seed
_BLOCK = 1 << 20  # values drawn at once: 24 MiB


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean of `values`, from their sample deviation; None for a single value."""
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def interval(values: Sequence[float], shares: bool = True) -> tuple[float, float]:
    """Lower and upper end of the 95 % interval of the mean of `values`, one an item, items being independent.

    Values that are all 0 or 1 get Wilson's score interval (Wilson 1927; Brown, Cai and DasGupta 2001, who advise it
    for small numbers); others the percentile bootstrap over items (Efron 1979). Equal shares get Wilson's, too, which
    is then too long: values between 0 and 1 scatter less than right and wrong ones do.

    Args:
        values: one an item.
        shares: False where they are figures of another kind, such as marks from 1 to 5: always the bootstrap then.
    """
    array = np.asarray(values, dtype=float)
    equal_shares = array.min() == array.max() and 0 <= array[0] <= 1
    if shares and (equal_shares or np.isin(array, (0.0, 1.0)).all()):
        return wilson(float(array.mean()), len(array))
    return _bootstrap(array, np.ones(len(array)))


def clustered_interval(
    values: Sequence[float], clusters: Sequence[Hashable], shares: bool = True
) -> tuple[float, float] | None:
    """The same where items of one cluster are right or wrong together: the percentile bootstrap over clusters.

    Whole clusters are drawn, with all their items (Davison and Hinkley 1997, section 3.8).

    Args:
        values: one an item.
        clusters: of each item.
        shares: as in `interval`.

    Returns:
        None where `interval` is longer: then all clusters have the same mean, or too few differ to tell anything.
    """
    members: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        members.setdefault(cluster, []).append(value)
    sums, counts = (np.array([of(group) for group in members.values()], dtype=float) for of in (sum, len))
    low, high = _bootstrap(sums, counts)
    over_items = interval(values, shares)
    return (low, high) if high - low >= over_items[1] - over_items[0] else None


def paired_interval(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Lower and upper end of the 95 % interval of a difference of two shares of the same items: second - first.

    From Wilson's intervals of the two shares and their correlation (Newcombe 1998, method 10, whose correlation is
    corrected for continuity). A bootstrap has no length where no item differs, and is too short where few do: with 20
    items of which 7 % differ it holds the true difference in 59 of 100 cases.

    Args:
        both, first, second, neither: items that both have right, only the first, only the second, and neither.
    """
    n = both + first + second + neither
    one, other = (both + first) / n, (both + second) / n
    (low_one, high_one), (low_other, high_other) = wilson(one, n), wilson(other, n)
    together = both * neither - first * second
    if together > 0:
        together = max(0.0, together - n / 2)
    scale = math.sqrt((both + first) * (second + neither) * (both + second) * (first + neither))
    phi = together / scale if scale else 0.0

    def length(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    difference = (second - first) / n
    return (
        difference - length(other - low_other, high_one - one),
        difference + length(high_other - other, one - low_one),
    )


def _bootstrap(sums: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Percentile interval of the mean, from units that are drawn whole; of each, the sum and the number of values."""
    rng = np.random.default_rng(_SEED)
    units = len(sums)
    block = max(1, _BLOCK // units)
    means = []
    for done in range(0, _DRAWS, block):
        drawn = rng.integers(units, size=(min(block, _DRAWS - done), units), dtype=np.int32)
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return float(low), float(high)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's score interval (95 %) of a share of `n` independent items."""
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return (0.0 if share == 0 else centre - half), (1.0 if share == 1 else centre + half)
