"""The report in Markdown: for a README, a pull request, a note. Called by `eval.report`."""

import re

from eval.comparisons import Pair, Row, explained
from eval.facts import Facts
from eval.published import Beside
from eval.tables import Runs, bounds, in_cell, markdown, written


def document(runs: Runs, compared: dict[Pair, list[Row]], beside: list[Beside], facts: Facts) -> str:
    """The whole text: facts, tables, steps by position, two runs compared, published figures."""
    lines = [f"# {facts.title}", "", " · ".join(facts.notes), ""]
    lines += [f"- **{name}**: {text}" for name, text in facts.about.items()] + [""] * bool(facts.about)
    lines += [f"> {warning}" for warning in facts.warnings] + [""] * bool(facts.warnings)
    lines.append(markdown(runs))
    lines += _steps(runs)
    for pair, rows in compared.items():
        lines += _compared(pair, rows) if rows else []
    for one in beside:
        lines += _beside(one)
    return _TAG.sub("&lt;", "\n".join(lines))


_TAG = re.compile(r"<(?=[A-Za-z/!?])")  # a viewer would read it as HTML: of a run's name or an error in its files


def _steps(runs: Runs) -> list[str]:
    """Steps followed against position."""
    rows = [
        (result.title, name, [f"{written(step)}{'*' * result.partial} ({bounds(step)})" for step in result.steps()])
        for name, found in runs.items()
        for result in found.values()
        if len(result.steps()) > 1
    ]
    if not rows:
        return []
    longest = max(len(steps) for _, _, steps in rows)
    lines = ["**Steps right by position**, % (95 % interval)", ""]
    lines += _head(["", "", *(f"step {step}" for step in range(1, longest + 1))], left=2)
    titles = list(dict.fromkeys(title for title, _, _ in rows))
    for title, name, steps in sorted(rows, key=lambda row: titles.index(row[0])):
        lines.append(_line([title, name, *steps, *[""] * (longest - len(steps))]))
    return [*lines, ""]


def _compared(pair: Pair, rows: list[Row]) -> list[str]:
    lines = [f"**{pair[1]} against {pair[0]}**, on the same items", ""]
    lines += _head(["", "", "items", *pair, "difference (95 % interval)", "p (Holm)", "better beyond chance"], left=2)
    for row in rows:
        cells = [row.benchmark, row.metric, row.items, row.first, row.second, f"{row.difference} ({row.interval})"]
        lines.append(_line([*cells, row.adjusted, row.verdict]))
    return [*lines, "", explained(pair, rows), ""]


def _beside(one: Beside) -> list[str]:
    lines = [f"**{one.title}: {one.metric}**, beside published figures", ""]
    lines += _head(["", "", "source"], left=1)
    lines += [_line([run, figure, "this report"]) for run, figure in one.ours]
    for number, figures in enumerate(one.sources.values(), start=1):
        lines += [_line([figure.model, figure.written, f"[{number}]"]) for figure in figures]
    return [*lines, "", *(f"[{number}] {source}." for number, source in enumerate(one.sources, start=1)), ""]


def _head(cells: list[str], left: int) -> list[str]:
    return [_line(cells), "|" + " --- |" * left + " ---: |" * (len(cells) - left)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(map(in_cell, cells))} |"
