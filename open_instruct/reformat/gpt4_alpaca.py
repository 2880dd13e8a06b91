"""GPT-4 Alpaca: Alpaca's instructions answered by GPT-4; the English file alone, as published.

A template is drawn for each row (allenai/open-instruct e44fcf588, reformat_datasets.py).
"""

from collections.abc import Iterator

from open_instruct.reformat._encode import encoded
from open_instruct.reformat.base import Example, File, Job, Rejected, Source

SOURCE = Source(
    about="Alpaca's instructions, answered by GPT-4 (English)",
    page="https://github.com/Instruction-Tuning-with-GPT-4/GPT-4-LLM",
    licence="CC BY-NC 4.0",
    files=(
        File(
            "alpaca_gpt4_data.json",
            "https://github.com/Instruction-Tuning-with-GPT-4/GPT-4-LLM/raw/main/data/alpaca_gpt4_data.json",
        ),
    ),
    published=52_002,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
)
FORMS = (("instruction", "output"),)


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    yield encoded(row["instruction"], row.get("input"), row["output"], job)
