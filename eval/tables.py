"""Results as tables, runs down and benchmarks across: on the terminal, in Markdown, and as what the page draws.

Called by `eval.run` for its own run and by `eval.report` for several. There is one table a metric title, so that
benchmarks that measure the same thing stand side by side; which titles and benchmarks there are, the results say.
"""

import textwrap
from dataclasses import dataclass

from eval import units
from eval.results import Metric, Result

Runs = dict[str, dict[str, Result]]  # by name of the run, by name of the benchmark

_WIDTH = 80
_CELL = 16  # "99.7 (98.1-99.9)"; a table with longer cells has wider columns
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
        items = f"{self.n:,} of {self.n_available:,} items (partial)" if self.partial else f"{self.n:,} items"
        return f"{items}, {self.clusters}" if self.clusters else items


@dataclass(frozen=True)
class Cell:
    """A figure, and whether it was taken over some of the items only."""

    metric: Metric
    partial: bool

    def __str__(self) -> str:
        return f"{written(self.metric)}{'*' if self.partial else ''} ({bounds(self.metric)})"


@dataclass(frozen=True)
class Table:
    """The figures of one metric title in one unit; a cell is None where the run has no such figure."""

    title: str
    about: str
    unit: str
    columns: list[Column]
    rows: list[tuple[str, list[Cell | None]]]

    @property
    def heading(self) -> str:
        """The title and what the figures are: "Right number, % (95 % interval)"."""
        return f"{self.title}, {units.UNITS[self.unit].about} (95 % interval)"

    @property
    def partial(self) -> bool:
        """Whether any figure was taken over some of the items only."""
        return any(cell.partial for _, cells in self.rows for cell in cells if cell)


def tables_of(runs: Runs) -> list[Table]:
    """One table a metric title and unit, in the order in which the benchmarks name them."""
    columns = _columns(runs)
    titles: dict[tuple[str, str], str] = {}
    for results in runs.values():
        for result in results.values():
            for metric in result.metrics.values():
                if metric.title:
                    titles.setdefault((metric.title, metric.unit), metric.about)
    tables = []
    for (title, unit), about in titles.items():
        rows = [
            (run, [_titled(results.get(column.benchmark), title, unit) for column in columns])
            for run, results in runs.items()
        ]
        used = [place for place in range(len(columns)) if any(cells[place] for _, cells in rows)]
        shown = [(run, [cells[place] for place in used]) for run, cells in rows]
        tables.append(Table(title, about, unit, [columns[place] for place in used], shown))
    return tables


def terminal(runs: Runs) -> str:
    """All tables in lines of at most 80 characters; more benchmarks than fit go on below."""
    names = max(map(len, runs)) + _GAP
    lines = []
    for table in tables_of(runs):
        width = max(_CELL, *(len(_cell(cell)) for _, cells in table.rows for cell in cells))
        across = max(1, (_WIDTH - names + _GAP) // (width + _GAP))
        lines += ["", table.heading]
        for first in range(0, len(table.columns), across):
            columns = table.columns[first : first + across]
            lines += _header(columns, names, width)
            for run, cells in table.rows:
                shown = [_cell(cell).ljust(width) for cell in cells[first : first + across]]
                lines.append((run.ljust(names) + (" " * _GAP).join(shown)).rstrip())
    partial = {column.benchmark: column for table in tables_of(runs) for column in table.columns if column.partial}
    if clustered := _clustered(runs):
        lines += ["", *textwrap.wrap(clustered, _WIDTH)]
    lines += [f"* partial: {one.title} has only {one.n:,} of its {one.n_available:,} items" for one in partial.values()]
    return "\n".join(lines).lstrip("\n")


def markdown(runs: Runs) -> str:
    """All tables, and one line on each benchmark."""
    lines = []
    for table in tables_of(runs):
        title, _, rest = table.heading.partition(", ")
        lines += [f"**{title}**, {rest}: {table.about}", ""]
        lines.append("| | " + " | ".join(in_cell(_starred(column)) for column in table.columns) + " |")
        lines.append("| --- |" + " ---: |" * len(table.columns))
        for run, cells in table.rows:
            lines.append(f"| {in_cell(run)} | " + " | ".join(_cell(cell) for cell in cells) + " |")
        lines.append("")
    for column in _columns(runs):
        lines.append(f"- {_starred(column)}: {column.about or column.benchmark}; {column.items}")
    if any(column.partial for column in _columns(runs)):
        lines += ["", "\\* only some of the items were evaluated"]
    if clustered := _clustered(runs):
        lines += ["", clustered]
    return "\n".join(lines) + "\n"


def written(metric: Metric) -> str:
    """A figure in its unit: 97.3 for a share of 0.973."""
    return units.written(metric.value, metric.unit)


def bounds(metric: Metric) -> str:
    """The interval of a figure in its unit: 98.1-99.9."""
    return units.written_bounds(metric.low, metric.high, metric.unit)


def in_cell(text: str) -> str:
    """A text that can stand in a cell of a Markdown table, whatever is in it."""
    return " ".join(text.split()).replace("|", "\\|")


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


def _titled(result: Result | None, title: str, unit: str) -> Cell | None:
    metrics = result.metrics.values() if result else ()
    return next((Cell(one, result.partial) for one in metrics if (one.title, one.unit) == (title, unit)), None)


def _header(columns: list[Column], names: int, cell: int) -> list[str]:
    wrapped = [_wrap(_starred(column), cell) for column in columns]
    height = max(map(len, wrapped))
    padded = [[""] * (height - len(lines)) + lines for lines in wrapped]
    return [
        (" " * names + (" " * _GAP).join(lines[row].ljust(cell) for lines in padded)).rstrip() for row in range(height)
    ]


def _wrap(title: str, cell: int) -> list[str]:
    """The title in as few lines as a cell allows, of lengths as even as they can be."""
    height = len(_lines(title, cell))
    return next(lines for width in range(1, cell + 1) if len(lines := _lines(title, width)) <= height)


def _lines(title: str, width: int) -> list[str]:
    return textwrap.wrap(title, width, break_on_hyphens=False)


def _cell(cell: Cell | None) -> str:
    return "-" if cell is None else str(cell)


def _starred(column: Column) -> str:
    return f"{column.title}*" if column.partial else column.title
