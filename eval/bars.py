"""Plots with names down and figures across, as SVG: all benchmarks of a report, or all languages of one benchmark.

Called by `eval.page`. A bar a run, or a point a run, each with its 95 % interval; the colours are the page's.
"""

from dataclasses import dataclass
from html import escape

from eval import units
from eval.results import Metric
from eval.tables import bounds, written

_WIDTH, _LABEL, _RIGHT, _TOP = 460, 138, 26, 22
_LETTERS = 22  # of a label; the rest is in its tooltip
_BAR, _BETWEEN = 7, 12  # pixels of a bar, and between two names
_POINT = 3.6


@dataclass(frozen=True)
class Bar:
    """A figure of one run; `colour` is a CSS class; `partial`: of some items only."""

    run: str
    colour: str
    metric: Metric
    partial: bool = False


def across(title: str, rows: list[tuple[str, list[Bar]]], as_bars: bool) -> str:
    """An SVG element: for each name, the figures of the runs on a common scale.

    Args:
        title: what is shown, for those who cannot see it.
        rows: a name and its figures, all of one unit.
        as_bars: bars from the low end of the scale, each on its line; else points, all on one line.
    """
    unit = rows[0][1][0].metric.unit
    highest = max(bar.metric.high for _, bars in rows for bar in bars)
    heights = [len(bars) * (_BAR if as_bars else 2.5) + (_BETWEEN if as_bars else 13) for _, bars in rows]
    height = _TOP + sum(heights) + 4
    spoken = escape(_spoken(title, rows))
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" class="chart" role="img" aria-label="{spoken}">']
    parts += _grid(unit, highest, height)
    top = float(_TOP)
    for (name, bars), room in zip(rows, heights, strict=True):
        shown = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
        parts.append(
            f'<text x="{_LABEL - 8}" y="{top + room / 2 + 4:.1f}" class="tick end">{escape(shown)}'
            f"<title>{escape(name)}</title></text>"
        )
        for place, bar in enumerate(bars):
            if as_bars:
                y = top + _BETWEEN / 2 + (place + 0.5) * _BAR
            else:
                y = top + room / 2 + (place - (len(bars) - 1) / 2) * 2.5
            parts += _drawn(bar, name, y, unit, highest, as_bars)
        top += room
    return "\n".join([*parts, "</svg>"])


def _grid(unit: str, highest: float, height: float) -> list[str]:
    kind = units.UNITS[unit]
    low, high = kind.low, kind.high if kind.high is not None else highest
    parts = []
    for quarter in range(5):
        value = low + (high - low) * quarter / 4
        x = _x(value, unit, highest)
        text = f"{kind.scale * value:g}" if kind.high is not None else units.written(value, unit)
        ends = "%" if unit == "share" else ""
        axis = "axis" if quarter == 0 or (kind.signed and value == 0) else "grid"
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{height:.0f}" class="{axis}"/>'
            f'<text x="{x:.1f}" y="12" class="tick middle">{text}{ends}</text>'
        )
    return parts


def _drawn(bar: Bar, name: str, y: float, unit: str, highest: float, as_bars: bool) -> list[str]:
    low, at, high = (_x(value, unit, highest) for value in (bar.metric.low, bar.metric.value, bar.metric.high))
    told = f"{bar.run}, {name}: {written(bar.metric)}{'*' if bar.partial else ''} ({bounds(bar.metric)})"
    begin = _x(max(0.0, units.UNITS[unit].low), unit, highest)
    left, width = min(begin, at), abs(at - begin)
    shape = (
        f'<rect x="{left:.1f}" y="{y - _BAR / 2 + 0.5:.1f}" width="{width:.1f}" height="{_BAR - 1}" class="fill">'
        if as_bars
        else f'<circle cx="{at:.1f}" cy="{y:.1f}" r="{_POINT}" class="point">'
    )
    end = "</rect>" if as_bars else "</circle>"
    reach = "reach" if as_bars else "whisker"
    return [
        f'<g class="{bar.colour}">{shape}<title>{escape(told)}</title>{end}'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" class="{reach}"/></g>'
    ]


def _x(value: float, unit: str, highest: float) -> float:
    return _LABEL + (_WIDTH - _LABEL - _RIGHT) * units.place(value, unit, highest)


def _spoken(title: str, rows: list[tuple[str, list[Bar]]]) -> str:
    told = (f"{name} " + ", ".join(f"{bar.run} {written(bar.metric)}" for bar in bars) for name, bars in rows)
    return f"{title}: {'; '.join(told)}"
