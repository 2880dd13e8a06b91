"""Do two runs differ, or is it chance? Their figures on the same items, compared pair by pair.

Called by `eval.report` with the values of each item. Two runs answer the same questions, so the difference on each
question tells far more than the two intervals side by side. For every pair of runs and every metric: the difference
of the means over the items that both have, its 95 % interval, and the chance of one so large where there is none:

- items that are right or wrong: Newcombe's interval (`core/intervals.py`), and McNemar's test, exact (the sign test on
  the items on which the runs differ);
- other figures, and items that fall into clusters: the paired bootstrap (Efron 1979; over clusters, unless Newcombe's
  over items is longer), and the sign of each difference (of each cluster's) is flipped at random, as it could as well
  have been the other way round (Fisher 1935; the p-value as in Phipson and Smyth 2010).

Several comparisons find something by chance the more there are: `holm` raises the p-values of a family so that the
chance of any false finding in it stays below the level (Holm 1979).
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from open_instruct.core.intervals import paired_interval

DRAWS = 2_000  # of the bootstrap, as in core/intervals
FLIPS = 10_000  # of the signs; all of them where there are fewer (2 to the number of units)
LEVEL = 0.05
_SEED = 0
_BLOCK = 1 << 22  # numbers drawn at once: 32 MiB
_EQUAL = 1e-5  # sums that lie no further apart, relatively, are equal: they are taken in 32 bits

Values = dict[tuple, float]  # of a metric in one run, by key of the item


@dataclass(frozen=True)
class Comparison:
    """One metric of two runs on the items that both have.

    Attributes:
        n: number of these items; of `units`, the clusters that they fall into, or the items themselves.
        first, second: the means.
        low, high: ends of the 95 % interval of second - first.
        higher, lower: items on which the second run has the higher or lower figure.
        p: chance of a difference as large where the runs do not differ.
        exact: whether the test is McNemar's; else signs were flipped.
    """

    n: int
    units: int
    first: float
    second: float
    low: float
    high: float
    higher: int
    lower: int
    p: float
    exact: bool

    @property
    def difference(self) -> float:
        """second - first."""
        return self.second - self.first

    def turned(self) -> "Comparison":
        """The same with the runs in the other order."""
        return replace(
            self,
            first=self.second,
            second=self.first,
            low=-self.high,
            high=-self.low,
            higher=self.lower,
            lower=self.higher,
        )


def compare(values: Sequence[Values], clusters: dict[tuple, str]) -> dict[tuple[int, int], Comparison]:
    """Every two of the runs, by their places; pairs without a common item are left out.

    Args:
        values: of one metric, a run each.
        clusters: of each item; empty where items are independent.
    """
    by_items: dict[frozenset, list[tuple[int, int]]] = {}  # nearly always one: all runs have the same items
    keys = [frozenset(of_run) for of_run in values]
    for first, second in itertools.combinations(range(len(values)), 2):
        if common := keys[first] & keys[second]:
            by_items.setdefault(common, []).append((first, second))
    found = {}
    for common, pairs in by_items.items():
        items = [key for key in values[pairs[0][0]] if key in common]
        runs = sorted({run for pair in pairs for run in pair})
        matrix = {run: np.array([values[run][key] for key in items], dtype=float) for run in runs}
        found |= dict(zip(pairs, _compare(pairs, matrix, [clusters.get(key) for key in items]), strict=True))
    return {pair: found[pair] for pair in sorted(found)}


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of one family, each raised for the number of comparisons (Holm 1979), in the order given."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def _compare(
    pairs: list[tuple[int, int]], values: dict[int, np.ndarray], clusters: list[str | None]
) -> Iterator[Comparison]:
    differences = np.stack([values[second] - values[first] for first, second in pairs], axis=1)
    n = len(differences)
    clustered = clusters[0] is not None
    if clustered:
        _, places = np.unique(np.array(clusters, dtype=object).astype(str), return_inverse=True)
    else:
        places = np.arange(n)
    sums = np.zeros((places.max() + 1, len(pairs)))
    np.add.at(sums, places, differences)
    counts = np.bincount(places).astype(float)
    lows, highs = _bootstrap(sums, counts)
    shares = [all(np.isin(values[run], (0.0, 1.0)).all() for run in pair) for pair in pairs]
    binary = [one and not clustered for one in shares]
    flipped = _flipped(sums) if not all(binary) else np.ones(len(pairs))
    for column, (first, second) in enumerate(pairs):
        higher, lower = int((differences[:, column] > 0).sum()), int((differences[:, column] < 0).sum())
        low, high = float(lows[column]), float(highs[column])
        if shares[column]:
            both = int((values[first] * values[second]).sum())
            over_items = paired_interval(both, lower, higher, n - both - lower - higher)
            # Clusters that all have the same difference tell nothing: see `core.intervals.clustered_interval`.
            if not clustered or over_items[1] - over_items[0] > high - low:
                low, high = over_items
        yield Comparison(
            n=n,
            units=len(sums),
            first=float(values[first].mean()),
            second=float(values[second].mean()),
            low=low,
            high=high,
            higher=higher,
            lower=lower,
            p=sign_test(higher, lower) if binary[column] else float(flipped[column]),
            exact=binary[column],
        )


def sign_test(higher: int, lower: int) -> float:
    """Chance that of higher + lower fair coins the two sides lie at least so far apart (two-sided, exact)."""
    n, fewer = higher + lower, min(higher, lower)
    if higher == lower:
        return 1.0
    k = np.arange(1, fewer + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(n - k + 1) - np.log(k))])  # of the binomial coefficients
    return float(min(1.0, 2 * np.exp(logs - n * np.log(2)).sum()))


def _bootstrap(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """2.5 % and 97.5 % percentile of each column's mean over units drawn whole, with replacement."""
    rng = np.random.default_rng(_SEED)
    units = len(sums)
    short_sums, short_counts = sums.astype(np.float32), counts.astype(np.float32)
    block = max(1, _BLOCK // units)
    means = []
    for done in range(0, DRAWS, block):
        rows = min(block, DRAWS - done)
        drawn = rng.integers(units, size=(rows, units)) + np.arange(rows)[:, None] * units
        times = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float32)
        means.append((times @ short_sums) / (times @ short_counts)[:, None])
    return np.percentile(np.concatenate(means), (2.5, 97.5), axis=0)


def _flipped(sums: np.ndarray) -> np.ndarray:
    """Of each column, the chance of a sum as far from 0 when each unit's sign is a coin's."""
    units = len(sums)
    observed = np.abs(sums.sum(axis=0)) * (1 - _EQUAL)
    if 2**units <= FLIPS:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=units)))
        return (np.abs(signs @ sums) >= observed).mean(axis=0)
    rng = np.random.default_rng(_SEED)
    as_far = np.zeros(sums.shape[1])
    short = sums.astype(np.float32)
    whole = sums.sum(axis=0)
    block = max(1, _BLOCK // units)
    for done in range(0, FLIPS, block):
        signs = rng.integers(2, size=(min(block, FLIPS - done), units), dtype=np.int8).astype(np.float32)
        as_far += (np.abs(2 * (signs @ short) - whole) >= observed).sum(axis=0)  # 0 and 1 for -1 and 1: drawn faster
    return (as_far + 1) / (FLIPS + 1)
