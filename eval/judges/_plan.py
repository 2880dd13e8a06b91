"""A dry run: how many requests a judge would be sent, how many tokens these are, and what they cost.

Requests and prompt tokens are counted, at 4 characters a token; an answer is taken to be as long as the longest example
of the prompt.
"""

from eval.judges._items import Item
from eval.judges._llm import Asking, Kind
from eval.judges._prompt import Prompt, load

CHARACTERS_A_TOKEN = 4  # of English under the tokenizers of large models, rounded down
_SHORTEST = 16  # tokens of a verdict where the prompt has no example


def table(kind: Kind, items: list[Item], asking: Asking) -> str:
    """The plan for a terminal."""
    prompt = load(asking.prompt or kind.name, asking.prompts)
    asked = kind.plan(items, asking)
    tokens_in = sum(len(message["content"]) for messages in asked for message in messages) // CHARACTERS_A_TOKEN
    tokens_out = len(asked) * _answer_tokens(prompt)
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
            f"- tokens are counted at {CHARACTERS_A_TOKEN} characters each; answers as long as the prompt's examples",
            "- verdicts that are journaled already cost nothing again; ones that cannot be read are asked again",
        ]
    )


def _answer_tokens(prompt: Prompt) -> int:
    answers = [message["content"] for message in prompt.orders[0] if message["role"] == "assistant"]
    return max(map(len, answers)) // CHARACTERS_A_TOKEN + 1 if answers else _SHORTEST
