"""What `split.py` and `win_rates.py` show: tables for a terminal, for Markdown, and on a page with a drawing."""

from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from open_instruct.core.records import replacing
from open_instruct.phased import plots

_HTML = Path(__file__).parent / "html"
_GAP = "  "


@dataclass(frozen=True)
class Table:
    """A table whose cells are written already; `about` explains it in a sentence or two."""

    heading: str
    header: list[str]
    rows: list[list[str]]
    about: str = ""

    def terminal(self) -> str:
        """Its first column to the left, all others to the right."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.header))]
        shown = [
            _GAP.join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.heading, *shown])

    def markdown(self) -> str:
        """The same as a Markdown table."""
        rows = [[cell.replace("|", "\\|") for cell in row] for row in [self.header, *self.rows]]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        lines.insert(1, "| --- |" + " ---: |" * (len(self.header) - 1))
        return "\n".join([f"**{self.heading}**", *([self.about] if self.about else []), "", *lines, ""])


@dataclass(frozen=True)
class Page:
    """A page: a drawing with its caption and the names of its colours, tables, and examples (prompt, answer)."""

    title: str
    about: str
    tables: list[Table]
    drawing: str = ""
    caption: str = ""
    legend: list[str] = field(default_factory=list)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


def write(page: Page, folder: Path, name: str) -> list[Path]:
    """Write NAME.html, NAME.md and, where there is a drawing, NAME.svg; each appears whole or not at all.

    Raises:
        UserError: the folder cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(_HTML), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    texts = {
        "html": environment.get_template("page.html.jinja").render(page=page, style=plots.style()),
        "md": "\n".join([f"# {page.title}", "", page.about, "", *(table.markdown() for table in page.tables)]),
    }
    if page.drawing:
        texts["svg"] = plots.standalone(page.drawing)
    for ending, text in texts.items():
        with replacing(folder / f"{name}.{ending}") as put:
            put(text.encode(errors="replace"))
    return [folder / f"{name}.{ending}" for ending in texts]
