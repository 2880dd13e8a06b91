"""Long conversations, cut into parts at turn borders.

A part is a run of whole pairs of question and answer, as long as the limit allows; a pair that is too long by itself is
left out, and the next part begins after it. Source: allenai/open-instruct, split_sharegpt_conversations.py.

The published script loses the last pair when it is the one that no longer fits; here it becomes a part of its own.
"""

from collections.abc import Callable, Iterator

from open_instruct.core.errors import UserError
from open_instruct.core.estimate import CHARACTERS_A_TOKEN
from open_instruct.reformat.base import Message, Rejected

TURN_TOKENS = 6  # what a chat format adds to a message, as the published split counts it


def parts(
    messages: list[Message], max_length: int, tokens: Callable[[list[str]], list[int]]
) -> Iterator[tuple[int, list[Message] | Rejected]]:
    """Cut a conversation.

    Args:
        messages: perhaps a system message, then turns by twos; an odd last turn is not looked at.
        max_length: longest part, in tokens, `TURN_TOKENS` a message included.
        tokens: counts the tokens of each of several texts.

    Yields:
        The number of the part's first turn, from 0, and the part (each with the system message), or why a pair is out.
    """
    system = messages[:1] if messages and messages[0]["role"] == "system" else []
    turns = messages[len(system) :]
    lengths = [count + TURN_TOKENS for count in tokens([message["content"] for message in messages])]
    room = max_length - sum(lengths[: len(system)])
    start, length = 0, 0
    for turn in range(0, len(turns) - 1, 2):
        pair = sum(lengths[len(system) + turn : len(system) + turn + 2])
        if length + pair > room:
            if turn > start:
                yield start, system + turns[start:turn]
            start, length = turn, 0
        if pair > room:
            yield (
                turn,
                Rejected(f"a question and its answer exceed {max_length} tokens; turn {turn + 1}: {pair}"),
            )
            start = turn + 2
        else:
            length += pair
    end = len(turns) // 2 * 2
    if end > start:
        yield start, system + turns[start:end]


def token_counter(tokenizer: str) -> Callable[[list[str]], list[int]]:
    """Count the tokens of texts with the tokenizer in a folder, special tokens included as published; else characters.

    Raises:
        UserError: the folder holds no tokenizer.
    """
    if not tokenizer:
        return lambda texts: [-(-len(text) // CHARACTERS_A_TOKEN) for text in texts]
    from transformers import AutoTokenizer
    from transformers.utils import logging

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{tokenizer}: no tokenizer ({str(error).splitlines()[0]}); "
            "expected a checkpoint's folder. Without --tokenizer lengths are counted by characters."
        ) from error
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is not None:  # on all cores, without a Python list of every text's tokens
        backend.no_truncation()
        backend.no_padding()
        return lambda texts: [len(encoding) for encoding in backend.encode_batch_fast(texts)]
    logging.set_verbosity_error()  # it would warn of every text beyond the model's length, which is what we look for
    return lambda texts: [len(ids) for ids in loaded(texts)["input_ids"]] if texts else []
