"""Figures are written in the unit of their metric."""

import pytest

from eval.units import UNITS, check, is_right, place, written, written_bounds


@pytest.mark.parametrize(
    ("unit", "value", "low", "high", "said", "interval"),
    [
        ("share", 0.973, 0.951, 1.0, "97.3", "95.1-100"),
        ("points", 0.0402, -0.0051, 0.0857, "+4.0", "-0.5 to +8.6"),
        ("score", 3.854, 1.0, 3.9, "3.85", "1-3.90"),
        ("words", 12.34, 11.0, 14.0, "12.3", "11.0-14.0"),
    ],
)
def test_a_figure_and_its_interval(unit, value, low, high, said, interval):
    assert written(value, unit) == said
    assert written_bounds(low, high, unit) == interval


def test_figures_lie_on_the_scale_of_their_unit():
    assert place(0.25, "share", highest=9) == 0.25
    assert place(3, "score", highest=9) == 0.5
    assert place(-0.25, "points", highest=9) == 0.25
    assert place(30, "words", highest=120) == 0.25
    assert place(0, "words", highest=0) == 0  # nothing but zeros
    assert place(7, "score", highest=9) == 1  # off the scale


def test_every_unit_is_known_and_another_is_not():
    for unit in UNITS:
        assert check(unit) == unit and written(0.5, unit) and UNITS[unit].about
    with pytest.raises(ValueError, match="no unit named 'miles'; there are: share, points, "):
        check("miles")


def test_which_single_answers_count_as_right():
    assert [is_right(value, "share") for value in (1, 0.9, 0)] == [True, False, False]
    assert [is_right(value, "share", higher_is_better=False) for value in (1, 0)] == [False, True]
    assert [is_right(value, "points") for value in (0.5, 0, -0.5)] == [True, False, False]
    assert [is_right(value, "score") for value in (4, 3.5)] == [True, False]
    assert is_right(12, "words") is None
