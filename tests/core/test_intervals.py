"""95 % intervals of a mean over items."""

import math

import numpy as np
import pytest

from open_instruct.core.intervals import clustered_interval, interval, paired_interval, standard_error


@pytest.mark.parametrize(("right", "n"), [(0, 300), (300, 300), (1, 7), (147, 300), (0, 1)])
def test_right_or_wrong_items_get_wilsons_interval(right, n):
    """Its ends are the shares that a score test at 5 % just does not reject (Wilson 1927)."""
    low, high = interval([1.0] * right + [0.0] * (n - right))
    for end in (low, high):
        distance = abs(right / n - end)
        assert distance == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), abs=1e-7)
    assert 0 <= low <= right / n <= high <= 1 and low < high


def test_equal_shares_get_an_interval_too():
    assert interval([0.5] * 30) == interval([0.0, 1.0] * 15)
    assert interval([7.0] * 30) == (7.0, 7.0)  # no share: nothing is known of its bounds


def test_items_that_fail_together_make_the_interval_longer():
    values, combinations = [0.0] * 60 + [1.0] * 240, [number // 30 for number in range(300)]  # 2 of 10 fail wholly
    low, high = clustered_interval(values, combinations)
    # Of ten draws with replacement, the failing ones are binomial(10, 0.2): 2.5 % of it lie at 5 and more, 10.7 % at 0.
    assert (low, high) == pytest.approx((0.5, 1.0))
    assert clustered_interval(values, [str(one) for one in combinations]) == (low, high)
    items = interval(values)
    assert items[0] > 0.74 and items[1] < 0.85


def test_large_clusters_weigh_as_much_as_their_items():
    low, high = clustered_interval([0.0] * 10 + [1.0] * 990, [0] * 10 + [1 + number // 110 for number in range(990)])
    assert low > 0.93 and high == 1.0


@pytest.mark.parametrize("right", [0, 299, 300])
def test_where_clusters_tell_less_than_items_the_items_are_taken(right):
    values = [1.0] * right + [0.0] * (300 - right)
    assert clustered_interval(values, [number // 30 for number in range(300)]) is None


def test_over_clusters_of_one_item_the_interval_is_the_bootstrap_over_items():
    values = list(np.random.default_rng(3).choice([0, 1 / 3, 2 / 3, 1], size=200))
    assert clustered_interval(values, range(200)) == interval(values)


def test_the_interval_over_clusters_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        chances = rng.beta(4, 1, size=40)  # of each combination, on average 0.8
        values = (rng.random((40, 10)) < chances[:, None]).astype(float).ravel()
        low, high = clustered_interval(list(values), list(np.arange(400) // 10)) or interval(list(values))
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / 200 <= 0.99


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


def test_figures_that_are_no_shares_are_not_taken_for_right_and_wrong_ones():
    assert interval([1.0] * 30, shares=False) == (1.0, 1.0)  # 30 marks of 1 of 5: Wilson's would reach below the scale
    low, high = interval([0.0, 1.0] * 50, shares=False)
    assert (low, high) != interval([0.0, 1.0] * 50) and 0.38 < low < 0.5 < high < 0.62


def test_the_interval_of_a_paired_difference_is_newcombes():
    assert paired_interval(36, 2, 12, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)  # published, his method 10
    low, high = paired_interval(36, 12, 2, 0)  # the other way round
    assert (low, high) == pytest.approx((-0.3404, -0.0569), abs=5e-5)


def test_where_no_item_differs_the_difference_is_not_known_for_sure():
    few, many = paired_interval(10, 0, 0, 10), paired_interval(500, 0, 0, 500)
    assert few[0] == pytest.approx(-few[1]) and few[1] > 0.05 and 0 < many[1] < 0.005
    assert paired_interval(20, 0, 0, 0)[0] == interval([1.0] * 20)[0] - 1  # all right: as Wilson's


def test_the_paired_interval_covers_the_true_difference_though_few_items_differ():
    rng = np.random.default_rng(5)
    counts = rng.multinomial(20, (0.5, 0.02, 0.05, 0.43), size=500)
    ends = [paired_interval(*map(int, one)) for one in counts]
    assert sum(low <= 0.03 <= high for low, high in ends) >= 0.95 * 500
