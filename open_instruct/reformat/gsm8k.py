"""GSM8K's training questions: 7,473 word problems with worked answers.

No part of the Tulu mixtures. The calculator's marks (<<48/2=24>>) are taken out, and the last line, "#### 72", becomes
"So the answer is 72.".
"""

import re
from collections.abc import Iterator

from open_instruct.reformat.base import Example, File, Job, Rejected, Source, turns

SOURCE = Source(
    about="word problems of primary school, with worked answers",
    page="https://github.com/openai/grade-school-math",
    licence="MIT",
    files=(
        File(
            "gsm8k_train.jsonl",
            "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/"
            "grade_school_math/data/train.jsonl",
            bytes=4_166_206,
            sha256="17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
        ),
    ),
    published=7_473,
    published_in="openai/grade-school-math",
)
FORMS = (("question", "answer"),)

_MARK = re.compile(r"<<[^>]*>>")


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    steps, mark, result = row["answer"].rpartition("\n#### ")
    if not mark:
        yield Rejected('the answer has no last line "#### RESULT"')
        return
    yield Example(turns(row["question"], f"{_MARK.sub('', steps)}\nSo the answer is {result.strip()}."))
