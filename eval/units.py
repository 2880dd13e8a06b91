"""What the figures of a metric are, and how a reader sees them. A metric's YAML names its unit: `unit: score`.

`eval.results` and `eval.benchmarks` hold the name, tables, plots and pages ask here how to write it. The values in
metrics.json and predictions.jsonl are never converted: a share of one half is 0.5 there, and "50.0 %" for a reader.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """How a figure is written.

    Attributes:
        about: what stands behind a heading: "Right number, % (95 % interval)".
        suffix: behind a figure in large type.
        scale: a figure is multiplied by this before it is written.
        decimals: digits behind the point.
        signed: whether a positive figure is written with its plus.
        low, high: ends of the scale, which bars and plots are drawn on; high is None where there is none.
        good: the figure from which a single answer counts as right where answers are browsed; None where none does.
        right, wrong: what such an answer is called, and any other.
    """

    about: str
    suffix: str = ""
    scale: float = 1
    decimals: int = 2
    signed: bool = False
    low: float = 0
    high: float | None = None
    good: float | None = None
    right: str = "right"
    wrong: str = "wrong"


UNITS = {
    "share": Unit("%", "%", scale=100, decimals=1, high=1, good=1),  # accuracy, rate, F1: 0 to 1
    "points": Unit(  # win rate less one half
        *("percentage points", " pp", 100, 1, True),
        low=-0.5,
        high=0.5,
        good=1e-9,
        right="won",
        wrong="not won",
    ),
    "score": Unit("1 to 5", low=1, high=5, good=4, right="4 and more", wrong="below 4"),  # a judge's verdict
    "score10": Unit("1 to 10", low=1, high=10, good=7, right="7 and more", wrong="below 7"),
    "words": Unit("words", " words", decimals=1),
    "count": Unit("count", decimals=1),  # of anything else, such as calls or tokens
}
DEFAULT = "share"


def written(value: float, unit: str = DEFAULT) -> str:
    """A figure without its unit: 97.3, +4.0, 3.85."""
    kind = UNITS[unit]
    return f"{kind.scale * value:{'+' if kind.signed else ''}.{kind.decimals}f}"


def written_bounds(low: float, high: float, unit: str = DEFAULT) -> str:
    """An interval: 98.1-99.9; +1.2 to +6.8 where there are signs. An end that is exact is short: 100, not 100.0."""
    kind = UNITS[unit]
    if kind.signed:
        return f"{written(low, unit)} to {written(high, unit)}"
    return "-".join(
        f"{kind.scale * end:g}" if end in (kind.low, kind.high) else written(end, unit) for end in (low, high)
    )


def place(value: float, unit: str, highest: float) -> float:
    """Where on the unit's scale a figure lies, 0 to 1.

    Args:
        value: the figure.
        unit: its name.
        highest: end of the scale where the unit has none, such as the largest figure shown.
    """
    kind = UNITS[unit]
    high = kind.high if kind.high is not None else highest
    return min(1.0, max(0.0, (value - kind.low) / (high - kind.low))) if high > kind.low else 0.0


def is_right(value: float, unit: str, higher_is_better: bool = True) -> bool | None:
    """Whether a single answer with this figure counts as right; None where the unit knows no right and wrong."""
    kind = UNITS[unit]
    if kind.good is None or kind.high is None:
        return None
    return (value if higher_is_better else kind.low + kind.high - value) >= kind.good


def check(unit: str) -> str:
    """The unit itself.

    Raises:
        ValueError: there is none of that name; the message lists those there are.
    """
    if unit not in UNITS:
        raise ValueError(f"no unit named {unit!r}; there are: {', '.join(UNITS)}")
    return unit
