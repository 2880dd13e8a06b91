"""Scores a stored response to a prompt of IFEval, without a model. Called by `eval.rescore`.

The field of the right answer is the prompt itself, as in the response files of IFEval's authors ({"prompt",
"response"}): which instructions it holds stands in the data folder.
"""

from functools import cache
from pathlib import Path
from typing import Any

from eval.scoring.data_files import data_file
from eval.tasks.ifeval.ifeval import items, score

FILE = "ifeval/input_data.jsonl"


def score_answer(response: str, prompt: str) -> dict[str, Any]:
    """The four figures of the harness, as `score` gives them.

    Raises:
        ValueError: there is no such prompt in the data.
    """
    known = _by_prompt(data_file(FILE))
    if prompt not in known:
        raise ValueError(f"no prompt of IFEval: {prompt[:60]!r}")
    return score(known[prompt], [response])


@cache
def _by_prompt(_: Path) -> dict[str, dict[str, Any]]:
    return {item["prompt"]: item for item in items(FILE)["train"]}
