"""The six sets of instructions of phased instruction tuning. The YAML files beside this one name these functions.

Self-Instruct, WizardLM, Koala and Vicuna have files of their own, each in its own form. OASST and Anthropic are those
of AlpacaEval's instructions that come from there (188 and 129, the published numbers).
"""

from typing import Any

from datasets import Dataset

from eval import local_data
from eval.scoring import open_ended
from eval.scoring.data_files import MADE_BY
from open_instruct.core.records import Instruction

no_target, score = open_ended.no_target, open_ended.score

_NAMES = ("id", "idx", "question_id")
_PROMPTS = ("prompt", "text", "Instruction", "instruction")  # Koala, Vicuna, WizardLM, AlpacaEval and Self-Instruct


def items(file: str, dataset: str = "", **_settings: Any) -> dict[str, Dataset]:
    """The instructions of a set, as the split `test`.

    Args:
        file: of the set, relative to the data folder.
        dataset: only the rows whose field `dataset` says so; "" takes all.

    Raises:
        UserError: the file is missing, or a row is no instruction; the line says where.
    """
    rows = enumerate(local_data.rows(file, MADE_BY))
    return open_ended.dataset(
        (
            (where, {"id": next((row[name] for name in _NAMES if name in row), number)}, _prompt(row))
            for number, (where, row) in rows
            if not dataset or row.get("dataset") == dataset
        ),
        file,
    )


def _prompt(row: dict[str, Any]) -> Any:
    prompt = next((row[name] for name in _PROMPTS if name in row), None)
    instances = row.get("instances")  # of Self-Instruct: one, its input perhaps empty
    if isinstance(prompt, str) and isinstance(instances, list) and instances:
        given = instances[0].get("input")
        return Instruction(prompt, given if isinstance(given, str) and given.strip() else "").prompt
    return prompt
