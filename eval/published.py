"""The figures that others published, and which of ours each may stand beside. Read from docs/published.yaml.

Called by `eval.report`. The file says where every figure comes from; nothing here knows a benchmark or a paper.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from open_instruct.core.errors import UserError

FILE = Path(__file__).parents[1] / "docs" / "published.yaml"
_SCALES = {"percent": ("share", 0.01), "points": ("points", 0.01), "score": ("score", 1.0)}  # theirs -> ours


@dataclass(frozen=True)
class Published:
    """One figure.

    Attributes:
        source, kind: where it stands, and what that is: a printed table, a model card, raw metric files.
        model: what was measured; `setting`: what it has in common with the rest of its table.
        protocol: how it was measured.
        value, unit: as in `eval.results.Metric`: 0.405 and "share" for 40.5 %.
        written: the figure with the digits that were published.
    """

    source: str
    kind: str
    model: str
    setting: str
    protocol: str
    value: float
    unit: str
    written: str


@dataclass(frozen=True)
class Beside:
    """Published figures beside ours, of one metric of one benchmark: (run, figure) of ours, and theirs."""

    title: str
    metric: str
    ours: list[tuple[str, str]]
    theirs: list[Published]

    @property
    def sources(self) -> dict[str, list[Published]]:
        """Theirs by source and setting."""
        found: dict[str, list[Published]] = {}
        for one in self.theirs:
            found.setdefault(f"{one.source} ({one.kind}). {one.setting}; {one.protocol}", []).append(one)
        return found


def read(path: Path = FILE) -> dict[tuple[str, str], list[Published]]:
    """All figures that may stand beside one of ours, by benchmark and metric, in the order of the file.

    Raises:
        UserError: the file is missing, or a table of it is not as its head says; the line names the table.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        sources, tables = raw["sources"], raw["tables"]
    except (OSError, yaml.YAMLError, TypeError, KeyError, UnicodeDecodeError) as error:
        told = " ".join(str(error).split())
        raise UserError(
            f"{path}: cannot be read as published figures ({told}); its form: {FILE.name} in docs"
        ) from error
    found: dict[tuple[str, str], list[Published]] = {}
    for number, table in enumerate(tables, start=1):
        try:
            for key, one in _figures(table, sources):
                found.setdefault(key, []).append(one)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            told = f"no {error}" if isinstance(error, KeyError) else error
            raise UserError(f"{path}: table {number} of `tables`: {told}") from error
    return found


def _figures(table: dict[str, Any], sources: dict[str, Any]) -> list[tuple[tuple[str, str], Published]]:
    source, columns = sources[table["source"]], table["columns"]
    unit, scale = _SCALES[table.get("unit", "percent")]
    title = f"{source['title']}, {table['table']}" if "table" in table else source["title"]
    found = []
    for model, cells in table["rows"].items():
        if len(cells) != len(columns):
            raise ValueError(f"row {model!r} has {len(cells)} figures for {len(columns)} columns")
        for column, cell in zip(columns, cells, strict=True):
            if "benchmark" not in column and not column["not_compared"]:
                raise ValueError("a column needs `benchmark` and `metric`, or `not_compared`")
            if "benchmark" in column and cell is not None:
                one = Published(
                    source=title,
                    kind=source["kind"],
                    model=str(model),
                    setting=table["setting"],
                    protocol=column["protocol"],
                    value=round(scale * float(cell), 8),
                    unit=unit,
                    written=f"{cell:+}" if unit == "points" else str(cell),
                )
                found.append(((column["benchmark"], column["metric"]), one))
    return found
