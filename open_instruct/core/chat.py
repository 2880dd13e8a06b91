"""Chat templates, and which tokens of a conversation are the assistant's.

A template is a file of `chat_templates/`. Fine-tuning writes it into the tokenizer of the checkpoint
(`set_template`), and from there evaluation and serving read it: there is no second copy. Training learns the
assistant's tokens only (`encode`).
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from open_instruct.core.errors import UserError

_FOLDER = Path(__file__).parent / "chat_templates"
# The token that ends an assistant's turn where it is not the tokenizer's end-of-sequence token.
_END_OF_TURN = {"llama3": "<|eot_id|>"}


def template_names() -> list[str]:
    """The templates there are."""
    return sorted(path.stem for path in _FOLDER.glob("*.jinja"))


def set_template(tokenizer: PreTrainedTokenizerBase, name: str) -> int:
    """Write the template `name` into `tokenizer` and return the id of the token that ends an assistant's turn.

    Raises:
        UserError: no such template, or the tokenizer lacks the tokens it needs.
    """
    if name not in template_names():
        raise UserError(f"no chat template named {name!r}; there are: {', '.join(template_names())}")
    if tokenizer.eos_token is None:
        raise UserError(
            f"{tokenizer.name_or_path}: the tokenizer has no end-of-sequence token, which ends every answer"
        )
    end = _END_OF_TURN.get(name, tokenizer.eos_token)
    if end not in tokenizer.get_vocab():
        raise UserError(
            f"{tokenizer.name_or_path}: the tokenizer has no token {end}, which the chat template {name!r} needs; "
            "choose tulu, alpaca or vicuna"
        )
    tokenizer.chat_template = (_FOLDER / f"{name}.jinja").read_text()
    return tokenizer.convert_tokens_to_ids(end)


def encode(
    conversations: Sequence[list[dict[str, str]]], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of each conversation, and its labels: the ids where the assistant speaks (its end-of-turn token
    too), else -100.

    Args:
        conversations: each a list of {"role", "content"}.
        tokenizer: a fast one, whose chat template marks the assistant's text with `{% generation %}`.

    Raises:
        UserError: the template has no such marks.
    """
    if "{%- generation" not in (tokenizer.chat_template or "") and "{% generation" not in (
        tokenizer.chat_template or ""
    ):
        raise UserError(
            f"{tokenizer.name_or_path}: its chat template does not mark the assistant's text with "
            f"{{% generation %}}; name one of ours with --prompt_template: {', '.join(template_names())}"
        )
    if not conversations:
        return [], []
    encoded = tokenizer.apply_chat_template(
        list(conversations), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    labels = [
        [token if mine else -100 for token, mine in zip(ids, mask, strict=True)]
        for ids, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    ]
    return encoded["input_ids"], labels
