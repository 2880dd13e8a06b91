"""ARC-Challenge: science questions of school examinations, with the prompt of lm-evaluation-harness.

The answer is the choice whose words are the likeliest after the question (`acc`), or the likeliest for their length
(`acc_norm`, which leads). Rows come as released (question and choices apart), as the hub's copy has them, or as one
text of question and choices, the form of LLM-Adapters.
"""

import re
from typing import Any

from datasets import Dataset

from eval import local_data
from eval.scoring.data_files import MADE_BY
from open_instruct.core.errors import UserError

_INSTRUCTION = re.compile(
    r"\s*Please choose the correct answer to the question: (?P<question>.+)\n\n(?P<choices>Answer1: .+)"
    r"\n\nAnswer format: [a-z\d/]+\s*",
    re.DOTALL,
)
_CHOICE = re.compile(r"(?:^| )Answer(\d): ")


def items(folder: str, **_settings: Any) -> dict[str, Dataset]:
    """The questions, as the splits `test` and `train` (of which the examples are drawn).

    Args:
        folder: of `test.json` and `train.json`, in the data folder.

    Raises:
        UserError: a file is missing, or a row is no such question; the line says where.
    """
    return {split: Dataset.from_list(_questions(f"{folder}/{split}.json")) for split in ("test", "train")}


def asked(item: dict[str, Any]) -> str:
    """The question up to the answer; its choices are not shown."""
    return f"Question: {item['question']}\nAnswer:"


def _questions(file: str) -> list[dict[str, Any]]:
    return [
        {"id": str(row.get("id", number)), **_question(row, where)}
        for number, (where, row) in enumerate(local_data.rows(file, MADE_BY))
    ]


def _question(row: dict[str, Any], where: str) -> dict[str, Any]:
    """`question`, `choices` (texts) and `answer` (the number of the right one)."""
    try:
        question, choices, labels, right = _one_text(row) if "instruction" in row else _apart(row)
        return {"question": question, "choices": choices, "answer": labels.index(right)}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{where}: expected a question, its choices and the right one ({type(error).__name__}: {error}). "
            f"Fetch the file again: {MADE_BY}"
        ) from error


def _apart(row: dict[str, Any]) -> tuple[str, list[str], list[str], str]:
    """As released, {"question": {"stem", "choices": [{"text", "label"}]}, "answerKey"}; or as on the hub, in lists."""
    if isinstance(row["question"], dict):
        choices = row["question"]["choices"]
        texts, labels = ([one[name] for one in choices] for name in ("text", "label"))
        return row["question"]["stem"], texts, labels, row["answerKey"]
    return row["question"], row["choices"]["text"], row["choices"]["label"], row["answerKey"]


def _one_text(row: dict[str, Any]) -> tuple[str, list[str], list[str], str]:
    found = _INSTRUCTION.fullmatch(row["instruction"])
    if not found:
        raise ValueError("no question with 'Answer1: ...' in field instruction")
    _, *parts = _CHOICE.split(found["choices"])
    numbers, texts = parts[::2], [text.strip() for text in parts[1::2]]
    if numbers != [str(number) for number in range(1, len(numbers) + 1)] or len(numbers) < 2:
        raise ValueError(f"choices are numbered {', '.join(numbers)}")
    return found["question"], texts, [f"answer{number}" for number in numbers], row["answer"]
