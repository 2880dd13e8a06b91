"""Databricks Dolly: 15,011 instructions written by people.

Conversion as in allenai/open-instruct e44fcf588, reformat_datasets.py: `context` is the input.
Also taken: the same rows with Alpaca's field names (instruction, input, output), as filtered subsets of it have them.
"""

from collections.abc import Iterator

from open_instruct.reformat._encode import encoded
from open_instruct.reformat.base import Example, File, Job, Rejected, Source

SOURCE = Source(
    about="instructions and answers written by Databricks' employees",
    page="https://huggingface.co/datasets/databricks/databricks-dolly-15k",
    licence="CC BY-SA 3.0",
    files=(
        File(
            "databricks-dolly-15k.jsonl",
            "https://huggingface.co/datasets/databricks/databricks-dolly-15k/resolve/main/databricks-dolly-15k.jsonl",
        ),
    ),
    published=15_011,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
)
FORMS = (("instruction", "context", "response"), ("instruction", "input", "output"))


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    if "context" in row:
        yield encoded(row["instruction"], row["context"], row["response"], job)
    else:
        yield encoded(row["instruction"], row["input"], row["output"], job)
