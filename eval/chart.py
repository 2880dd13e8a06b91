"""The plot of steps followed against position, as SVG that takes its colours from the page around it.

Called by `eval.page`; `eval/bars.py` is the other plot. Drawn by hand and not by matplotlib: the colours then follow
the reader's light or dark setting, and the whole plot is a few kB of readable text.
"""

from dataclasses import dataclass
from html import escape

from eval.results import Metric
from eval.tables import bounds, written

_WIDTH, _HEIGHT = 320, 232
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 14, 14, 40
_GRID = (0, 0.25, 0.5, 0.75, 1)
_SHIFT = 5  # pixels between runs at one position, so that their intervals do not cover each other


@dataclass(frozen=True)
class Line:
    """One run's shares, by step from the first; `colour` is a CSS class that sets `color`."""

    run: str
    colour: str
    points: list[Metric]


def by_position(title: str, lines: list[Line]) -> str:
    """An SVG element: share of items whose step is right (up) against the step's position (across), one line a run."""
    steps = max(len(line.points) for line in lines)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="chart" role="img" aria-label="{escape(_spoken(title, lines))}">',
        *(_grid_line(share) for share in _GRID),
    ]
    for step in range(1, steps + 1):
        parts.append(f'<text x="{_x(step, steps):.1f}" y="{_HEIGHT - _BOTTOM + 18}" class="tick middle">{step}</text>')
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{_HEIGHT - 4}" class="tick middle">position of the step</text>')
    for place, line in enumerate(lines):
        parts += _run(line, steps, (place - (len(lines) - 1) / 2) * _SHIFT)
    return "\n".join([*parts, "</svg>"])


def _grid_line(share: float) -> str:
    y = f"{_y(share):.1f}"
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" class="{"axis" if share == 0 else "grid"}"/>'
        f'<text x="{_LEFT - 8}" y="{_y(share) + 4:.1f}" class="tick end">{100 * share:.0f}%</text>'
    )


def _run(line: Line, steps: int, shift: float) -> list[str]:
    places = [(_x(step, steps) + shift, metric) for step, metric in enumerate(line.points, start=1)]
    path = " ".join(f"{x:.1f},{_y(metric.value):.1f}" for x, metric in places)
    parts = [f'<g class="{line.colour}"><polyline points="{path}" class="line"/>']
    for step, (x, metric) in enumerate(places, start=1):
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(metric.low):.1f}" y2="{_y(metric.high):.1f}" class="whisker"/>'
            f'<circle cx="{x:.1f}" cy="{_y(metric.value):.1f}" r="4.5" class="point">'
            f"<title>{escape(line.run)}, step {step}: {written(metric)} % ({bounds(metric)})</title></circle>"
        )
    return [*parts, "</g>"]


def _x(step: int, steps: int) -> float:
    across = _WIDTH - _LEFT - _RIGHT
    return _LEFT + across * (step - 0.5) / steps


def _y(share: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share)


def _spoken(title: str, lines: list[Line]) -> str:
    told = "; ".join(
        f"{line.run} " + ", ".join(f"step {i} {written(metric)} %" for i, metric in enumerate(line.points, start=1))
        for line in lines
    )
    return f"{title}, steps right by position: {told}"
