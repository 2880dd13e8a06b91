"""A dry run: how many requests a judge would be sent, how many tokens these are, and what they cost.

Requests and prompt tokens are counted; an answer is taken to be as long as the longest example of the prompt, or else
as its limit.
"""

from eval.judges._items import Item
from eval.judges._llm import Asking, Kind
from open_instruct.core.asking import Spent
from open_instruct.core.estimate import CHARACTERS_A_TOKEN, dry_run_table


def table(kind: Kind, items: list[Item], asking: Asking) -> str:
    """The plan for a terminal."""
    asked, answer_tokens = kind.plan(items, asking)
    tokens_in = sum(len(message["content"]) for messages in asked for message in messages) // CHARACTERS_A_TOKEN
    what = f"{len(items):,} rows for the judge {kind.name} ({asking.engine})"
    return dry_run_table(what, "verdicts", Spent(len(asked), tokens_in, len(asked) * answer_tokens), asking.prices)
