"""What texts are in tokens, and what asking will cost, before anything is asked.

Dry runs of stage 1, of the judges of evaluation and of difficulty scores count through here, and what counts the
lengths of rows. It must not need a model: without a tokenizer, so many characters are taken for a token.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from open_instruct.core.asking import Spent
from open_instruct.core.progress import Prices
from open_instruct.engines.base import Message

CHARACTERS_A_TOKEN = 4  # of English under the tokenizers of large models, rounded down


def token_counter(tokenizer: str) -> Callable[[str], int]:
    """A function that counts the tokens of a text, special ones left out.

    Args:
        tokenizer: folder of a checkpoint; "" counts characters.

    Raises:
        UserError: the folder holds no tokenizer.
    """
    if not tokenizer:
        return lambda text: -(-len(text) // CHARACTERS_A_TOKEN)
    from open_instruct.core.checkpoint import load_tokenizer  # transformers: only where it is needed

    loaded, _ = load_tokenizer(Path(tokenizer))
    return lambda text: len(loaded(text, add_special_tokens=False)["input_ids"])


def how_counted(tokenizer: str) -> str:
    """How `token_counter` counts, to be told beside its figures."""
    return f"with {tokenizer}" if tokenizer else f"at {CHARACTERS_A_TOKEN} characters each"


def answer_tokens(examples: Sequence[Message], most: int) -> int:
    """About how many tokens an answer has: as the longest one among the examples of its prompt, or else `most`."""
    answers = [message["content"] for message in examples if message["role"] == "assistant"]
    return max(map(len, answers)) // CHARACTERS_A_TOKEN + 1 if answers else most


def dry_run_table(what: str, answers: str, spent: Spent, prices: Prices) -> str:
    """The dry run of a judge, for a terminal.

    Args:
        what: is not asked.
        answers: what the judge's answers are called: "votes".
        spent: requests (`answers`) and tokens, with `answer_tokens` for each answer.
    """
    lines = [
        f"dry run: nothing is asked. {what}",
        "",
        f"{'requests':<12}{spent.answers:>16,}",
        f"{'tokens in':<12}{spent.tokens_in:>16,}",
        f"{'tokens out':<12}{spent.tokens_out:>16,}",
    ]
    if prices:
        lines.append(f"{'cost':<12}{prices.cost(spent.tokens_in, spent.tokens_out):>16,.2f}")
    return "\n".join(
        [
            *lines,
            "",
            f"- tokens are counted {how_counted('')}; answers as long as the prompt's",
            f"- {answers} that are journaled already cost nothing again; ones that cannot be read are asked again",
        ]
    )
