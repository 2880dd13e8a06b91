"""Rows with a difficulty: published scored files as they are, our own, and rows of stage 1 with their chain length.

A published row is {"id": "46229", "score": "4.5\\n\\n", "data": [prompt, output]}; ours is an instruction row with a
number in `score`. Both come out of `read` as instruction rows, so fine-tuning reads whatever is written of them.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction, read_rows

SCORE = "score"
VOTES = "votes"  # of a row whose score is a judge's
LOSSES = "losses"  # of a row whose score is a base model's loss
CHAIN_LENGTH = "chain_length"
LOWEST, HIGHEST = 1.0, 5.0  # of a judged difficulty
_GROWING = frozenset("ABC")  # stage 1's options that add a task to an instruction; D keeps it


def read(paths: Sequence[str]) -> Iterator[tuple[str, Instruction]]:
    """The rows of the files, one after the other, each with its FILE:LINE.

    Raises:
        UserError: a file cannot be read, or a row is neither a published scored row nor an instruction.
    """
    for path in paths:
        for where, row in read_rows(path):
            yield where, _of_published(row, where) if "data" in row else Instruction.from_json(row, where)


def difficulty(row: Instruction, where: str, field: str) -> float:
    """How hard a row is.

    Args:
        field: `score`, `chain_length` (the tasks that the instruction asks for: one, and one for each time stage 1 made
            it longer, as `options` tell), or any field that holds a number.

    Raises:
        UserError: the row has no such field, or no number in it.
    """
    if field == CHAIN_LENGTH and CHAIN_LENGTH not in row.extra:
        return float(_chain_length(row, where))
    if field not in row.extra:
        raise UserError(
            f"{where}: the row has no {field!r}; score the rows first (scripts/phased/score.sh), or name another "
            f"difficulty: {CHAIN_LENGTH}, or a field with a number"
        )
    value = number(row.extra[field])
    if value is None:
        raise UserError(f"{where}: {field!r} is {row.extra[field]!r}; expected a number such as 3.5")
    return value


def number(value: Any) -> float | None:
    """A number, or a text that is one (published scores end in line breaks); None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _of_published(row: dict[str, Any], where: str) -> Instruction:
    data = row["data"]
    if not (isinstance(data, list) and len(data) == 2 and all(isinstance(text, str) for text in data)):
        raise UserError(f'{where}: expected "data": [prompt, output], two texts (a published scored row)')
    rest = {name: value for name, value in row.items() if name not in ("data", "instruction", "input", "output")}
    return Instruction.from_json({"instruction": data[0], "output": data[1], **rest}, where)


def _chain_length(row: Instruction, where: str) -> int:
    options = row.extra.get("options")
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise UserError(
            f"{where}: the row does not tell its chain length; expected 'options' as in stage 1's sit.jsonl, or a "
            f"number in {CHAIN_LENGTH!r}"
        )
    return 1 + sum(option in _GROWING for option in options)
