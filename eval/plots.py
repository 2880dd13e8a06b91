"""Which plots a page has, decided by what the metrics say of themselves. Called by `eval.page`.

- all benchmarks: the leading figures, a bar a run, where there is more than one benchmark;
- by position: of a benchmark whose metrics have a `position`;
- by part: a metric NAME_PART without a title of its own is the titled metric NAME over a part of the items, such as
  `exact_match_de` of `exact_match`; three parts and more make a plot. Parts that are numbered, such as `following_of_2`
  and `following_of_3`, make a plot of their own.
"""

import re
from dataclasses import dataclass

from eval.bars import Bar, across
from eval.chart import Line, by_position
from eval.results import Metric, Result
from eval.tables import Runs

_FEWEST = 3  # parts that make a plot
_ONE_PLOT = 5  # benchmarks; more stand in two


@dataclass(frozen=True)
class Plot:
    """A plot of the page; `partial`: it has figures of some items only."""

    title: str
    svg: str
    partial: bool


def overview(runs: Runs, colours: dict[str, str]) -> list[Plot]:
    """The leading figure of every benchmark: one plot a unit; none where there is a single benchmark."""
    rows: dict[str, dict[str, list[Bar]]] = {}
    titles: dict[str, str] = {}
    for result in _by_order(runs):
        lead = next(iter(result.metrics))
        titles[result.benchmark] = result.title
        for run, results in runs.items():
            other = results.get(result.benchmark)
            if other and lead in other.metrics:
                metric = other.metrics[lead]
                bar = Bar(run, colours[run], metric, other.partial)
                rows.setdefault(metric.unit, {}).setdefault(result.benchmark, []).append(bar)
    if len(titles) < 2:
        return []
    plots = []
    for shown in rows.values():
        named = [(titles[benchmark], bars) for benchmark, bars in shown.items()]
        names = list(dict.fromkeys(bar.metric.title for _, bars in named for bar in bars if bar.metric.title))
        title = names[0] if len(names) == 1 else "Leading figure of each benchmark"
        for some in _halves(named):
            plots.append(Plot(title, across(title, some, as_bars=True), _any_partial(some)))
    return plots


def _halves(rows: list[tuple[str, list[Bar]]]) -> list[list[tuple[str, list[Bar]]]]:
    """Many benchmarks as two plots side by side."""
    half = (len(rows) + 1) // 2 if len(rows) > _ONE_PLOT else len(rows)
    return [rows[begin : begin + half] for begin in range(0, len(rows), half)]


def positions(runs: Runs, colours: dict[str, str]) -> list[Plot]:
    """Of each benchmark whose items have more than one step."""
    plots = []
    for result in _by_order(runs):
        having = {run: found[result.benchmark] for run, found in runs.items() if result.benchmark in found}
        lines = [Line(run, colours[run], one.steps()) for run, one in having.items() if len(one.steps()) > 1]
        if lines:
            partial = any(one.partial for one in having.values())
            plots.append(Plot(result.title, by_position(result.title, lines), partial))
    return plots


def parts(runs: Runs, colours: dict[str, str]) -> list[Plot]:
    """Of each titled metric that is also given for three parts of the items or more."""
    plots = []
    for result in _by_order(runs):
        metrics = {
            name: metric
            for found in runs.values()
            if result.benchmark in found
            for name, metric in found[result.benchmark].metrics.items()
        }
        for (name, word), of_parts in _parts(metrics).items():
            rows: list[tuple[str, list[Bar]]] = []
            for part, key in of_parts:
                bars = [
                    Bar(run, colours[run], found[result.benchmark].metrics[key], found[result.benchmark].partial)
                    for run, found in runs.items()
                    if result.benchmark in found and key in found[result.benchmark].metrics
                ]
                rows.append((part, bars))
            title = f"{result.title}: {metrics[name].title}{f', {word} …' if word else ''}"
            plots.append(Plot(title, across(title, rows, as_bars=False), _any_partial(rows)))
    return plots


def _parts(metrics: dict[str, Metric]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """By titled metric and the word that numbered parts share, the parts and their metrics, in the results' order."""
    titled = [name for name, metric in metrics.items() if metric.title]
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for key, metric in metrics.items():
        whole = max((name for name in titled if key.startswith(f"{name}_")), key=len, default="")
        if whole and not metric.title and not metric.position and _same_unit(metric, metrics[whole]):
            part = key.removeprefix(f"{whole}_")
            numbered = re.fullmatch(r"([a-z]+)_(\d+|more)", part)
            word, label = numbered.groups() if numbered else ("", part.replace("_", " "))
            found.setdefault((whole, word), []).append((label, key))
    return {key: found[key] for key in found if len(found[key]) >= _FEWEST}


def _same_unit(one: Metric, other: Metric) -> bool:
    return one.unit == other.unit


def _by_order(runs: Runs) -> list[Result]:
    """One result of each benchmark, in the order of the columns."""
    found: dict[str, Result] = {}
    for results in runs.values():
        for name, result in results.items():
            found.setdefault(name, result)
    return sorted(found.values(), key=lambda result: (result.order, result.benchmark))


def _any_partial(rows: list[tuple[str, list[Bar]]]) -> bool:
    return any(bar.partial for _, bars in rows for bar in bars)
