"""Spearman's rank correlation: how far one measure of difficulty puts rows in another's order. `score.py` prints it."""

import math
from collections.abc import Sequence

import numpy as np


def spearman(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float] | None:
    """The correlation of two measures of the same rows, with the ends of its 95 % interval.

    Ties share their mean rank. The interval is Fisher's, with the variance of Bonett and Wright (2000) for ranks.

    Returns:
        None where there are fewer than four rows, or a measure is the same for all.
    """
    if len(first) < 4 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    rho = float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])
    if abs(rho) > 1 - 1e-12:
        return round(rho), round(rho), round(rho)
    half = 1.959964 * math.sqrt((1 + rho**2 / 2) / (len(first) - 3))
    return rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def _ranks(values: Sequence[float]) -> np.ndarray:
    order = np.sort(np.asarray(values, dtype=float))
    return (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right") + 1) / 2
