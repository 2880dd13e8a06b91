"""Figures are written in the unit of their metric."""

import pytest

from eval.units import UNITS, check, place, written, written_bounds


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
