"""Stanford Alpaca: 52,002 instructions and answers made by text-davinci-003.

A template is drawn for each row (allenai/open-instruct e44fcf588, reformat_datasets.py).
"""

from collections.abc import Iterator

from open_instruct.reformat._encode import encoded
from open_instruct.reformat.base import Example, File, Job, Rejected, Source

SOURCE = Source(
    about="instructions and answers made by text-davinci-003",
    page="https://github.com/tatsu-lab/stanford_alpaca",
    licence="CC BY-NC 4.0",
    files=(File("alpaca_data.json", "https://github.com/tatsu-lab/stanford_alpaca/raw/main/alpaca_data.json"),),
    published=52_002,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
)
FORMS = (("instruction", "output"),)


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    yield encoded(row["instruction"], row.get("input"), row["output"], job)
