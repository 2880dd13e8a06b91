"""Results as tables, runs down and benchmarks across: on the terminal, in Markdown, and as what the page draws.

Called by `eval.run` for its own run and by `eval.report` for several. There is one table a metric title, so that
benchmarks that measure the same thing stand side by side; which titles and benchmarks there are, the results say.
"""

import textwrap
from dataclasses import dataclass

from eval.results import Metric, Result

Runs = dict[str, dict[str, Result]]  # by name of the run, by name of the benchmark

_WIDTH = 80
_CELL = 16  # "99.7 (98.1-99.9)"
_GAP = 2


@dataclass(frozen=True)
class Column:
    """A benchmark: what it is, how many of its items the runs evaluated, and what these fall into."""

    benchmark: str
    title: str
    about: str
    n: int
    n_available: int
    clusters: str

    @property
    def partial(self) -> bool:
        """Whether a run left items out."""
        return self.n < self.n_available

    @property
    def items(self) -> str:
        """Their number: "300 items, 10 task combinations"."""
        items = f"{self.n} of {self.n_available} items (partial)" if self.partial else f"{self.n} items"
        return f"{items}, {self.clusters}" if self.clusters else items


@dataclass(frozen=True)
class Table:
    """The figures of one metric title; a cell is None where the run has no such figure."""

    title: str
    about: str
    columns: list[Column]
    rows: list[tuple[str, list[Metric | None]]]


def tables_of(runs: Runs) -> list[Table]:
    """One table a metric title, in the order in which the benchmarks name them."""
    columns = _columns(runs)
    titles: dict[str, str] = {}
    for results in runs.values():
        for result in results.values():
            for metric in result.metrics.values():
                if metric.title:
                    titles.setdefault(metric.title, metric.about)
    tables = []
    for title, about in titles.items():
        rows = [
            (run, [_titled(results.get(column.benchmark), title) for column in columns])
            for run, results in runs.items()
        ]
        used = [place for place in range(len(columns)) if any(cells[place] for _, cells in rows)]
        tables.append(
            Table(title, about, [columns[p] for p in used], [(run, [cells[p] for p in used]) for run, cells in rows])
        )
    return tables


def terminal(runs: Runs) -> str:
    """All tables in lines of at most 80 characters; more benchmarks than fit go on below."""
    names = max(map(len, runs)) + _GAP
    across = max(1, (_WIDTH - names + _GAP) // (_CELL + _GAP))
    lines = []
    for table in tables_of(runs):
        lines += ["", f"{table.title}, % (95 % interval)"]
        for first in range(0, len(table.columns), across):
            columns = table.columns[first : first + across]
            lines += _header(columns, names)
            for run, cells in table.rows:
                shown = [_cell(cell).ljust(_CELL) for cell in cells[first : first + across]]
                lines.append((run.ljust(names) + (" " * _GAP).join(shown)).rstrip())
    partial = {column.benchmark: column for table in tables_of(runs) for column in table.columns if column.partial}
    if clustered := _clustered(runs):
        lines += ["", *textwrap.wrap(clustered, _WIDTH)]
    lines += [f"* partial: {one.title} has only {one.n} of its {one.n_available} items" for one in partial.values()]
    return "\n".join(lines).lstrip("\n")


def markdown(runs: Runs) -> str:
    """All tables, and one line on each benchmark."""
    lines = []
    for table in tables_of(runs):
        lines += [f"**{table.title}**, % (95 % interval): {table.about}", ""]
        lines.append("| | " + " | ".join(_starred(column) for column in table.columns) + " |")
        lines.append("| --- |" + " ---: |" * len(table.columns))
        for run, cells in table.rows:
            lines.append(f"| {run} | " + " | ".join(_cell(cell) for cell in cells) + " |")
        lines.append("")
    for column in _columns(runs):
        lines.append(f"- {_starred(column)}: {column.about or column.benchmark}; {column.items}")
    if clustered := _clustered(runs):
        lines += ["", clustered]
    return "\n".join(lines) + "\n"


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f}"


def bounds(metric: Metric) -> str:
    """The interval of a figure in per cent: 98.1-99.9, with 0 and 100 where the end is exact."""
    return "-".join(f"{100 * end:g}" if end in (0, 1) else percent(end) for end in (metric.low, metric.high))


def _columns(runs: Runs) -> list[Column]:
    """The benchmarks of all runs, ordered as they ask; where runs differ in items, the smallest number counts."""
    found: dict[str, list[Result]] = {}
    for results in runs.values():
        for name, result in results.items():
            found.setdefault(name, []).append(result)
    return [
        Column(
            benchmark=name,
            title=same[0].title,
            about=same[0].about,
            n=min(one.n for one in same),
            n_available=max(one.n_available for one in same),
            clusters=same[0].clusters,
        )
        for name, same in sorted(found.items(), key=lambda pair: (pair[1][0].order, pair[0]))
    ]


def _clustered(runs: Runs) -> str:
    """One sentence on intervals that are not taken over items; "" where all are."""
    told: dict[str, list[str]] = {}
    for column in _columns(runs):
        if column.clusters:
            number, _, name = column.clusters.partition(" ")
            told.setdefault(name, []).append(f"{number} in {column.title}")
    over = " and ".join(f"{name} ({', '.join(counts)})" for name, counts in told.items())
    return f"95 % intervals over {over}; over items where that is longer." if over else ""


def _titled(result: Result | None, title: str) -> Metric | None:
    return next((metric for metric in result.metrics.values() if metric.title == title), None) if result else None


def _header(columns: list[Column], names: int) -> list[str]:
    wrapped = [_wrap(_starred(column)) for column in columns]
    height = max(map(len, wrapped))
    padded = [[""] * (height - len(lines)) + lines for lines in wrapped]
    return [
        (" " * names + (" " * _GAP).join(lines[row].ljust(_CELL) for lines in padded)).rstrip() for row in range(height)
    ]


def _wrap(title: str) -> list[str]:
    """The title in as few lines as a cell allows, of lengths as even as they can be."""
    height = len(textwrap.wrap(title, _CELL))
    return next(lines for width in range(1, _CELL + 1) if len(lines := textwrap.wrap(title, width)) <= height)


def _cell(metric: Metric | None) -> str:
    return "-" if metric is None else f"{percent(metric.value)} ({bounds(metric)})"


def _starred(column: Column) -> str:
    return f"{column.title}*" if column.partial else column.title
