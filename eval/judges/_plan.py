"""A dry run: how many requests a judge would be sent, how many tokens these are, and what they cost.

Requests and prompt tokens are counted, at 4 characters a token; an answer is taken to be as long as the longest example
of the prompt, or else as its limit.
"""

from eval.judges._items import Item
from eval.judges._llm import Asking, Kind
from eval.judges._prompt import CHARACTERS_A_TOKEN


def table(kind: Kind, items: list[Item], asking: Asking) -> str:
    """The plan for a terminal."""
    asked, answer_tokens = kind.plan(items, asking)
    tokens_in = sum(len(message["content"]) for messages in asked for message in messages) // CHARACTERS_A_TOKEN
    tokens_out = len(asked) * answer_tokens
    lines = [
        f"dry run: nothing is asked. {len(items):,} rows for the judge {kind.name} ({asking.engine})",
        "",
        f"{'requests':<12}{len(asked):>16,}",
        f"{'tokens in':<12}{tokens_in:>16,}",
        f"{'tokens out':<12}{tokens_out:>16,}",
    ]
    if asking.prices:
        lines.append(f"{'cost':<12}{asking.prices.cost(tokens_in, tokens_out):>16,.2f}")
    return "\n".join(
        [
            *lines,
            "",
            f"- tokens are counted at {CHARACTERS_A_TOKEN} characters each; answers as long as the prompt's",
            "- verdicts that are journaled already cost nothing again; ones that cannot be read are asked again",
        ]
    )
