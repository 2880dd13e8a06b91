"""Baize: 210,311 conversations of ChatGPT with itself.

Conversion as in allenai/open-instruct e44fcf588, reformat_datasets.py.
Four files: questions of Alpaca, a medical forum, Quora and Stack Overflow. A conversation is one text with marks.
"""

from collections.abc import Iterator

from open_instruct.reformat.base import Example, File, Job, Rejected, Source, turns

_FOLDER = "https://github.com/project-baize/baize-chatbot/raw/main/data"
SOURCE = Source(
    about="conversations that ChatGPT held with itself",
    page="https://github.com/project-baize/baize-chatbot",
    licence="CC BY-NC 4.0 (research)",
    files=tuple(
        File(f"{topic}_chat_data.json", f"{_FOLDER}/{topic}_chat_data.json")
        for topic in ("alpaca", "medical", "quora", "stackoverflow")
    ),
    published=210_311,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
)
FORMS = (("input",),)

HUMAN, AI = "[|Human|]", "[|AI|]"


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    text = row["input"]
    if not isinstance(text, str) or HUMAN not in text:
        yield Rejected(f"field 'input' holds no {HUMAN}")
        return
    messages = []
    for spoken in text.split(HUMAN)[1:]:
        question, mark, answer = spoken.partition(AI)
        if not mark:
            if question.strip():
                job.note("question left out: nobody answers it")
            continue
        if AI in answer:
            yield Rejected(f"two {AI} follow one {HUMAN}")
            return
        messages += turns(question.strip(), answer.strip())
    yield Example(messages)
