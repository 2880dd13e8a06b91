"""The report as one HTML page that needs no other file: tables, plots, comparisons, every prediction to browse.

Called by `eval.report`. The page's text, style and scripts lie in `eval/html` (the style that all pages share, in
`open_instruct/core/page`); here is what goes into them. The page is written piece by piece: its predictions can be
hundreds of megabytes before they are packed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval import browsable, plots, units
from eval.browsable import Benchmark
from eval.comparisons import Pair, Row, explained
from eval.facts import Facts
from eval.published import Beside
from eval.tables import Runs, bounds, tables_of, written
from open_instruct.core.page import style

_HTML = Path(__file__).parent / "html"
_SCRIPTS = ("unpack.js", "item.js", "browse.js", "compare.js")
_COLOURS = 12  # classes run-0 to run-11 of both styles; more runs take them again
_MARKER = "<!-- predictions -->"  # of the template; what is filled in cannot hold it, for there "<" is "&lt;"


def render(
    runs: Runs,
    benchmarks: list[Benchmark],
    compared: dict[Pair, list[Row]],
    chosen: Pair | None,
    beside: list[Beside],
    facts: Facts,
) -> Iterator[str]:
    """The page, in pieces.

    Args:
        runs: the results.
        benchmarks: their predictions, packed.
        compared: the rows of every two runs.
        chosen: the two whose rows the page opens with; None with a single run.
        beside: published figures by benchmark and metric.
        facts: what else it says.
    """
    environment = Environment(
        loader=FileSystemLoader(_HTML), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"written": written, "bounds": bounds, "bar": _bar}
    colours = {run: f"run-{place % _COLOURS}" for place, run in enumerate(runs)}
    page = environment.get_template("page.html.jinja").render(
        facts=facts,
        runs=list(runs),
        colours=colours,
        gap=_widest_gap(runs),
        tables=tables_of(runs),
        units=units.UNITS,
        overview=plots.overview(runs, colours),
        positions=plots.positions(runs, colours),
        parts=plots.parts(runs, colours),
        beside=beside,
        chosen=chosen,
        compared=compared.get(chosen, []) if chosen else [],
        explained=explained(chosen, compared.get(chosen, [])) if chosen else "",
        data=_embedded(_data(runs, benchmarks, compared, chosen, colours)),
        style=style(_HTML / "style.css"),
        scripts=[(_HTML / name).read_text(encoding="utf-8") for name in _SCRIPTS],
    )
    head, _, tail = page.partition(_MARKER)
    yield head
    for number, benchmark in enumerate(benchmarks):
        for part, packed in enumerate(benchmark.parts):
            yield f'<script type="text/plain" id="part-{number}-{part}">{packed}</script>\n'
    yield tail


@dataclass(frozen=True)
class _Gap:
    title: str
    metric: str
    best: str
    high: str
    worst: str
    low: str
    size: float


def _widest_gap(runs: Runs) -> _Gap | None:
    """The benchmark whose leading metric sets the runs furthest apart; None without a second run or a difference."""
    gaps = []
    for benchmark, result in ((name, result) for found in runs.values() for name, result in found.items()):
        name, metric = next(iter(result.metrics.items()))
        having = [(run, found[benchmark].metrics) for run, found in runs.items() if benchmark in found]
        values = [(metrics[name].value, run) for run, metrics in having if name in metrics]
        (low, worst), (high, best) = min(values), max(values)
        if metric.unit == "share":  # only figures of one unit can be further apart than others
            shown = [f"{units.written(value)} %" for value in (high, low)]
            gaps.append(_Gap(result.title, metric.title or name, best, shown[0], worst, shown[1], high - low))
    widest = max(gaps, key=lambda gap: gap.size, default=None)
    return widest if widest and widest.size > 0 else None


def _bar(cell: Any) -> dict[str, float]:
    """Where a figure and its interval lie on a bar, in per cent of its length."""
    metric = cell.metric
    value, low, high = (
        100 * units.place(one, metric.unit, highest=metric.high) for one in (metric.value, metric.low, metric.high)
    )
    return {"value": round(value, 2), "low": round(low, 2), "length": round(high - low, 2)}


def _data(
    runs: Runs,
    benchmarks: list[Benchmark],
    compared: dict[Pair, list[Row]],
    chosen: Pair | None,
    colours: dict[str, str],
) -> dict[str, Any]:
    """What the scripts read before anything is unpacked."""
    names = list(runs)
    start = max(range(len(benchmarks)), key=lambda number: benchmarks[number].facts["differ"], default=0)
    return {
        "runs": [[run, colours[run]] for run in names],
        "chosen": [names.index(run) for run in chosen] if chosen else [0],
        "units": {name: [kind.scale, kind.decimals, kind.suffix, kind.signed] for name, kind in units.UNITS.items()},
        "benchmarks": [benchmark.facts for benchmark in benchmarks],
        "start": start,
        "marks": {
            "right": browsable.RIGHT,
            "wrong": browsable.WRONG,
            "partly": browsable.PARTLY,
            "missing": browsable.MISSING,
        },
        "compared": {
            f"{names.index(first)},{names.index(second)}": {
                "rows": [list(vars(row).values()) for row in rows],
                "about": explained((first, second), rows),
            }
            for (first, second), rows in compared.items()
        },
    }


def _embedded(value: Any) -> str:
    """JSON that can stand in a <script> element, whatever a model wrote."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
