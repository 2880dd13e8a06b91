"""Unnatural Instructions, core data: 68,478 instances.

Conversion as in allenai/open-instruct e44fcf588, reformat_datasets.py.
A task's constraints follow its instruction on a line of their own, unless they are "none".
"""

from collections.abc import Iterator

from open_instruct.reformat._encode import encoded
from open_instruct.reformat.base import Example, File, Job, Rejected, Source

SOURCE = Source(
    about="instructions and instances made by text-davinci-002 from a few examples",
    page="https://github.com/orhonovich/unnatural-instructions",
    licence="MIT",
    files=(
        File(
            "core_data.zip",
            "https://github.com/orhonovich/unnatural-instructions/raw/main/data/core_data.zip",
            holds="core_data.jsonl",
        ),
    ),
    published=68_478,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
)
FORMS = (("instruction", "instances"),)


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    for instance in row["instances"]:
        example = encoded(
            _instruction(row["instruction"], instance), instance.get("input"), instance.get("output"), job
        )
        yield example


def _instruction(instruction: object, instance: dict) -> object:
    constraints = instance.get("constraints") or ""
    if not isinstance(instruction, str) or not isinstance(constraints, str):
        return instruction
    if not constraints.strip() or constraints.strip().lower() in ("none", "none."):
        return instruction
    return f"{instruction}\n{constraints}"
