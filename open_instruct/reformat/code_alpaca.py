"""Code Alpaca: 20,022 programming tasks made by text-davinci-003.

A template is drawn for each row (allenai/open-instruct e44fcf588, reformat_datasets.py).
"""

from collections.abc import Iterator

from open_instruct.reformat._encode import encoded
from open_instruct.reformat.base import Example, File, Job, Rejected, Source

SOURCE = Source(
    about="programming tasks and answers made by text-davinci-003",
    page="https://github.com/sahil280114/codealpaca",
    licence="CC BY-NC 4.0",
    files=(
        File("code_alpaca_20k.json", "https://github.com/sahil280114/codealpaca/raw/master/data/code_alpaca_20k.json"),
    ),
    published=20_022,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
)
FORMS = (("instruction", "output"),)


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    yield encoded(row["instruction"], row.get("input"), row["output"], job)
