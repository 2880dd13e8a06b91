"""The drawings of the report, as SVG that takes its colours from the page around it: lengths, and verbs with objects.

Called by `page.py`. Colours are CSS classes (run-0 to run-7 of the shared style), so that the drawings follow the
reader's light or dark setting. Every word in them is escaped here.
"""

from collections import Counter
from dataclasses import dataclass
from html import escape
from math import ceil, cos, floor, log10, pi, sin

from self_seq.report.survey import Lengths, Verbs

_WIDTH, _HEIGHT = 360, 226
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 12, 40
_MOST_BINS = 40
_SHOWN = 0.99  # of the texts; the rest stands in the last bin, or one text of 10,000 words would flatten the picture

_VERBS, _OBJECTS = 20, 4  # as in self-instruct's figure
_COLOURS = 8
_SIZE, _INNER, _MIDDLE, _OUTER = 440, 46, 124, 218  # viewBox and radii
_TEXT = 11.5  # height of a label; an arc that is thinner than that gets none
_LETTER = 6.6  # its mean width


@dataclass(frozen=True)
class Series:
    """Lengths under a name; `colour` is a CSS class that sets --run."""

    name: str
    colour: str
    lengths: Lengths


def histogram(title: str, series: list[Series]) -> str:
    """Share of the texts (up) by length in words (across), one stepped area a series, its median as a mark below."""
    end = max((one.lengths.quantile(_SHOWN) for one in series), default=0) + 1
    width = _bin_width(end)
    bins = ceil(end / width)
    shares = [_shares(one.lengths, width, bins) for one in series]
    highest = max((share for one in shares for share in one), default=0) or 1
    step = _round_step(highest / 3)
    top = ceil(highest / step - 1e-9) * step
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="chart" role="img" aria-label="{_spoken(title, series)}">']
    for line in range(round(top / step) + 1):
        y = _y(line * step / top)
        kind = "grid" if line else "axis"
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="{kind}"/>'
            f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" class="tick end">{100 * line * step:.3g}%</text>'
        )
    mark = _round_step(bins * width / 4)
    for words in range(0, bins * width + 1, max(int(mark), 1)):
        x = _x(words / width / bins)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" class="tick middle">{words}</text>')
    for one, heights in zip(series, shares, strict=True):
        parts += [f'<g class="{one.colour}">', _area(heights, top, bins), *_bars(one, heights, width, bins)]
        x = _x(min(one.lengths.quantile(0.5) / width / bins, 1))
        parts.append(f'<path d="M{x:.1f},{_HEIGHT - _BOTTOM - 1} l-5,8 h10 z" class="median"/></g>')
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 4}" class="tick middle">words</text>')
    return "\n".join([*parts, "</svg>"])


def _bin_width(end: int) -> int:
    """Of 1, 2, 5, 10, 20, ... words: the smallest that needs no more than 40 bins."""
    return max(1, round(_round_step(end / _MOST_BINS))) if end > _MOST_BINS else 1


def _round_step(about: float) -> float:
    """The next of 1, 2, 5, 10, ... (or a power of ten of them) that is at least `about`."""
    power = 10 ** floor(log10(about)) if about > 0 else 1
    return next(step * power for step in (1, 2, 5, 10) if step * power >= about - 1e-12)


def _shares(lengths: Lengths, width: int, bins: int) -> list[float]:
    found = [0.0] * bins
    for words, texts in lengths.counts.items():
        found[min(words // width, bins - 1)] += texts / lengths.texts
    return found


def _area(heights: list[float], top: float, bins: int) -> str:
    points = [f"{_x(0):.1f},{_y(0):.1f}"]
    for place, height in enumerate(heights):
        y = _y(height / top)
        points += [f"{_x(place / bins):.1f},{y:.1f}", f"{_x((place + 1) / bins):.1f},{y:.1f}"]
    return f'<polygon points="{" ".join([*points, f"{_x(1):.1f},{_y(0):.1f}"])}" class="area"/>'


def _bars(one: Series, heights: list[float], width: int, bins: int) -> list[str]:
    """Unseen bars that tell their figures under the pointer."""
    parts = []
    for place, share in enumerate(heights):
        if share:
            first, last = place * width, (place + 1) * width - 1
            words = f"{first} and more" if place == bins - 1 else f"{first}" if first == last else f"{first} to {last}"
            height = _HEIGHT - _BOTTOM - _TOP
            parts.append(
                f'<rect x="{_x(place / bins):.1f}" y="{_TOP}" width="{_x(1 / bins) - _x(0):.1f}" height="{height}" '
                f'class="unseen"><title>{escape(one.name)}, {words} words: {100 * share:.1f} %</title></rect>'
            )
    return parts


def _x(share: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * share


def _y(share: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share)


def _spoken(title: str, series: list[Series]) -> str:
    told = "; ".join(f"{one.name}: median {one.lengths.quantile(0.5)}, mean {one.lengths.mean:.1f}" for one in series)
    return escape(f"{title}, in words. {told}")


def leading_verbs(verbs: Verbs) -> list[tuple[str, int, list[tuple[str, int]]]]:
    """The 20 most frequent verbs with an object: verb, its rows, and its 4 most frequent objects with theirs."""
    totals: Counter[str] = Counter()
    for (verb, _), number in verbs.pairs.items():
        totals[verb] += number
    found = []
    for verb, total in totals.most_common(_VERBS):
        objects = Counter({thing: number for (one, thing), number in verbs.pairs.items() if one == verb})
        found.append((verb, total, objects.most_common(_OBJECTS)))
    return found


def sunburst(title: str, verbs: Verbs, colours: dict[str, int]) -> str:
    """Inner ring: verbs; outer ring: their objects. A verb is as wide as its objects drawn, not as all it has.

    Args:
        title: for who cannot see it.
        verbs: those found; at least one with an object.
        colours: a number for each verb, so that two drawings show a verb in one colour.
    """
    leading = leading_verbs(verbs)
    whole = sum(number for _, _, objects in leading for _, number in objects)
    told = ", ".join(f"{verb} {total}" for verb, total, _ in leading[:5])
    parts = [
        f'<svg viewBox="0 0 {_SIZE} {_SIZE}" class="chart sunburst" role="img" '
        f'aria-label="{escape(f"{title}: verbs with an object; most frequent: {told}")}">'
    ]
    begin = 0.0
    for verb, total, objects in leading:
        end = begin + sum(number for _, number in objects) / whole
        share = 100 * total / max(verbs.instructions, 1)
        parts.append(f'<g class="run-{colours[verb] % _COLOURS}">')
        parts.append(_arc(begin, end, _INNER, _MIDDLE, "verb", verb, f"{verb}: {total:,} ({share:.1f} %)"))
        at = begin
        for thing, number in objects:
            upto = at + number / whole
            about = f"{verb} {thing}: {number:,} ({100 * number / max(verbs.instructions, 1):.1f} %)"
            parts.append(_arc(at, upto, _MIDDLE, _OUTER, "object", thing, about))
            at = upto
        parts.append("</g>")
        begin = end
    return "\n".join([*parts, "</svg>"])


def _arc(begin: float, end: float, inner: float, outer: float, kind: str, word: str, about: str) -> str:
    """A piece of a ring, from and to a share of the full turn, with its word along the radius if that fits."""
    end = min(end, begin + 0.9999)  # a full ring would begin and end in one point, and so be nothing
    large = int(end - begin > 0.5)
    (x0, y0), (x1, y1) = _at(begin, outer), _at(end, outer)
    (x2, y2), (x3, y3) = _at(end, inner), _at(begin, inner)
    path = (
        f"M{x0:.1f},{y0:.1f} A{outer},{outer} 0 {large} 1 {x1:.1f},{y1:.1f} "
        f"L{x2:.1f},{y2:.1f} A{inner},{inner} 0 {large} 0 {x3:.1f},{y3:.1f} Z"
    )
    middle, radius = (begin + end) / 2, (inner + outer) / 2
    label = ""
    if (end - begin) * 2 * pi * radius > _TEXT:
        room = int((outer - inner - 6) / _LETTER)
        shown = word if len(word) <= room else word[: room - 1] + "…"
        turn = middle * 360 - 90
        turn += 180 if middle > 0.5 else 0  # never upside down
        x, y = _at(middle, radius)
        label = (
            f'<text x="{x:.1f}" y="{y:.1f}" transform="rotate({turn:.1f} {x:.1f} {y:.1f})" '
            f'class="label {kind}">{escape(shown)}</text>'
        )
    return f'<g class="piece" tabindex="0"><title>{escape(about)}</title><path d="{path}" class="{kind}"/>{label}</g>'


def _at(share: float, radius: float) -> tuple[float, float]:
    angle = 2 * pi * share - pi / 2
    return _SIZE / 2 + radius * cos(angle), _SIZE / 2 + radius * sin(angle)
