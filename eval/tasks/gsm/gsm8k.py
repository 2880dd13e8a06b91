"""GSM8K: grade-school word problems, with the prompt, the eight examples and the scoring of lm-evaluation-harness.

The examples (those of Wei et al., 2022) and the harness's two rules for the answer are read from its own `gsm8k_cot`,
as it is installed, so that none of them has a second copy here. `exact_match`, which leads, is by our own rule: the
value of the last number.
"""

import random
from typing import Any

from datasets import Dataset
from lm_eval.api.metrics import exact_match_fn

from eval import local_data
from eval.scoring.data_files import MADE_BY
from eval.scoring.harness import definition, rules
from eval.scoring.numbers import last_number, number_match
from open_instruct.core.errors import UserError

_HARNESS = "gsm8k/gsm8k-cot.yaml"
TULU_SEED = 42  # open-instruct draws its 200 items with it (eval/gsm/run_eval.py)


def items(file: str, subset: int = 0, **_settings: Any) -> dict[str, Dataset]:
    """The test questions, as the split `test`.

    Args:
        file: JSONL of {"question", "answer"}, the answer ending in "#### NUMBER", relative to the data folder.
        subset: take only so many, the ones that Tulu's evaluation takes; 0 takes all.

    Raises:
        UserError: the file is missing, or a row is no such question; the line says where.
    """
    rows = [_checked(row, where, number) for number, (where, row) in enumerate(local_data.rows(file, MADE_BY))]
    if subset:
        rows = random.Random(TULU_SEED).sample(rows, min(subset, len(rows)))
    return {"test": Dataset.from_list(rows)}


def examples() -> list[dict[str, str]]:
    """The eight examples, their solutions worked out."""
    return definition(_HARNESS)["fewshot_config"]["samples"]


def direct_examples() -> list[dict[str, str]]:
    """The same, with the number alone as the solution."""
    return [{**one, "target": str(last_number(one["target"]))} for one in examples()]


def target(item: dict[str, str]) -> str:
    """The right number of an item; the solution of an example."""
    return item["answer"].split("####")[-1].strip() if "answer" in item else item["target"]


def score(item: dict[str, str], responses: list[str]) -> dict[str, float]:
    """`exact_match`, and what the harness's two rules say: `flexible_extract` and `strict_match`, each 0 or 1."""
    found = {"exact_match": number_match(responses[0], target(item))}
    options = {name: value for name, value in definition(_HARNESS)["metric_list"][0].items() if name in _OPTIONS}
    for rule, regex in rules(_HARNESS).items():
        (extracted,) = regex.apply([responses], [item])
        scored = exact_match_fn(predictions=extracted[:1], references=[target(item)], **options)
        found[rule.replace("-", "_")] = float(scored["exact_match"])
    return {name: found[name] for name in ("exact_match", "flexible_extract", "strict_match")}


_OPTIONS = ("ignore_case", "ignore_punctuation", "regexes_to_ignore")


def _checked(row: dict[str, Any], where: str, number: int) -> dict[str, str]:
    question, answer = row.get("question"), row.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str) or last_number(target(row)) is None:
        raise UserError(f'{where}: expected question, and answer ending in "#### NUMBER". Fetch it again: {MADE_BY}')
    return {"id": str(number), "question": question, "answer": answer}
