"""The miniature benchmark: what an item is, what the model is asked, and how its response is scored, step by step.

The YAML files beside this one name these functions; lm-evaluation-harness calls them. An item's instruction asks for
one task or a chain of them, and the right response has one line a task, in order.
"""

import shlex
from typing import Any

from datasets import Dataset

from eval import local_data
from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction


def items(file: str, **_settings: Any) -> dict[str, Dataset]:
    """The items of one file of the data folder, as the split `test`.

    Args:
        file: JSONL of {"id", "instruction", "input", "steps": names, "answers": texts}, relative to the data folder.

    Raises:
        UserError: the file is missing, or a row is no such item; the line says where.
    """
    rows = [_checked(row, where) for where, row in local_data.rows(file, _made_by())]
    return {"test": Dataset.from_list(rows)}


def prompt(item: dict[str, Any]) -> str:
    """What the model is asked."""
    return Instruction(item["instruction"], item["input"]).prompt


def target(item: dict[str, Any]) -> str:
    """The one right response."""
    return "\n".join(item["answers"])


def score(item: dict[str, Any], responses: list[str]) -> dict[str, float]:
    """The metrics of one response: line i is held against answer i.

    Blank lines and spaces around a line do not count, all else must be equal. A line that is missing (a response that
    stops early or is cut off) is a step not followed; lines after the last answer cost `all_steps`, and no single
    step.

    Args:
        item: a row of the data.
        responses: what the model wrote, one text.

    Returns:
        `all_steps` (0 or 1), `steps_followed` (0 to 1) and, for each step asked for, `step_1`, `step_2`, ... (0 or 1).
    """
    lines = [line.strip() for line in responses[0].split("\n") if line.strip()]
    answers = item["answers"]
    right = [float(i < len(lines) and lines[i] == answer) for i, answer in enumerate(answers)]
    return {
        "all_steps": float(all(right) and len(lines) == len(answers)),
        "steps_followed": sum(right) / len(right),
        **{f"step_{place}": value for place, value in enumerate(right, start=1)},
    }


def _checked(row: dict[str, Any], where: str) -> dict[str, Any]:
    instruction = Instruction.from_json(row, where)
    answers = row.get("answers")
    if not isinstance(answers, list) or not answers or not all(isinstance(a, str) and a.strip() for a in answers):
        raise UserError(
            f"{where}: field 'answers' must be a list of texts, one a step. Make the data again: {_made_by()}"
        )
    steps = row.get("steps")
    if not isinstance(steps, list) or len(steps) != len(answers) or not all(isinstance(s, str) for s in steps):
        raise UserError(f"{where}: field 'steps' must name the task of each answer. Make the data again: {_made_by()}")
    return {
        "id": str(row.get("id", where)),
        "instruction": instruction.instruction,
        "input": instruction.input,
        "steps": steps,  # intervals are taken over these combinations of tasks
        "answers": [answer.strip() for answer in answers],
    }


def _made_by() -> str:
    """The command that makes the data, as it must be given here."""
    folder = shlex.quote(str(local_data.folder() / "miniature"))
    return f"python -m open_instruct.miniature.make_data --eval_dir {folder}"
