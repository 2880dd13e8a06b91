"""The predictions of all runs on one benchmark, joined item by item: for the page, and for comparing runs.

Called by `eval.report`, one benchmark after the other, so that only one is in memory. For the page they are packed
(`eval/packing.py`) in parts, so that a browser unpacks only what it shows; the first part is the index:

    index: {"ids": [...], "firsts": [first line of each question], "marks": [a text per run, one character an item]}
    items: [[question, target, picture, [answer or null per run]], ...]
    answer: [response, figures, step marks, description, answer behind it, judge's verdicts]

What a model wrote is text here and there, never markup.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval import results, units
from eval.packing import first_line, held_text, packed, packed_items
from eval.paired import Values
from eval.pictures import Pictures
from eval.results import Metric, Result
from eval.verdicts import Said
from eval.verdicts import read as read_verdicts
from open_instruct.core.errors import UserError

# Marks of an answer in the list: one character each.
RIGHT, WRONG, PARTLY, UNMARKED, MISSING = "1", "0", "~", " ", "-"


@dataclass
class Benchmark:
    """One benchmark with the answers of all runs.

    Attributes:
        name, title: of the benchmark.
        facts: what browse.js must know before it unpacks anything.
        parts: the packed index and items.
        values: of each metric of a table, one dictionary a run, by key of the item; for comparing runs.
        clusters: of each item, where items fall into clusters.
        unclustered: whether clusters are spoken of in the results, but predictions do not name them.
        warnings: predictions that are missing or damaged, one line each.
    """

    name: str
    title: str
    facts: dict[str, Any]
    parts: list[str]
    values: dict[str, list[Values]]
    clusters: dict[tuple, str]
    unclustered: bool = False
    warnings: list[str] = field(default_factory=list)


def gather(
    name: str, found: dict[str, Result | None], folders: dict[str, Path], pictures: Pictures, chosen: list[int]
) -> Benchmark:
    """Read the predictions of all runs on one benchmark.

    Args:
        name: of the benchmark.
        found: its result by run; None where the run lacks it.
        folders: of the runs.
        pictures: takes in the pictures of items.
        chosen: places of the runs that the page shows first.
    """
    some = next(result for result in found.values() if result)
    shown = _shown(found)
    items: dict[tuple, list[Any]] = {}
    answers = _Answers(places=len(found), shown=list(shown), lead=next(iter(some.metrics)))
    warnings: list[str] = []
    for place, (run, result) in enumerate(found.items()):
        if result is None:
            continue
        folder = folders[run] / name
        try:
            verdicts = read_verdicts(folder)
        except UserError as error:
            verdicts = {}
            warnings.append(f"Verdicts on {run}, {result.title}, are not on this page: {error}")
        try:
            _take_in(items, answers, place, result, folder, pictures, verdicts)
        except UserError as error:
            warnings.append(f"Predictions of {run} on {result.title} are not on this page, or not all: {error}")
    if answers.others:
        warnings.append(
            f"{answers.others:,} answers on {some.title} are to other questions under the same id: the data differs "
            "between the runs. They are shown, but not compared."
        )
    lead = some.metrics[answers.lead]
    kind = units.UNITS[lead.unit]
    offsets, parts = packed_items(items.values())
    facts = {
        "title": some.title,
        "count": len(items),
        "offsets": offsets,
        "lead": lead.title or answers.lead,
        "words": [kind.right, kind.wrong] if kind.good is not None else None,
        "figures": [[metric.title or name, metric.unit] for name, metric in shown.items()],
        "differ": sum(answers.differ(key, chosen) for key in items),
        "partial": [place for place, result in enumerate(found.values()) if result and result.partial],
        "steps": len(some.steps()),
    }
    index = {"ids": [key[0] for key in items], "firsts": [first_line(item[0]) for item in items.values()]}
    index["marks"] = ["".join(answers.marks[place].get(key, MISSING) for key in items) for place in range(len(found))]
    return Benchmark(
        name=name,
        title=some.title,
        facts=facts,
        parts=[packed(index), *parts],
        values=answers.values,
        clusters=answers.clusters,
        unclustered=bool(some.clusters) and not answers.clusters,
        warnings=warnings,
    )


def _shown(found: dict[str, Result | None]) -> dict[str, Metric]:
    """The metrics of tables, of all runs, the leading one first."""
    shown: dict[str, Metric] = {}
    for result in found.values():
        for place, (name, metric) in enumerate(result.metrics.items() if result else ()):
            if metric.title or place == 0:
                shown.setdefault(name, metric)
    return shown


class _Answers:
    """What the answers say, gathered beside the items that the page shows."""

    def __init__(self, places: int, shown: list[str], lead: str):
        self.places, self.shown, self.lead = places, shown, lead
        self.values: dict[str, list[Values]] = {name: [{} for _ in range(places)] for name in shown}
        self.marks: list[dict[tuple, str]] = [{} for _ in range(places)]
        self.clusters: dict[tuple, str] = {}
        self.others = 0  # answers to another question under the same id

    def differ(self, key: tuple, chosen: list[int]) -> bool:
        """Whether one of the chosen runs is right on an item, and another is not."""
        marks = {self.marks[place].get(key, MISSING) for place in chosen} - {MISSING, UNMARKED}
        return RIGHT in marks and len(marks) > 1


def _take_in(
    items: dict[tuple, list[Any]],
    answers: _Answers,
    place: int,
    result: Result,
    folder: Path,
    pictures: Pictures,
    verdicts: dict[str, list[Said]],
) -> None:
    """Add a run's answers to the items."""
    steps = [name for name, metric in result.metrics.items() if metric.position]
    lead = result.metrics.get(answers.lead) or next(iter(result.metrics.values()))
    met: Counter[str] = Counter()  # data may give an id twice
    for where, row in results.prediction_rows(folder):
        try:
            name, metrics = str(row["id"]), {key: float(value) for key, value in row["metrics"].items()}
            question, response, target = row["question"], row["response"], row["target"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{where}: not a prediction of eval.run ({error!r}). Evaluate again.") from error
        met[name] += 1
        key = (name, met[name])
        question = held_text(question)
        if key not in items:
            items[key] = [question, held_text(target), "", [None] * answers.places]
        item = items[key]
        item[2] = item[2] or pictures.take(row.get("image"), folder, where)
        item[3][place] = [
            [held_text(one) for one in response] if isinstance(response, list) else held_text(response),
            [metrics.get(shown) for shown in answers.shown],
            [metrics[step] for step in steps if step in metrics],
            *(held_text(row.get(part) or "") for part in ("description", "answer")),
            verdicts.get(name, []),
        ]
        answers.marks[place][key] = _mark(metrics.get(answers.lead), lead)
        if result.clusters and (cluster := row.get("cluster", row.get("image"))) is not None:
            answers.clusters[key] = str(cluster)
        if item[0] != question:
            answers.others += 1
            continue
        for shown in answers.shown:
            if shown in metrics:
                answers.values[shown][place][key] = metrics[shown]


def _mark(value: float | None, metric: Metric) -> str:
    right = None if value is None else units.is_right(value, metric.unit, metric.higher_is_better)
    if right is None:
        return UNMARKED
    if right:
        return RIGHT
    return PARTLY if metric.unit == "share" and 0 < value < 1 else WRONG
