"""OpenOrca: 30,000 rows drawn of the million that GPT-4 answered, as in Tulu's second mixture (none of GPT-3.5's).

A blank system prompt is left out.
"""

from collections.abc import Iterator

from open_instruct.reformat.base import Example, File, Job, Rejected, Source, turns

SOURCE = Source(
    about="questions of the FLAN collection, answered by GPT-4 under sixteen system prompts",
    page="https://huggingface.co/datasets/Open-Orca/OpenOrca",
    licence="MIT",
    files=(
        File(
            "1M-GPT4-Augmented.parquet",
            "https://huggingface.co/datasets/Open-Orca/OpenOrca/resolve/main/1M-GPT4-Augmented.parquet",
            draw=30_000,
        ),
    ),
    published=30_000,
    published_in="Tulu v2, arXiv 2311.10702",
)
FORMS = (("id", "system_prompt", "question", "response"),)


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    messages = turns(row["question"], row["response"], row["system_prompt"] or "")
    yield Example(messages, f"open_orca_{row['id']}")
