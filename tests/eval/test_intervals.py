"""95 % intervals of a mean over items."""

import numpy as np
import pytest
from scipy.stats import binomtest

from eval.intervals import interval, standard_error


@pytest.mark.parametrize(("right", "n"), [(0, 300), (300, 300), (1, 7), (147, 300), (0, 1)])
def test_right_or_wrong_items_get_wilsons_interval(right, n):
    low, high = interval([1.0] * right + [0.0] * (n - right))
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= low <= right / n <= high <= 1


def test_shares_get_a_bootstrap_near_the_normal_interval_of_many_items():
    values = np.random.default_rng(0).choice([0, 1 / 3, 2 / 3, 1], size=2000, p=[0.1, 0.2, 0.3, 0.4])
    low, high = interval(list(values))
    assert low == pytest.approx(values.mean() - 1.96 * standard_error(values), abs=2e-3)
    assert high == pytest.approx(values.mean() + 1.96 * standard_error(values), abs=2e-3)
    assert interval(list(values)) == (low, high)


def test_the_bootstrap_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    levels, weights = np.array([0, 0.5, 1]), [0.2, 0.5, 0.3]
    true = float(levels @ weights)
    covered = 0
    for _ in range(200):
        low, high = interval(list(rng.choice(levels, size=60, p=weights)))
        covered += low <= true <= high
    assert 0.88 <= covered / 200 <= 0.99  # 95 % give or take four standard errors of 200 trials


def test_many_different_values_take_little_memory():
    values = list(np.random.default_rng(2).random(20_000))
    low, high = interval(values)
    assert low < 0.5 < high and high - low == pytest.approx(2 * 1.96 * standard_error(values), rel=0.1)


def test_a_single_item_has_no_standard_error():
    assert standard_error([0.3]) is None
    assert standard_error([0.0, 1.0]) == pytest.approx(0.5)
