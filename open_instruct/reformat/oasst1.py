"""OpenAssistant: 34,795 paths through trees of messages.

Conversion as in allenai/open-instruct e44fcf588, reformat_datasets.py.
One conversation for every assistant message, from the root down to it, so the beginnings of conversations repeat.
Also taken: rows of one prompt and its completion, as subsets of it for other uses have them.
"""

from collections.abc import Iterator

from open_instruct.reformat.base import Example, File, Job, Message, Rejected, Source, turns

SOURCE = Source(
    about="trees of conversations written by volunteers, in many languages",
    page="https://huggingface.co/datasets/OpenAssistant/oasst1",
    licence="Apache-2.0",
    files=(
        File(
            "2023-04-12_oasst_ready.trees.jsonl.gz",
            "https://huggingface.co/datasets/OpenAssistant/oasst1/resolve/main/2023-04-12_oasst_ready.trees.jsonl.gz",
            holds="2023-04-12_oasst_ready.trees.jsonl",
        ),
    ),
    published=34_795,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
)
FORMS = (("prompt", "completion"), ("prompt", "message_tree_id"))

_ROLES = {"prompter": "user", "assistant": "assistant"}


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    if "completion" in row:
        yield Example(turns(row["prompt"], row["completion"]))
        return
    for number, messages in enumerate(_paths(row["prompt"], [])):
        yield Example(messages, f"oasst1_{row['message_tree_id']}_{number}")


def _paths(node: dict, above: list[Message]) -> Iterator[list[Message]]:
    """The conversations that end at the assistant messages of a tree, depth first."""
    message = {"role": _ROLES.get(node.get("role"), f"sender {node.get('role')}"), "content": node.get("text")}
    messages = [*above, message]
    if message["role"] != "user":
        yield messages
    for reply in node.get("replies") or ():
        yield from _paths(reply, messages)
