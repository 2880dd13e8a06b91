"""Two chosen runs on the same items, as rows for people: of `eval.paired`'s figures to words.

Called by `eval.report` for the terminal, Markdown, LaTeX and the page (which has the rows of every two runs).
"""

import itertools
import textwrap
from dataclasses import dataclass

from eval import units
from eval.browsable import Benchmark
from eval.judged import unlike
from eval.paired import LEVEL, Comparison, compare, holm
from eval.tables import Runs

Pair = tuple[str, str]
_UNLIKE = "judged unlike"  # by different judges, with different prompts or answers: the report warns which


@dataclass(frozen=True)
class Row:
    """One metric of one benchmark in two runs.

    Attributes:
        benchmark, metric: their titles.
        items: "300"; with what they fall into, "300 in 10 task combinations"; with a star where a run lacks some.
        first, second: the means on these items.
        difference, interval: of the second from the first, with signs.
        split: "12 : 2", items on which the second run is better and worse.
        p, adjusted: chance of such a difference where there is none, alone and for the number of rows (Holm).
        better: the run that is better beyond chance; "" for none.
        verdict: the same in words.
    """

    benchmark: str
    metric: str
    items: str
    first: str
    second: str
    difference: str
    interval: str
    split: str
    p: str
    adjusted: str
    better: str
    verdict: str


def rows_of(runs: Runs, benchmarks: list[Benchmark], chosen: Pair | None) -> dict[Pair, list[Row]]:
    """The rows of every two runs, and of the chosen two in their order: one for each metric of a table."""
    names = list(runs)
    found: dict[Pair, list[tuple[Benchmark, str, Comparison]]] = {}
    for benchmark in benchmarks:
        for metric, values in benchmark.values.items():
            for (first, second), comparison in compare(values, benchmark.clusters).items():
                found.setdefault((names[first], names[second]), []).append((benchmark, metric, comparison))
    pairs = list(itertools.combinations(names, 2))
    if chosen and chosen not in pairs:
        pairs.append(chosen)
        found[chosen] = [(one, metric, figures.turned()) for one, metric, figures in found.get(chosen[::-1], [])]
    return {pair: _rows(runs, pair, found.get(pair, [])) for pair in pairs}


def explained(pair: Pair, rows: list[Row]) -> str:
    """How the rows of two runs came about, in a few sentences."""
    first, second = pair
    family = f"The {len(rows)} comparisons are one family: p is raised for their number (Holm), and a" * (len(rows) > 1)
    return (
        f"{second} less {first}, on the items that both have. Where items are right or wrong and independent, the 95 % "
        "interval is Newcombe's and p is McNemar's exact test; else it is the paired bootstrap and p has signs flipped "
        "at random (both over clusters, where items fall into them; the interval over items where that is longer). "
        f"{family or 'A'} run is called better where p{' then' * bool(family)} stays below {LEVEL:g}."
    )


def terminal(pair: Pair, rows: list[Row]) -> str:
    """The rows in lines of at most 80 characters."""
    first, second = pair
    lines = textwrap.wrap(f"{second} against {first}, on the same items", 80)
    shown = [
        (f"{row.benchmark}: {row.metric}", f"{row.difference} ({row.interval})", f"p {row.adjusted}") for row in rows
    ]
    middle = max(len(cells[1]) for cells in shown)
    last = max(len(cells[2]) for cells in shown)
    width = max(12, 80 - middle - last - 4)
    for name, figures, p in shown:
        wrapped = textwrap.wrap(name, width)
        lines += [*wrapped[:-1], f"{wrapped[-1]:<{width}}  {figures:<{middle}}  {p}".rstrip()]
    family = f"p raised for {len(rows)} comparisons (Holm)" if len(rows) > 1 else "p of one comparison"
    lines.append(f"Differences and 95 % intervals, paired; {family}.")
    return "\n".join(lines)


def _rows(runs: Runs, pair: Pair, found: list[tuple[Benchmark, str, Comparison]]) -> list[Row]:
    adjusted = holm([comparison.p for _, _, comparison in found])
    return [_row(runs, pair, *one, holm_p) for one, holm_p in zip(found, adjusted, strict=True)]


def _row(runs: Runs, pair: Pair, benchmark: Benchmark, name: str, found: Comparison, adjusted: float) -> Row:
    result = next(runs[run][benchmark.name] for run in pair if name in runs[run][benchmark.name].metrics)
    metric = result.metrics[name]
    better, worse = (found.higher, found.lower) if metric.higher_is_better else (found.lower, found.higher)
    winner = pair[1] if (found.difference > 0) == metric.higher_is_better else pair[0]
    _, _, clusters = result.clusters.partition(" ")
    apart = unlike({run: runs[run][benchmark.name] for run in pair}, name)
    better_run = winner if adjusted < LEVEL and found.difference and not apart else ""
    partial = any(runs[run][benchmark.name].partial for run in pair)
    items = f"{found.n:,}{'*' if partial else ''}"
    return Row(
        benchmark=benchmark.title,
        metric=metric.title or name,
        items=items if found.units == found.n else f"{items} in {found.units:,} {clusters or 'clusters'}",
        first=_with_unit(found.first, metric.unit),
        second=_with_unit(found.second, metric.unit),
        difference=_signed(found.difference, metric.unit),
        interval=f"{_signed(found.low, metric.unit)} to {_signed(found.high, metric.unit)}",
        split=f"{better:,} : {worse:,}",
        p=_p(found.p),
        adjusted=_p(adjusted),
        better=better_run,
        verdict=better_run or (_UNLIKE if apart else "neither"),
    )


def _with_unit(value: float, unit: str) -> str:
    return units.written(value, unit) + ("%" if unit == "share" else "")


def _signed(value: float, unit: str) -> str:
    text = units.written(value, unit)
    if float(text) == 0:
        return text.lstrip("+-")
    return text if text[0] in "+-" else f"+{text}"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
