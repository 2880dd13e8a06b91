"""What a judge is shown: a question and a response, perhaps with another model's response, from any file of rows.

Read are predictions.jsonl of `eval.run`, AlpacaEval's form (`instruction`, `output`), and rows whose fields are named.
A reference's rows are found by the text of the question, so the order of the two files does not matter.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eval import results
from open_instruct.core.errors import UserError
from open_instruct.core.records import encode_json, read_rows

_LONGEST_ROW = 1 << 28  # bytes: a prompt of examples with long contexts is long
_QUESTIONS = ("question", "instruction", "prompt")
_RESPONSES = ("response", "output")
_NAMES = ("id", "idx", "question_id")


@dataclass(frozen=True)
class Item:
    """One response to judge.

    Attributes:
        id: of the row; its number where it has none.
        question: what was asked.
        response: what the model answered.
        reference: what the other model answered; "" where nothing is compared.
        row: the row as it stands in the file.
    """

    id: str
    question: str
    response: str
    reference: str = ""
    row: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def metrics(self) -> dict[str, Any]:
        """Of the row, where `eval.run` wrote it; what others call so may be anything, and is none."""
        found = self.row.get("metrics")
        return found if isinstance(found, dict) else {}


def read(path: Path, question_field: str = "", response_field: str = "") -> list[Item]:
    """The items of a file; a named field is taken instead of the usual ones.

    Raises:
        UserError: the file has no rows, or a row lacks a text; the line says where.
    """
    items = []
    for number, (where, row) in enumerate(read_rows(path, max_row_bytes=_LONGEST_ROW)):
        question = _text(row, [question_field] if question_field else _QUESTIONS, "--question_field", where)
        if not question_field and "question" not in row and isinstance(row.get("input"), str) and row["input"].strip():
            question = f"{question}\n{row['input']}"
        response = _text(row, [response_field] if response_field else _RESPONSES, "--response_field", where)
        name = next((row[name] for name in _NAMES if row.get(name) is not None), number)
        items.append(Item(str(name), question, response, row=row))
    return items


def with_reference(items: list[Item], reference: list[Item], name: str) -> list[Item]:
    """The items, each with what the reference answers to its question.

    Where a question stands several times, its first occurrences belong together, and so on.

    Raises:
        UserError: the reference lacks a question.
    """
    answers = {key: item.response for key, item in _by_question(reference)}
    missing = [item for key, item in _by_question(items) if key not in answers]
    if missing:
        raise UserError(
            f"{name}: lacks {len(missing):,} of the {len(items):,} questions, the first of them {missing[0].id}: "
            f"{missing[0].question[:60]!r}. Both models must have answered the same questions"
        )
    return [replace(item, reference=answers[key]) for key, item in _by_question(items)]


def reference_file(path: Path, benchmark: str) -> Path:
    """The file of a reference: the file itself; or predictions.jsonl in a benchmark's folder, or of it in a run's.

    A folder may also hold a file a benchmark: BENCHMARK.json or BENCHMARK.jsonl.

    Raises:
        UserError: there is none.
    """
    inside = (
        results.PREDICTIONS_FILE,
        f"{benchmark}/{results.PREDICTIONS_FILE}",
        f"{benchmark}.json",
        f"{benchmark}.jsonl",
    )
    places = [path, *(path / name for name in inside)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UserError(
            f"{path}: no answers of a reference model for {benchmark or 'these questions'}. Name a file "
            f"of answers, or the results of a run that hold {benchmark or 'a benchmark'}/{results.PREDICTIONS_FILE}"
        )
    return found


def digest(items: Iterable[Item]) -> str:
    """Names what is judged, so that verdicts on other answers are never taken for these."""
    total = hashlib.sha256()
    for item in items:
        total.update(encode_json([item.id, item.question, item.response, item.reference]) + b"\n")
    return total.hexdigest()[:16]


def reference_digest(items: Iterable[Item]) -> str:
    """Names the answers that these items are compared with, in whatever order they stand."""
    lines = sorted(encode_json([question, item.reference]) for question, item in _by_question(list(items)))
    return hashlib.sha256(b"\n".join(lines)).hexdigest()[:16]


def _by_question(items: list[Item]):
    """((question, how often it stood before), item) of each."""
    seen: Counter[str] = Counter()
    for item in items:
        question = item.question.strip()
        yield (question, seen[question]), item
        seen[question] += 1


def _text(row: dict[str, Any], names: Iterable[str], flag: str, where: str) -> str:
    for name in names:
        if isinstance(row.get(name), str):
            return row[name]
    raise UserError(f"{where}: no text in field {' or '.join(names)}; there are: {', '.join(row)}. Name it with {flag}")
