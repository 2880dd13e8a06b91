"""The report as one HTML page that needs no other file: tables, the plot by position, every prediction to browse.

Called by `eval.report`. The page's text, style and script lie in `eval/html` (the style that all pages share, in
`open_instruct/core/page`); here is what goes into them.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.chart import Line, by_position
from eval.tables import Runs, bounds, percent, tables_of
from open_instruct.core.page import style

_HTML = Path(__file__).parent / "html"
_COLOURS = 8  # classes run-0 to run-7 of style.css; more runs take them again


@dataclass(frozen=True)
class Facts:
    """What the page says beside the results.

    Attributes:
        title: heading of the page.
        notes: facts on the whole report (seed, seconds), each a short sentence.
        origins: how each run came about, as (what, value) pairs by run.
        warnings: what a reader must know before trusting a figure.
        about: what each run is, in one line; runs of which nothing is said are left out.
    """

    title: str
    notes: list[str]
    origins: dict[str, list[tuple[str, str]]]
    warnings: list[str]
    about: dict[str, str]


def render(runs: Runs, predictions: dict[str, dict[str, list[dict[str, Any]]]], facts: Facts) -> str:
    """The page.

    Args:
        runs: the results.
        predictions: lines of predictions.jsonl by run and benchmark.
        facts: what else it says.
    """
    environment = Environment(
        loader=FileSystemLoader(_HTML), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "bounds": bounds}
    colours = {run: f"run-{place % _COLOURS}" for place, run in enumerate(runs)}
    return environment.get_template("page.html.jinja").render(
        facts=facts,
        runs=list(runs),
        colours=colours,
        gap=_widest_gap(runs),
        tables=tables_of(runs),
        charts=_charts(runs, colours),
        predictions=_embedded(_browsable(runs, predictions, colours)),
        style=style(_HTML / "style.css"),
        script=(_HTML / "browse.js").read_text(encoding="utf-8"),
    )


@dataclass(frozen=True)
class _Gap:
    title: str
    metric: str
    best: str
    high: float
    worst: str
    low: float


def _widest_gap(runs: Runs) -> _Gap | None:
    """The benchmark whose leading metric sets the runs furthest apart; None without a second run or a difference."""
    gaps = []
    for benchmark, result in ((name, result) for found in runs.values() for name, result in found.items()):
        name, metric = next(iter(result.metrics.items()))
        having = [(run, found[benchmark].metrics) for run, found in runs.items() if benchmark in found]
        values = [(metrics[name].value, run) for run, metrics in having if name in metrics]
        (low, worst), (high, best) = min(values), max(values)
        gaps.append(_Gap(result.title, metric.title or name, best, high, worst, low))
    widest = max(gaps, key=lambda gap: gap.high - gap.low)
    return widest if widest.high > widest.low else None


def _charts(runs: Runs, colours: dict[str, str]) -> list[tuple[str, str]]:
    """(title, SVG) of each benchmark whose items have more than one step."""
    found: dict[str, tuple[str, list[Line]]] = {}
    for run, results in runs.items():
        for result in results.values():
            if len(steps := result.steps()) > 1:
                found.setdefault(result.benchmark, (result.title, []))[1].append(Line(run, colours[run], steps))
    return [(title, by_position(title, lines)) for title, lines in found.values()]


def _browsable(
    runs: Runs, predictions: dict[str, dict[str, list[dict[str, Any]]]], colours: dict[str, str]
) -> dict[str, Any]:
    """What browse.js shows: per benchmark its items, each with one answer a run or null.

    An answer is [text, lead metric, right or wrong of each step]; an item is [id, question, target, [answers]].
    """
    found: dict[str, dict[str, Any]] = {}
    for place, (run, results) in enumerate(runs.items()):
        for name, result in results.items():
            lead = next(iter(result.metrics))
            steps = [key for key, metric in result.metrics.items() if metric.position]
            shown = found.setdefault(name, {"title": result.title, "steps": len(steps), "items": {}})
            met: Counter[str] = Counter()  # data may give an id twice
            for row in predictions[run][name]:
                met[row["id"]] += 1
                item = shown["items"].setdefault(
                    (row["id"], met[row["id"]]), [row["id"], row["question"], row["target"], [None] * len(runs)]
                )
                marks = [row["metrics"].get(step, 0) for step in steps]
                item[3][place] = [row["response"], row["metrics"].get(lead, 0), marks]
    return {
        "runs": [[run, colours[run]] for run in runs],
        "benchmarks": [{**shown, "items": list(shown["items"].values())} for shown in found.values()],
    }


def _embedded(value: Any) -> str:
    """JSON that can stand in a <script> element, whatever a model wrote."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
