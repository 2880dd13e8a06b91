"""Training rows as token ids and labels: conversations, or instructions with their answers.

`finetune.py` calls this before it trains. Nothing is dropped without being counted.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
from datasets import Dataset
from datasets.table import InMemoryTable
from transformers import PreTrainedTokenizerBase

from open_instruct.core.chat import encode
from open_instruct.core.errors import UserError
from open_instruct.core.records import Conversation, Instruction, read_rows


def encoded_rows(
    path: str, max_length: int, tokenizer: PreTrainedTokenizerBase, most: int = -1
) -> tuple[Dataset, dict[str, int]]:
    """Encode the training rows of a file, or the first `most` of them.

    Returns:
        A dataset of `input_ids` and `labels` (-100 where nothing is learned), and the counts of rows and tokens: rows
        without an answer, or with none left after the cut to `max_length`, are dropped.
    """
    limit = None if most < 0 else most
    columns: dict[str, list[pa.Array]] = {"input_ids": [], "labels": []}
    counts = dict.fromkeys(_COUNTS, 0)
    rows = islice(_conversations(path), limit)
    while chunk := list(islice(rows, 1000)):
        counts["rows_read"] += len(chunk)
        answered = [row for row in chunk if row is not None]
        counts["rows_without_answer"] += len(chunk) - len(answered)
        kept_ids, kept_labels = [], []
        for ids, labels in zip(*encode([row.messages for row in answered], tokenizer), strict=True):
            labels = labels[:max_length]
            trained = len(labels) - labels.count(-100)
            if not trained:
                counts["rows_cut_before_answer"] += 1
                continue
            counts["rows_truncated"] += len(ids) > max_length
            counts["rows_kept"] += 1
            counts["tokens"] += len(labels)
            counts["trained_tokens"] += trained
            kept_ids.append(ids[:max_length])
            kept_labels.append(labels)
        columns["input_ids"].append(pa.array(kept_ids, pa.list_(pa.int32())))
        columns["labels"].append(pa.array(kept_labels, pa.list_(pa.int32())))
    if not counts["rows_kept"]:
        raise UserError(f"{path}: no row has an assistant token within --max_length {max_length}")
    table = pa.table({name: pa.chunked_array(arrays) for name, arrays in columns.items()})
    return Dataset(InMemoryTable(table)), counts


# Tokens are those of the kept rows.
_COUNTS = "rows_read rows_kept rows_without_answer rows_cut_before_answer rows_truncated tokens trained_tokens".split()


def _conversations(path: str) -> Iterator[Conversation | None]:
    """Each row of the file as a conversation; None for an instruction without an answer."""
    for number, (where, row) in enumerate(read_rows(path)):
        if "messages" in row:
            yield Conversation.from_json(row, where)
        else:
            record = Instruction.from_json(row, where)
            if not record.output.strip():
                yield None
                continue
            messages = [{"role": "system", "content": record.system}] if record.system else []
            messages.append({"role": "user", "content": record.prompt})
            messages.append({"role": "assistant", "content": record.output})
            yield Conversation(Path(path).name, str(number), messages)
