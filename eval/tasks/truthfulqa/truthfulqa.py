"""TruthfulQA (Lin et al., 2022): questions that many people answer wrongly, after six plain questions with answers.

`truthfulqa_mc1` and `truthfulqa_mc2` compare how likely given answers are, as lm-evaluation-harness does. In
`truthfulqa_gen` the model answers in its own words, as in Tulu v1 (arXiv 2306.04751), and the judge that
`metadata.judge` names says whether that is true, and whether it tells anything.
"""

import csv
import io
import math
from functools import cache
from typing import Any

from datasets import Dataset
from lm_eval.utils import apply_template

from eval import local_data
from eval.scoring import open_ended
from eval.scoring.data_files import MADE_BY, data_file, read_text
from eval.scoring.harness import definition
from open_instruct.core.errors import UserError

score = open_ended.score

_HARNESS = "truthfulqa/truthfulqa_mc1.yaml"  # the six questions with their answers stand there, in front of the item's
_COLUMNS = ("Category", "Question", "Correct Answers", "Incorrect Answers")


def choices(file: str, targets: str, **_settings: Any) -> dict[str, Dataset]:
    """The questions with the answers to choose from, as the split `test`.

    Args:
        file: array of {"question", "mc1_targets", "mc2_targets"}, the targets {answer: 1 for a true one, else 0},
            relative to the data folder.
        targets: "mc1_targets" (one true answer) or "mc2_targets" (one or more).

    Raises:
        UserError: the file is missing, or a row is no such question; the line says where.
    """
    rows = enumerate(local_data.rows(file, MADE_BY))
    return {"test": Dataset.from_list([_choices(row, targets, where, number) for number, (where, row) in rows])}


def questions(file: str, **_settings: Any) -> dict[str, Dataset]:
    """The questions to answer freely, as the split `test`, under the same ids as in `choices`.

    Args:
        file: the table TruthfulQA.csv, relative to the data folder.

    Raises:
        UserError: the file is missing, or is not that table; the line says where.
    """
    path = data_file(file)
    table = csv.DictReader(io.StringIO(read_text(path), newline=""))
    rows = []
    for number, row in enumerate(table):
        if missing := [name for name in _COLUMNS if not (row.get(name) or "").strip()]:
            raise UserError(
                f"{path}:{table.line_num}: no text in column {missing[0]}. Fetch the file again: {MADE_BY} truthfulqa"
            )
        category, question, right, wrong = (row[name].strip() for name in _COLUMNS)
        rows.append({"id": str(number), "question": question, "category": category, "true": right, "false": wrong})
    if not rows:
        raise UserError(f"{path}: no question in it. Fetch the file again: {MADE_BY} truthfulqa")
    return {"test": Dataset.from_list(rows)}


def asked(item: dict[str, Any]) -> str:
    """The six questions with their answers, and the item's question."""
    return f"{_prompt()[0]}{item['question']}"


def asked_to_answer(item: dict[str, Any]) -> str:
    """The same, up to where the answer begins."""
    return item["question"].join(_prompt())


def known_answers(item: dict[str, str]) -> str:
    """Answers that are known to be true or false, for the judge and for readers."""
    return f"true: {item['true']}\nfalse: {item['false']}"


def probability_of_truth(item: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """`acc`: how much of the probability of all given answers the true ones have (MC2).

    The harness takes exponentials first, which are all 0 where every answer is very unlikely; then it has no figure.
    """
    likelihoods = [likelihood for likelihood, _ in results]
    highest = max(likelihoods)
    parts = [math.exp(likelihood - highest) for likelihood in likelihoods]
    return {"acc": sum(part for part, label in zip(parts, item["labels"], strict=True) if label) / sum(parts)}


@cache
def _prompt() -> tuple[str, str]:
    """What stands before and behind the question."""
    mark = "\0"
    before, after = apply_template(definition(_HARNESS)["doc_to_text"], {"question": mark}).split(mark)
    return before, after


def _choices(row: Any, targets: str, where: str, number: int) -> dict[str, Any]:
    try:
        question, answers = row["question"].strip(), row[targets]
        texts, labels = list(answers), list(answers.values())
        true = labels.count(1)
        if not question or true + labels.count(0) != len(labels) or not 0 < true < len(labels):
            raise ValueError("answers are marked 1 or 0, some of each")
        if targets == "mc1_targets" and true > 1:
            raise ValueError(f"{true} true answers")
        return {"id": str(number), "question": question, "choices": texts, "labels": labels, "answer": labels.index(1)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{where}: expected a question and its {targets} ({type(error).__name__}: {error}). "
            f"Fetch the file again: {MADE_BY} truthfulqa"
        ) from error
