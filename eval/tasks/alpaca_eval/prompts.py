"""AlpacaEval's instructions. The YAML beside this file names these functions; lm-evaluation-harness calls them."""

from typing import Any

from datasets import Dataset

from eval import local_data
from eval.scoring import open_ended
from eval.scoring.data_files import MADE_BY

no_target, score = open_ended.no_target, open_ended.score


def items(file: str, **_settings: Any) -> dict[str, Dataset]:
    """The instructions, as the split `test`.

    Args:
        file: {"instruction", "dataset"} each, as every file of AlpacaEval's model outputs has them, relative to the
            data folder; what that model answered is not looked at.

    Raises:
        UserError: the file is missing, or a row is no such instruction; the line says where.
    """
    rows = enumerate(local_data.rows(file, MADE_BY))
    return open_ended.dataset(
        (
            (where, {"id": number, "dataset": str(row.get("dataset", ""))}, row.get("instruction"))
            for number, (where, row) in rows
        ),
        file,
    )
