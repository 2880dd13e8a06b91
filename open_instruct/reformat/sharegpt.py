"""ShareGPT: 168,864 parts of conversations with ChatGPT, of the HTML-cleaned files.

Conversion as in allenai/open-instruct e44fcf588, reformat_datasets.py.
Conversations are split into parts of at most 2,048 tokens. A part with a sender other than human and ChatGPT (system,
bing), or with senders that do not take turns, is rejected; the rest of its conversation stays.
"""

from collections.abc import Iterator

from open_instruct.reformat.base import Example, File, Job, Rejected, Source

_FOLDER = (
    "https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered/resolve/main/HTML_cleaned_raw_dataset"
)
SOURCE = Source(
    about="conversations with ChatGPT that its users shared",
    page="https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered",
    licence="Apache-2.0 (the data set's page); the conversations are their authors'",
    files=tuple(
        File(name, f"{_FOLDER}/{name}") for name in ("sg_90k_part1_html_cleaned.json", "sg_90k_part2_html_cleaned.json")
    ),
    published=168_864,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
    max_length=2048,
)
FORMS = (("id", "conversations"),)

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant"}


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    messages = []
    for turn in row["conversations"]:
        if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
            yield Rejected("a turn is no {from, value}")
            return
        sender = turn.get("from")
        messages.append({"role": ROLES.get(sender, f"sender {sender}"), "content": turn["value"]})
    if len(messages) < 2:
        yield Rejected("no question with an answer")
        return
    yield Example(messages, f"sharegpt_{row['id']}")
