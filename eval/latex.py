r"""The tables in LaTeX, for papers: they need \usepackage{booktabs} and nothing else. Called by `eval.report`."""

from eval import units
from eval.comparisons import Pair, Row, explained
from eval.tables import Cell, Runs, Table, bounds, tables_of, written

_ESCAPES = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "\n": " ",
    }
)
_MOST = 5  # benchmarks across; more go on in a table below


def latex(runs: Runs, compared: dict[Pair, list[Row]], partial_note: str) -> str:
    """All tables of results, then one for each two runs in `compared`.

    Args:
        runs: the results.
        compared: rows by two runs.
        partial_note: what the star at a figure means.
    """
    parts = [r"% Needs \usepackage{booktabs}. Written by python -m eval.report."]
    for table in tables_of(runs):
        for first in range(0, len(table.columns), _MOST):
            parts.append(_figures(table, first, partial_note))
    parts += [_differences(pair, rows) for pair, rows in compared.items() if rows]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """A text that LaTeX prints as it stands."""
    return text.translate(_ESCAPES)


def _figures(table: Table, first: int, partial_note: str) -> str:
    columns = table.columns[first : first + _MOST]
    heads = " & ".join(escaped(column.title) for column in columns)
    lines = []
    for run, cells in table.rows:
        shown = " & ".join(_shown(cell) for cell in cells[first : first + _MOST])
        lines.append(f"{escaped(run)} & {shown} \\\\")
    note = f" {partial_note}" if table.partial else ""
    caption = f"{escaped(table.heading)}: {escaped(table.about)}.{escaped(note)}"
    return _table("l" + "r" * len(columns), f" & {heads}", lines, caption)


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    dash = "$-$" if units.UNITS[cell.metric.unit].signed else "--"  # a minus, or from-to
    text = f"{written(cell.metric)}{'*' if cell.partial else ''} \\scriptsize({bounds(cell.metric)})"
    return text.replace("-", dash)


def _differences(pair: Pair, rows: list[Row]) -> str:
    lines = [
        " & ".join(
            escaped(text)
            for text in (row.benchmark, row.metric, row.items, row.first, row.second)
            + (f"{row.difference} ({row.interval})", row.adjusted)
        )
        + r" \\"
        for row in rows
    ]
    heads = ["", "", "items", pair[0], pair[1], "difference (95 % interval)", "p (Holm)"]
    return _table("llrrrrr", " & ".join(map(escaped, heads)), lines, escaped(explained(pair, rows)))


def _table(columns: str, heads: str, lines: list[str], caption: str) -> str:
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rf"{heads} \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{caption}}}",
            r"\end{table}",
        ]
    )
