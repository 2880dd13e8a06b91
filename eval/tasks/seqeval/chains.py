"""SeqEval's chains of tasks. The YAML beside this file names these functions; lm-evaluation-harness calls them.

One of the 805 published instructions (id 547) is blank. It stays, so that figures are over the published items.
"""

from typing import Any

from datasets import Dataset

from eval import local_data
from eval.scoring import open_ended
from eval.scoring.data_files import MADE_BY

no_target = open_ended.no_target


def score(item: dict[str, Any], responses: list[str]) -> dict[str, float]:
    """What needs no judge, and the item's `iteration`, by which the judge's figures are told apart."""
    return {**open_ended.score(item, responses), "iteration": float(item["iteration"])}


def items(file: str, **_settings: Any) -> dict[str, Dataset]:
    """The chains, as the split `test`.

    Args:
        file: {"instruction", "iteration"} each, relative to the data folder; `iteration`, 1 to 4, is how often a
            task was added to the instruction.

    Raises:
        UserError: the file is missing, or a row is no such chain; the line says where.
    """
    rows = enumerate(local_data.rows(file, MADE_BY))
    return open_ended.dataset(
        (
            (where, {"id": number, "iteration": row.get("iteration")}, row.get("instruction"))
            for number, (where, row) in rows
        ),
        file,
        may_be_blank=True,
    )
