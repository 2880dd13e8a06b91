"""HellaSwag: which of four endings goes on with a text, with the prompt of lm-evaluation-harness.

The answer is the likeliest ending (`acc`), or the likeliest for its length (`acc_norm`, which leads). Examples are
rows of the training file. Where that is not there, they are other rows of the validation file, and that is told; never
of the item's own source (a video, an article), whose other parts tell how it goes on.
"""

import re
from typing import Any

from datasets import Dataset
from lm_eval.api.samplers import ContextSampler

from eval import local_data
from eval.scoring.data_files import MADE_BY, tell
from open_instruct.core.errors import UserError


def items(folder: str, **_settings: Any) -> dict[str, Dataset]:
    """The rows, as the splits `validation` and `train` (of which the examples are drawn).

    Args:
        folder: of `hellaswag.jsonl` (validation) and `hellaswag_train.jsonl`, which need not be there, as released, in
            the data folder.

    Raises:
        UserError: the validation file is missing, or a row is not of that form; the line says where.
    """
    file, training_file = f"{folder}/hellaswag.jsonl", f"{folder}/hellaswag_train.jsonl"
    validation = _rows(file)
    train = validation
    if (local_data.folder() / training_file).is_file():
        train = _rows(training_file)
    else:
        tell(f"HellaSwag: {training_file} is not there; examples are other rows of {file}")
    return {"validation": Dataset.from_list(validation), "train": Dataset.from_list(train)}


class OfOtherSources(ContextSampler):
    """The harness's draw; where that meets the item's own source, it is drawn again from the other sources."""

    def sample(self, n: int, eval_doc: dict[str, Any] | None = None, df: Any = None, **_: Any) -> list[dict[str, Any]]:
        """`n` examples for `eval_doc`."""
        drawn = super().sample(n, eval_doc, df)
        if eval_doc is None or all(one["source"] != eval_doc["source"] for one in drawn):
            return drawn
        return self.rnd.sample([one for one in self.fewshot_docs() if one["source"] != eval_doc["source"]], n)


def _rows(file: str) -> list[dict[str, Any]]:
    return [_row(row, where, number) for number, (where, row) in enumerate(local_data.rows(file, MADE_BY))]


def _row(row: dict[str, Any], where: str, number: int) -> dict[str, Any]:
    try:
        context = row["ctx_a"] + " " + row["ctx_b"].capitalize()
        right, endings = int(row["label"]), [_plain(ending) for ending in row["endings"]]
        if not 0 <= right < len(endings):
            raise ValueError(f"label {right} of {len(endings)} endings")
        return {
            "id": str(number),
            "source": row["source_id"],
            "query": _plain(row["activity_label"] + ": " + context),
            "choices": endings,
            "answer": right,
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{where}: not a row of HellaSwag with its label ({type(error).__name__}: {error}). "
            f"Fetch the file again: {MADE_BY}"
        ) from error


def _plain(text: str) -> str:
    """Without WikiHow's marks in brackets, as the harness takes them off."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")
