"""The predictions of all runs on one benchmark, joined item by item: for the page, and for comparing runs.

Called by `eval.report`, one benchmark after the other, so that only one is in memory. For the page they are packed:
JSON in parts of some 128 kB, each compressed (zlib) and written as base64, so that a browser unpacks only what it
shows. The first part is the index; `eval/html/browse.js` reads both.

    index: {"ids": [...], "firsts": [first line of each question], "marks": [a text per run, one character an item]}
    items: [[question, target, picture, [answer or null per run]], ...]
    answer: [response, figures, step marks, description, answer behind it, judge's verdicts]

What a model wrote is text here and there, never markup.
"""

import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval import results, units
from eval.paired import Values
from eval.pictures import Pictures
from eval.results import Metric, Result
from open_instruct.core.errors import UserError
from open_instruct.core.records import encode_json, read_rows

VERDICTS_FILE = "verdicts.jsonl"
LONGEST = 100_000  # characters of a text that the page holds; a model that never ends writes more
_PART = 1 << 17  # characters of JSON that are packed together
_FIRST = 90  # characters of a question in the list
_LEVEL = 3  # of zlib: as fast as 1, as small as 4

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
            _take_in(items, answers, place, result, folder, pictures)
        except UserError as error:
            warnings.append(f"Predictions of {run} on {result.title} are not on this page, or not all: {error}")
    if answers.others:
        warnings.append(
            f"{answers.others:,} answers on {some.title} are to other questions under the same id: the data differs "
            "between the runs. They are shown, but not compared."
        )
    lead = some.metrics[answers.lead]
    kind = units.UNITS[lead.unit]
    offsets, parts = _packed_items(items)
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
    index = {"ids": [key[0] for key in items], "firsts": [_first_line(item[0]) for item in items.values()]}
    index["marks"] = ["".join(answers.marks[place].get(key, MISSING) for key in items) for place in range(len(found))]
    return Benchmark(
        name=name,
        title=some.title,
        facts=facts,
        parts=[_packed(encode_json(index)), *parts],
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
    items: dict[tuple, list[Any]], answers: _Answers, place: int, result: Result, folder: Path, pictures: Pictures
) -> None:
    """Add a run's answers to the items."""
    verdicts = _verdicts(folder / VERDICTS_FILE)
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
        question = _text(question)
        if key not in items:
            items[key] = [question, _text(target), "", [None] * answers.places]
        item = items[key]
        item[2] = item[2] or pictures.take(row.get("image"), folder, where)
        item[3][place] = [
            [_text(one) for one in response] if isinstance(response, list) else _text(response),
            [metrics.get(shown) for shown in answers.shown],
            [metrics[step] for step in steps if step in metrics],
            *(_text(row.get(part) or "") for part in ("description", "answer")),
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


def _verdicts(path: Path) -> dict[str, list[list[list[str]]]]:
    """What a judge said of each answer, by the item's id: for each of its verdicts, pairs of what and said."""
    found: dict[str, list[list[list[str]]]] = {}
    if not path.is_file():
        return found
    for _, row in read_rows(path, may_be_empty=True):
        said = [list(pair) for pair in _pairs({key: value for key, value in row.items() if key != "id"})]
        found.setdefault(str(row.get("id")), []).append(said)
    return found


def _pairs(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """A verdict as (what, said), whatever its form: {"tasks": [{"task": "T", "done": true}]}: "tasks 1", "T · done"."""
    if isinstance(value, dict) and name[-1:].isdigit() and not any(isinstance(x, dict | list) for x in value.values()):
        yield name, _text(" · ".join(_plain(key, inner) for key, inner in value.items()))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _pairs(inner, f"{name} {key}".strip())
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for number, inner in enumerate(value, start=1):
            yield from _pairs(inner, f"{name} {number}".strip())
    elif value is not None and value != "":
        said = ", ".join(map(str, value)) if isinstance(value, list) else value
        yield name, _text({True: "yes", False: "no"}[said] if isinstance(said, bool) else said)


def _plain(key: str, value: Any) -> str:
    """One fact of several in a line: the text itself, "done" or "not done", "score 4"."""
    if isinstance(value, bool):
        return key if value else f"not {key}"
    return value if isinstance(value, str) else f"{key} {value}"


def _text(value: Any) -> str:
    """A text as the page holds it; one that is too long is cut, and says so."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n[cut here: {len(text):,} characters, which predictions.jsonl holds]"


def _first_line(text: str) -> str:
    return text[: 4 * _FIRST].strip().partition("\n")[0][:_FIRST]


def _packed_items(items: dict[tuple, list[Any]]) -> tuple[list[int], list[str]]:
    """The number of the first item of each part and, last, the number of all; and the parts."""
    offsets, parts = [0], []
    texts: list[bytes] = []
    size = 0
    for number, item in enumerate(items.values(), start=1):
        texts.append(encode_json(item))
        size += len(texts[-1])
        if size >= _PART or number == len(items):
            parts.append(_packed(b"[" + b",".join(texts) + b"]"))
            offsets.append(number)
            texts, size = [], 0
    return offsets, parts


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, _LEVEL)).decode("ascii")
