"""MMLU: questions with four choices in 57 subjects, with the prompt of lm-evaluation-harness. One benchmark.

Its figures are the share of right answers over all questions (Hendrycks et al., 2021, and the harness weight by
questions, too), by category and by subject. The answer is the likeliest of the four letters.
"""

import csv
from functools import cache
from pathlib import Path
from typing import Any

from datasets import Dataset

from eval import local_data
from eval.scoring.data_files import MADE_BY, data_file, tell
from eval.scoring.harness import mmlu_categories
from eval.scoring.shots import OfItsFile
from open_instruct.core.errors import UserError

_LETTERS = "ABCD"
_HEADING = "The following are multiple choice questions (with answers) about {subject}.\n\n"
_COLUMNS = ["question", "choice0", "choice1", "choice2", "choice3", "answer"]


def items(folder: str, **_settings: Any) -> dict[str, Dataset]:
    """All questions, as the split `test`: the first of every subject, then the second, and so on.

    Args:
        folder: of `test/SUBJECT_test.csv` and `dev/SUBJECT_dev.csv` (examples), in the data folder.

    Raises:
        UserError: a file is missing, is not of its format, or is of no subject of MMLU.
    """
    subjects = _subjects(folder)
    tests = {one: _questions(f"{folder}/test/{one}_test.csv") for one in subjects}
    for one in subjects:
        _questions(_examples(folder, one))
    rows = [
        {
            "id": f"{subject}-{number}",
            "subject": subject,
            "category": mmlu_categories()[subject],
            "header": _HEADING.format(subject=subject.replace("_", " ")),
            "shown": _examples(folder, subject),
            **tests[subject][number],
        }
        for number in range(max(map(len, tests.values())))
        for subject in subjects
        if number < len(tests[subject])
    ]
    return {"test": Dataset.from_list(rows)}


def asked(item: dict[str, Any]) -> str:
    """The question with its four choices by letter, up to the answer; of an example, too."""
    choices = "\n".join(f"{letter}. {text}" for letter, text in zip(_LETTERS, item["choices"], strict=True))
    return f"{item['question'].strip()}\n{choices}\nAnswer:"


def score(item: dict[str, Any], likelihoods: list[tuple[float, bool]]) -> dict[str, float]:
    """`acc`: whether the right letter is the likeliest, the first of equal ones; also of the category and subject."""
    values = [value for value, _ in likelihoods]
    right = float(values.index(max(values)) == item["answer"])
    return {"acc": right, f"acc_{item['category']}": right, f"acc_{item['subject']}": right}


def _subjects(folder: str) -> list[str]:
    """The subjects that have a file of test questions; what is missing is told."""
    tests = local_data.folder() / folder / "test"
    found = sorted(path.name.removesuffix("_test.csv") for path in tests.glob("*_test.csv"))
    known = mmlu_categories()
    for one in found:
        if one not in known:
            raise UserError(f"{tests / one}_test.csv: {one!r} is no subject of MMLU; there are: {', '.join(known)}")
    if not found:
        data_file(f"{folder}/test/{next(iter(known))}_test.csv")  # tells that the data is not there
    if missing := [one for one in known if one not in found]:
        tell(f"MMLU: {len(missing)} of 57 subjects are not in {tests}: {', '.join(missing)}")
    return found


def _examples(folder: str, subject: str) -> str:
    return f"{folder}/dev/{subject}_dev.csv"


def _questions(file: str) -> list[dict[str, Any]]:
    return _read(data_file(file))


@cache
def _read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file: the released form (no header, letters) or that of the hub's copy (header, 0 to 3)."""
    found = []
    for number, row in enumerate(_cells(path), start=1):
        if number == 1 and row == _COLUMNS:
            continue
        answer = row[5].strip() if len(row) == 6 else ""
        if answer not in (*_LETTERS, *"0123") or not row[0].strip():
            raise UserError(
                f"{path}: row {number}: expected question, four choices and A to D or 0 to 3. Fetch it again: {MADE_BY}"
            )
        right = _LETTERS.index(answer) if answer in _LETTERS else int(answer)
        found.append({"question": row[0], "choices": row[1:5], "answer": right})
    if not found:
        raise UserError(f"{path}: no questions in it. Fetch the file again: {MADE_BY}")
    return found


def _cells(path: Path) -> list[list[str]]:
    """The rows of a table; line ends within a question stay what they are."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a table in UTF-8 ({error}). Fetch the file again: {MADE_BY}") from error


class OfItsSubject(OfItsFile):
    """The item's examples: those of its subject."""

    read = staticmethod(_questions)
