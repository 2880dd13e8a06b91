"""LIMA: 1,030 conversations chosen by hand. Fields: `conversations`, a list of texts, the user's first.

The file is the one in the working repository of the SIT paper; its upstream, GAIR/lima, asks to accept its terms first.
The other multi-turn sources of Tulu's second mixture are converted alike (question and answer by turns).
"""

from collections.abc import Iterator

from open_instruct.reformat.base import Example, File, Job, Rejected, Source

SOURCE = Source(
    about="questions and answers chosen by hand from forums, and some written for it",
    page="https://huggingface.co/datasets/GAIR/lima",
    licence="CC BY-NC-SA, or stricter where the source of a row is",
    files=(
        File(
            "lima.jsonl",
            "https://raw.githubusercontent.com/simonucl/Seq_IT/58c24120221badc74265f65ceb3e4903f1b81f71/"
            "self-seq/data/lima.jsonl",
            bytes=2_980_036,
            sha256="05e6c0227852eb130770a211d63abb36909284a2f1bab06b3e9c8f4d47a29a50",
        ),
    ),
    published=1_030,
    published_in="Tulu v2, arXiv 2311.10702",
)
FORMS = (("conversations",),)


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    spoken = row["conversations"]
    if not spoken or not all(isinstance(text, str) for text in spoken):
        yield Rejected("field 'conversations' is no list of texts")
        return
    yield Example([{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(spoken)])
