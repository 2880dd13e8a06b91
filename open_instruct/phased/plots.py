"""The two drawings of phased tuning, as SVG: where rows are cut into stages, and how the win rate grows with them.

Called by `split.py` and `win_rates.py`. Colours are CSS classes of the shared style (`core/page`), so that a drawing
follows its reader's light or dark setting; `standalone` makes a file of its own of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from pathlib import Path

import numpy as np

from open_instruct.core.page import style as shared_style

_WIDTH, _HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 46, 28, 42
_BINS = 40
_CURVE = 200  # points of a curve
_SHIFT = 6  # pixels between lines at one stage, so that their intervals do not cover each other
_OWN_STYLE = Path(__file__).parent / "html" / "phased.css"


@dataclass(frozen=True)
class Point:
    """A win rate less one half, in points, with the ends of its 95 % interval, after so many trainings (`step`)."""

    label: str
    step: int
    value: float
    low: float
    high: float


def density(difficulties: Sequence[float], borders: Sequence[float]) -> str:
    """The rows by difficulty (across): how many (columns) and how dense (a curve of Gaussian kernels), each to its own
    height, and their cumulative share (right); a line at each border between stages."""
    values = np.asarray(difficulties, dtype=float)
    low, high = float(values.min()), float(values.max())
    span = (high - low) or 1.0
    low, high = low - 0.06 * span, high + 0.06 * span
    heights, edges = np.histogram(values, bins=_BINS, range=(low, high))
    grid = np.linspace(low, high, _CURVE)
    curve = _kernel_density(values, grid, span)
    heights, curve = heights / heights.max(), curve / curve.max()
    below = np.searchsorted(np.sort(values), grid, side="right") / len(values)

    def x(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - low) / (high - low)

    parts = [_open(f"density of the rows by difficulty, cut at {', '.join(f'{one:.4g}' for one in borders)}")]
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_level(share, f"{100 * share:.0f}%", right=True))
    for value in _round_values(low, high, 6):
        parts.append(f'<text x="{x(value):.1f}" y="{_HEIGHT - _BOTTOM + 18}" class="tick middle">{value:g}</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" class="tick middle">difficulty</text><g class="run-0">')
    for height, left, right in zip(heights, edges[:-1], edges[1:], strict=True):
        if height:
            place = f'x="{x(left):.1f}" y="{_y(height):.1f}" width="{x(right) - x(left):.1f}"'
            parts.append(f'<rect {place} height="{_y(0) - _y(height):.1f}" class="column"/>')
    parts.append(f'<polyline points="{_path(grid, curve, x)}" class="line"/></g>')
    parts.append(f'<g class="run-1"><polyline points="{_path(grid, below, x)}" class="line"/></g>')
    ends = [low, *borders, high]
    for border in borders:
        parts.append(f'<line x1="{x(border):.1f}" x2="{x(border):.1f}" y1="{_TOP}" y2="{_y(0):.1f}" class="cut"/>')
    for stage, (left, right) in enumerate(zip(ends[:-1], ends[1:], strict=True), start=1):
        parts.append(f'<text x="{x((left + right) / 2):.1f}" y="{_TOP - 14}" class="size">stage {stage}</text>')
    return "\n".join([*parts, "</svg>"])


def growth(lines: Sequence[tuple[str, Sequence[Point]]]) -> str:
    """Win rate less one half (up) after each training (across), one line a course of stages; above 0 it beats the
    reference."""
    steps = max(point.step for _, points in lines for point in points)
    lowest = min(0.0, *(point.low for _, points in lines for point in points))
    highest = max(0.0, *(point.high for _, points in lines for point in points))
    spacing = _round_step((highest - lowest or 1) / 4)
    bottom, top = floor(lowest / spacing) * spacing, ceil(highest / spacing) * spacing
    top = top if top > bottom else bottom + spacing

    def y(value: float) -> float:
        return _y((value - bottom) / (top - bottom))

    told = "; ".join(f"{name}: " + ", ".join(f"{p.label} {p.value:+.1f}" for p in points) for name, points in lines)
    parts = [_open(f"win rate less one half after each stage, in points. {told}")]
    for number in range(round((top - bottom) / spacing) + 1):
        value = bottom + number * spacing
        parts.append(
            _level((value - bottom) / (top - bottom), f"{value:+.3g}" if value else "0", axis=abs(value) < 1e-9)
        )
    for step in range(1, steps + 1):
        across = f'x="{_across(step, steps):.1f}" y="{_HEIGHT - _BOTTOM + 18}"'
        parts.append(f'<text {across} class="tick middle">{step}</text>')
    across = f'x="{_WIDTH / 2}" y="{_HEIGHT - 6}"'
    parts.append(f'<text {across} class="tick middle">trainings, each from the weights of the one before</text>')
    for number, (name, points) in enumerate(lines):
        shift = (number - (len(lines) - 1) / 2) * _SHIFT
        places = [(_across(point.step, steps) + shift, point) for point in points]
        path = " ".join(f"{at:.1f},{y(point.value):.1f}" for at, point in places)
        parts.append(f'<g class="run-{number % 8}"><polyline points="{path}" class="line"/>')
        for at, point in places:
            told = f"{name}, {point.label}: {point.value:+.2f} points ({point.low:+.2f} to {point.high:+.2f})"
            parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(point.low):.1f}" y2="{y(point.high):.1f}" class="whisker"/>'
                f'<circle cx="{at:.1f}" cy="{y(point.value):.1f}" r="4.5" class="point">'
                f"<title>{escape(told)}</title></circle>"
            )
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"])


def standalone(svg: str) -> str:
    """A drawing as a file of its own, which brings its style along."""
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
        "\n", f"\n<style>{style()}</style>\n", 1
    )


def style() -> str:
    """The rules that the drawings need."""
    return shared_style(_OWN_STYLE)


def _kernel_density(values: np.ndarray, grid: np.ndarray, span: float) -> np.ndarray:
    """Gaussian kernels of Scott's width (1992), and no narrower than a hundredth of the range: scores are round."""
    width = max(float(values.std()) * len(values) ** -0.2, span / 100)
    found, counts = np.unique(values, return_counts=True)
    if len(found) > 5_000:  # losses are all different: kernels over a fine histogram look the same
        counts, edges = np.histogram(values, bins=5_000)
        found = (edges[:-1] + edges[1:]) / 2
    kernels = np.exp(-0.5 * ((grid[:, None] - found[None, :]) / width) ** 2)
    return kernels @ counts / (len(values) * width * np.sqrt(2 * np.pi))


def _open(spoken: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="chart" role="img" aria-label="{escape(spoken)}">'


def _level(share: float, text: str, right: bool = False, axis: bool | None = None) -> str:
    """A line across, at a share of the height, with its text on the left or on the right."""
    y, kind = _y(share), "axis" if (share == 0 if axis is None else axis) else "grid"
    at, side = (_WIDTH - _RIGHT + 8, "start") if right else (_LEFT - 8, "end")
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="{kind}"/>'
        f'<text x="{at}" y="{y + 4:.1f}" class="tick {side}">{text}</text>'
    )


def _path(grid: np.ndarray, shares: np.ndarray, x) -> str:
    return " ".join(f"{x(value):.1f},{_y(share):.1f}" for value, share in zip(grid, shares, strict=True))


def _across(step: int, steps: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (step - 0.5) / steps


def _y(share: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share)


def _round_step(about: float) -> float:
    """The next of 1, 2, 5, 10, ... (or a power of ten of them) that is at least `about`."""
    power = 10 ** floor(log10(about))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= about - 1e-12)


def _round_values(low: float, high: float, most: int) -> list[float]:
    step = _round_step((high - low) / most)
    return [round(number * step, 10) for number in range(ceil(low / step), floor(high / step) + 1)]
