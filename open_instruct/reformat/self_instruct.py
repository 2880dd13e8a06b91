"""Self-Instruct: 82,439 instances made by GPT-3.

Conversion as in allenai/open-instruct e44fcf588, reformat_datasets.py.
Also taken: its seed tasks, where one instruction has several instances.
"""

from collections.abc import Iterator

from open_instruct.reformat._encode import encoded
from open_instruct.reformat.base import Example, File, Job, Rejected, Source

SOURCE = Source(
    about="instructions and instances made by GPT-3",
    page="https://github.com/yizhongw/self-instruct",
    licence="Apache-2.0",
    files=(
        File(
            "all_instances_82K.jsonl",
            "https://raw.githubusercontent.com/yizhongw/self-instruct/main/data/gpt3_generations/batch_221203/"
            "all_instances_82K.jsonl",
        ),
    ),
    published=82_439,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
)
FORMS = (("instruction", "instances"), ("instruction", "input", "output"))


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    for instance in row.get("instances", [row]):
        yield encoded(row["instruction"], instance.get("input"), instance.get("output"), job)
