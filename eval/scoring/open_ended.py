"""Open-ended instructions: what of a response needs no judge. For `seqeval`, `alpaca_eval` and `instruct_sets`.

How good a response is, says the judge that the task names in `metadata.judge` (`eval/judges`); its figures join these.
"""

from collections.abc import Iterable
from typing import Any

from datasets import Dataset

from open_instruct.core.errors import UserError


def dataset(
    prompts: Iterable[tuple[str, dict[str, Any], Any]], name: str, may_be_blank: bool = False
) -> dict[str, Dataset]:
    """The split `test` of a task.

    Args:
        prompts: FILE:LINE, fields of the item beside its prompt (`id`, at least), and the prompt.
        name: of the file, for the case that it holds none.
        may_be_blank: whether a prompt without words is one.

    Raises:
        UserError: a prompt is no text, or there is none.
    """
    rows = []
    for where, fields, prompt in prompts:
        if not isinstance(prompt, str) or not (prompt.strip() or may_be_blank):
            raise UserError(f"{where}: no instruction here; is this the file {name}? Fetch it again")
        rows.append({**fields, "id": str(fields["id"]), "prompt": prompt})
    if not rows:
        raise UserError(f"{name}: none of its rows belongs to this task. Fetch the file again")
    return {"test": Dataset.from_list(rows)}


def no_target(item: dict[str, Any]) -> str:
    """There is no one right response."""
    return ""


def score(item: dict[str, Any], responses: list[str]) -> dict[str, float]:
    """`answered`, whether the response is not blank, and its `words`."""
    return {"answered": float(bool(responses[0].strip())), "words": float(len(responses[0].split()))}
