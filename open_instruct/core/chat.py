"""Chat templates, and which tokens of a conversation are the assistant's.

A template is a file of `chat_templates/`. Fine-tuning writes it into the tokenizer of the checkpoint
(`set_template`), and from there evaluation and serving read it: there is no second copy. Training learns the
assistant's tokens only (`encode`).
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

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
    texts, turns = render_jinja_template(
        list(conversations),
        chat_template=tokenizer.chat_template,
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
    )
    encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
    ids, labels = [], []
    for text, spans, encoding in zip(texts, turns, encoded.encodings, strict=True):
        own = _labels(encoding, spans)
        if own is None:
            own_ids, own = _encode_in_pieces(text, spans, tokenizer)
        else:
            own_ids = encoding.ids
        ids.append(own_ids)
        labels.append(own)
    return ids, labels


def _labels(encoding: Encoding, spans: Sequence[tuple[int, int]]) -> list[int] | None:
    """The labels of a text whose `spans` of characters are the assistant's; None where a token reaches into one."""
    ids = encoding.ids
    labels = [-100] * len(ids)
    for begin, end in spans:
        # Some tokenizers leave a space out of every token.
        first = next((token for at in range(begin, end) if (token := encoding.char_to_token(at)) is not None), None)
        if first is None:
            continue
        if encoding.token_to_chars(first)[0] < begin:
            return None
        last = next(token for at in range(end - 1, begin - 1, -1) if (token := encoding.char_to_token(at)) is not None)
        labels[first : last + 1] = ids[first : last + 1]
    return labels


def _encode_in_pieces(
    text: str, spans: Sequence[tuple[int, int]], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[int]]:
    """As `encode`, with each answer tokenized apart from what comes before it.

    For text in which a token holds the end of the prompt and the beginning of the answer (two line breaks, often). A
    model that is asked has the prompt in tokens of its own: such a token never follows it.
    """
    begins = [0, *(begin for begin, _ in spans)]
    ends = [0, *(end for _, end in spans)]
    ids, labels = [], []
    for begin, end, stop in zip(begins, ends, [*begins[1:], len(text)], strict=True):
        encoding, ahead = _continued(text[begin:stop], tokenizer) if begin else _encoded(text[begin:stop], tokenizer)
        more = _labels(encoding, [(ahead, ahead + end - begin)])
        first = encoding.char_to_token(ahead) if ahead else 0
        ids += encoding.ids[first:]
        labels += more[first:]
    return ids, labels


def _continued(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[Encoding, int]:
    """The encoding of `text` as it is after other text, and how many characters of that stand ahead of it there.

    Tokenizers such as Llama 2's put a space in front of a text, which no answer begins with.
    """
    for other in ("a", ".", "\n"):
        encoding, _ = _encoded(other + text, tokenizer)
        first = encoding.char_to_token(len(other))
        if first is not None and encoding.token_to_chars(first)[0] == len(other):
            return encoding, len(other)
    return _encoded(text, tokenizer)


def _encoded(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[Encoding, int]:
    (encoding,) = tokenizer([text], add_special_tokens=False, verbose=False).encodings
    return encoding, 0
