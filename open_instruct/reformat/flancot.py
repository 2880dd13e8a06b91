"""FlanCoT: 100,000 rows of FLAN's chain-of-thought part answered by GPT models (arXiv 2403.07794).

The rows have `instruction`, `output` and `system_prompt` (or, before SIT renamed them, `question` and `response`).
The only address known is that of the published generation script: a temporary repository of one of the authors.
"""

from collections.abc import Iterator

from open_instruct.reformat.alpaca_cleaned import example
from open_instruct.reformat.base import Example, File, Job, Rejected, Source

SOURCE = Source(
    about="chain-of-thought questions of the FLAN collection, with system prompts and worked answers",
    page="https://huggingface.co/datasets/HanxuHU/FlanCoT_100k_seq (its sequential form; the plain rows have no page)",
    licence="CC BY 4.0 (the sequential form)",
    files=(
        File(
            "flancot_100k.jsonl",
            "https://huggingface.co/simonycl/temp_file/resolve/main/sit/flancot/flancot_100k.jsonl",
        ),
    ),
    published=100_000,
    published_in="SIT, arXiv 2403.07794",
)
FORMS = (("instruction", "output"), ("question", "response"))


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    if "question" in row:
        row = {"instruction": row["question"], "output": row["response"], "system_prompt": row.get("system_prompt")}
    yield example(row)
