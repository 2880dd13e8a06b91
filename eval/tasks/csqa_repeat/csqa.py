"""CommonsenseQA: the right one of five choices, asked for alone (base), or after the question is repeated (repeat).

A test of the SIT paper (arXiv 2403.07794): does a model do a first task that adds nothing, and does it still answer?
The file holds the repeat form; base is the same instruction without its first task.
"""

import re
from typing import Any

from datasets import Dataset

from eval import local_data
from eval.scoring.choices import chosen_letter
from eval.scoring.data_files import MADE_BY
from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction

FORMS = ("base", "repeat")
_REPEAT = re.compile(r"(?:please |first )*repeat the input,? then ", re.IGNORECASE)


def items(file: str, form: str, **_settings: Any) -> dict[str, Dataset]:
    """The questions, as the split `test`.

    Args:
        file: instruction records: the instruction, the question with its choices as input, the right letter as output.
        form: one of FORMS.

    Raises:
        UserError: the file is missing, or a row is no such question; the line says where.
    """
    rows = local_data.rows(file, MADE_BY)
    return {"test": Dataset.from_list([_checked(row, where, number, form) for number, (where, row) in enumerate(rows)])}


def score(item: dict[str, Any], responses: list[str]) -> dict[str, float]:
    """`accuracy`, 0 or 1; in the form repeat, `repeated`, whether the input stands in the response, and `both`."""
    rest, repeated = without_repetition(responses[0], item["input"])
    right = float(chosen_letter(rest, choices(item["input"])) == item["answer"])
    if item["form"] == "base":
        return {"accuracy": right}
    return {"accuracy": right, "repeated": float(repeated), "both": float(right and repeated)}


def choices(question: str) -> dict[str, str]:
    """Text of each choice by letter, from the line "Choices: A:..., B:..."."""
    listed = question.rpartition("\nChoices: ")[2]
    parts = re.split(r"(?:^|, )([A-Z]):", listed)[1:]
    return {letter: text.strip() for letter, text in zip(parts[::2], parts[1::2], strict=True)}


def without_repetition(response: str, question: str) -> tuple[str, bool]:
    """What follows the question in a response, and whether the question stands there; spaces and capitals do not count.

    Where it does not, the response as it is.
    """
    words = r"\s+".join(map(re.escape, question.split()))
    found = list(re.finditer(words, response, re.IGNORECASE))
    return (response[found[-1].end() :], True) if found else (response, False)


def _checked(row: dict[str, Any], where: str, number: int, form: str) -> dict[str, Any]:
    record = Instruction.from_json(row, where)
    found, plain = choices(record.input), _REPEAT.sub("", record.instruction, count=1)
    if record.output.strip() not in found:
        raise UserError(f"{where}: the output must be the letter of one of the choices. Fetch it again: {MADE_BY}")
    if plain == record.instruction:
        raise UserError(f"{where}: the instruction does not ask to repeat the input first. Fetch it again: {MADE_BY}")
    instruction = record.instruction if form == "repeat" else plain[0].upper() + plain[1:]
    return {
        "id": str(row.get("id", number)),
        "question": Instruction(instruction, record.input).prompt,
        "input": record.input,
        "answer": record.output.strip(),
        "form": form,
    }
