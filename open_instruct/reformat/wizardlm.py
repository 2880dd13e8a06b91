"""WizardLM (Evol-Instruct V2): 30,000 rows drawn of 143,000, as in Tulu's second mixture. Human and gpt by turns."""

from collections.abc import Iterator

from open_instruct.reformat import sharegpt
from open_instruct.reformat.base import Example, File, Job, Rejected, Source

SOURCE = Source(
    about="instructions of Alpaca and ShareGPT made harder step by step by ChatGPT",
    page="https://huggingface.co/datasets/WizardLM/WizardLM_evol_instruct_V2_196k",
    licence="MIT",
    files=(
        File(
            "WizardLM_evol_instruct_V2_143k.json",
            "https://huggingface.co/datasets/WizardLM/WizardLM_evol_instruct_V2_196k/resolve/main/"
            "WizardLM_evol_instruct_V2_143k.json",
            draw=30_000,
        ),
    ),
    published=30_000,
    published_in="Tulu v2, arXiv 2311.10702",
)
FORMS = (("idx", "conversations"),)


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    for example in sharegpt.examples({"id": row["idx"], **row}, job):
        if isinstance(example, Example):
            example.id = f"wizardlm_{row['idx']}"
        yield example
