"""From the metrics of single items to figures with their intervals, and into the results that `eval.report` reads.

The kinds of judges call it. Nothing is counted away: an item without a readable verdict has `judge_unreadable` 1 and no
other figure, and each figure says over how many items it was taken.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from eval import judged, results
from eval.benchmarks import MetricInfo
from eval.results import Metric
from open_instruct.core.errors import UserError
from open_instruct.core.intervals import interval, standard_error
from open_instruct.core.records import write_json, write_rows

UNREADABLE = MetricInfo(
    name="judge_unreadable",
    title="Verdicts that cannot be read",
    about="the judge wrote no readable verdict, however often it was asked; in no other figure of the judge",
    higher_is_better=False,
)


def metric(info: MetricInfo, values: list[float], ends: tuple[float, float] | None = None) -> Metric:
    """A figure: the mean of `values`, one an item.

    Args:
        ends: of the interval, where it is not that of the mean of independent items.
    """
    low, high = ends or interval(values, shares=info.unit == "share")
    described = asdict(info)
    del described["name"]
    mean = sum(values) / len(values)
    error = standard_error(values)
    return Metric(
        value=mean, n=len(values), stderr=error, low=low, high=high, over=f"{len(values):,} items", **described
    )


def figures(infos: list[MetricInfo], items: list[dict[str, float]]) -> dict[str, Metric]:
    """The figures in the order of `infos`, each over the items that have it; one that none has is left out."""
    found = {}
    for info in infos:
        values = [item[info.name] for item in items if info.name in item]
        if values:
            shown = replace(info, title="") if info == UNREADABLE and not any(values) else info  # a table of noughts
            found[info.name] = metric(shown, values)
    return found


def join(
    folder: Path,
    kind: str,
    found: dict[str, Metric],
    items: list[dict[str, float]],
    verdicts: list[dict[str, Any]],
    facts: dict[str, Any],
) -> None:
    """Write verdicts.jsonl, and put a judge's figures into metrics.json and predictions.jsonl, in place of its earlier.

    Each file is whole at any moment, and metrics.json comes last: as long as it does not hold the judge's figures, the
    judge has not ended, and judging again (from its journal) writes the same.

    Args:
        folder: of a benchmark's results.
        kind: of the judge.
        found: its figures; they come before those that need no judge.
        items: the metrics of each item, in the order of predictions.jsonl.
        verdicts: lines of verdicts.jsonl.
        facts: what else metrics.json says under "judges" and the kind's name; "engine" is the judge's identity, which
            is told with each figure: a figure means nothing without its judge.
    """
    raw = read_metrics(folder)
    earlier = raw.setdefault("judges", {}).get(kind, {}).get("metrics", [])
    given = dict.fromkeys([*found, *(name for item in items for name in item)])
    rows = results.read_predictions(folder)
    for row, added in zip(rows, items, strict=True):
        kept = {name: value for name, value in row.get("metrics", {}).items() if name not in {*earlier, *given}}
        row["metrics"] = {**added, **kept}
    write_rows(folder / results.VERDICTS_FILE, verdicts)
    write_rows(folder / results.PREDICTIONS_FILE, rows)
    kept = {name: one for name, one in raw["metrics"].items() if name not in {*earlier, *given}}
    judge = judged.name(facts["engine"])
    told = {name: asdict(replace(one, about=f"{one.about} (judge: {judge})")) for name, one in found.items()}
    raw["metrics"] = {**told, **kept}
    raw["judges"][kind] = {**facts, "metrics": list(given)}
    write_json(folder / results.METRICS_FILE, raw)


def read_metrics(folder: Path) -> dict[str, Any]:
    """metrics.json as it stands.

    Raises:
        UserError: there is none that can be read.
    """
    path = folder / results.METRICS_FILE
    if results.read(folder) is None:
        raise UserError(f"{path}: not there. Evaluate first: python -m eval.run, or judge a file: --predictions FILE")
    return json.loads(path.read_bytes())
