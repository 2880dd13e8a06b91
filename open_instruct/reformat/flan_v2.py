"""FLAN v2, the 100,000 rows that were drawn of it for Tulu.

Conversion as in allenai/open-instruct e44fcf588, reformat_datasets.py.
Shares of its parts in the draw: FLAN 2021 4 x .10, T0 4 x .08, Super-NaturalInstructions 2 x .10, CoT 2 x .025,
dialog 2 x .015. The drawn file is what is published, so nothing is drawn here.
"""

from collections.abc import Iterator

from open_instruct.reformat.base import Example, File, Job, Rejected, Source, turns

SOURCE = Source(
    about="the FLAN collection, 100,000 rows of it",
    page="https://github.com/google-research/FLAN/tree/main/flan/v2",
    licence="Apache-2.0",
    files=(
        File(
            "flan_v2_resampled_100k.jsonl",
            "https://beaker.org/api/v3/datasets/01GZTTS2EJFPA83PXS4FQCS1SA/files/flan_v2_resampled_100k.jsonl",
        ),
    ),
    published=100_000,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
)
FORMS = (("inputs", "targets"),)


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    yield example(row["inputs"], row["targets"])


def example(prompt: object, answer: object) -> Example | Rejected:
    """A row of the FLAN collection: the prompt ends in a line break, unless it asks on with a colon."""
    for name, text in (("inputs", prompt), ("targets", answer)):
        if not isinstance(text, str) or not text.strip():
            return Rejected(f"field {name!r} is blank or no text")
    if not prompt.endswith("\n") and not prompt.rstrip().endswith(":"):
        prompt += "\n"
    return Example(turns(prompt, answer))
