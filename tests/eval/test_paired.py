"""Two runs on the same items: the difference, its interval, and whether it could be chance."""

import math

import numpy as np
import pytest

from eval.paired import compare, holm, sign_test


def of(values):
    return {(str(number), 1): float(value) for number, value in enumerate(values)}


def only(first, second, clusters=None):
    return compare([of(first), of(second)], {(str(n), 1): str(c) for n, c in enumerate(clusters or [])})[0, 1]


@pytest.mark.parametrize(("higher", "lower"), [(0, 0), (1, 0), (5, 0), (9, 2), (3, 3), (12, 40)])
def test_the_sign_test_is_the_binomial_one(higher, lower):
    n = higher + lower
    tail = sum(math.comb(n, k) for k in range(min(higher, lower) + 1)) / 2**n
    assert sign_test(higher, lower) == pytest.approx(min(1.0, 2 * tail))


def test_thousands_of_items_do_not_overflow_the_sign_test():
    assert 0 < sign_test(5_200, 4_800) < 1e-4
    assert sign_test(20_000, 0) == 0.0 or sign_test(20_000, 0) < 1e-300


def test_right_and_wrong_items_get_mcnemars_test_on_those_that_differ():
    first, second = [1] * 40 + [0] * 60, [1] * 38 + [0] * 2 + [1] * 12 + [0] * 48
    found = only(first, second)
    assert found.exact and (found.n, found.higher, found.lower) == (100, 12, 2)
    assert found.difference == pytest.approx(0.10) and found.p == pytest.approx(sign_test(12, 2))
    assert found.low == pytest.approx(0.03, abs=0.011) and found.high == pytest.approx(0.17, abs=0.011)


def test_pairing_finds_what_intervals_side_by_side_do_not():
    rng = np.random.default_rng(0)
    hard = rng.random(400)
    found = only(hard, hard + 0.02 + 0.05 * rng.standard_normal(400))
    assert not found.exact and found.p < 0.001 and 0.01 < found.low < found.high < 0.03


def test_equal_runs_do_not_differ():
    found = only([0, 1, 0.5] * 20, [0, 1, 0.5] * 20)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_runs_that_are_right_on_the_same_few_items_may_differ_on_more():
    found = only([1] * 8 + [0] * 2, [1] * 8 + [0] * 2)
    assert found.p == 1.0 and found.low < -0.05 < 0.05 < found.high


def test_clusters_that_differ_alike_do_not_make_the_difference_sure():
    values = [1] * 27 + [0] * 3
    found = only(values, values, [number // 3 for number in range(30)])
    assert (found.low, found.high) == (only(values, values).low, only(values, values).high) and found.low < 0


def test_items_of_one_cluster_count_as_one_finding():
    """Forty items differ, all in one of ten clusters: much over items, one coin over clusters."""
    first, second = [0] * 400, [1] * 40 + [0] * 360
    clusters = [number // 40 for number in range(400)]
    assert only(first, second).p < 1e-9
    found = only(first, second, clusters)
    assert found.units == 10 and not found.exact
    assert found.p == 1.0  # of two signs, both are as far from 0
    assert found.low == 0


def test_few_clusters_are_flipped_in_every_way():
    found = only([0] * 30, [1] * 30, [number // 3 for number in range(30)])
    assert found.p == pytest.approx(2 / 2**10)


def test_only_items_that_both_have_are_compared():
    first, second = of([1, 0, 1, 1]), of([1, 1, 1, 0])
    del first["0", 1], second["3", 1]
    second["another", 1] = 1.0
    found = compare([first, second, {}], {})
    assert list(found) == [(0, 1)] and found[0, 1].n == 2
    assert (found[0, 1].first, found[0, 1].second) == (0.5, 1.0)


def test_pairs_with_other_items_are_each_compared_on_their_own():
    whole, half = of([0, 1] * 50), of([1, 1] * 25)
    found = compare([whole, half, of([1, 1] * 50)], {})
    assert [one.n for one in found.values()] == [50, 100, 50]
    assert found[0, 2].difference == found[0, 1].difference == 0.5 and found[1, 2].difference == 0


def test_chance_alone_is_found_as_seldom_as_the_level_says():
    rng = np.random.default_rng(1)
    clusters = {(str(n), 1): str(n // 5) for n in range(100)}
    below = 0
    for _ in range(100):
        effect = np.repeat(rng.standard_normal(20), 5)  # the clusters differ, the runs do not
        found = compare([of(np.zeros(100)), of(effect + rng.standard_normal(100))], clusters)
        below += found[0, 1].p < 0.05
    assert below <= 12  # 5 are expected; more than 12 come once in a thousand


def test_holm_raises_p_values_in_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
