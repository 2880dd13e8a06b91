"""Training rows as token ids and labels, in a file that all processes of a run map into memory.

`finetune.py` calls this before it trains. Nothing is dropped without being counted.
"""

from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter
from transformers import PreTrainedTokenizerBase

from open_instruct.core.chat import encode
from open_instruct.core.errors import UserError
from open_instruct.training.sources import Source, conversations

_CHUNK = 1000  # rows that are encoded together


@dataclass
class Counts:
    """What became of the rows. Tokens are those of the kept rows.

    Attributes:
        rows_read: of the files.
        rows_not_drawn: where a part of a file is wanted, those of the other part.
        rows_repeated: times that a row was taken beyond its first.
        rows_without_answer: nothing is answered, so nothing is learned.
        rows_cut_before_answer: no token of an answer is left within the greatest length.
        rows_kept: what is trained on: read - not drawn + repeated - without answer - cut before answer.
        rows_truncated: of the kept, those that lost their end.
        tokens: of all kept rows together.
        trained_tokens: of them, the assistant's, on which the loss is taken.
        squared_lengths: sum of each kept row's tokens squared, for the arithmetic of attention.
        lengths: tokens of each kept row.
    """

    rows_read: int = 0
    rows_not_drawn: int = 0
    rows_repeated: int = 0
    rows_without_answer: int = 0
    rows_cut_before_answer: int = 0
    rows_kept: int = 0
    rows_truncated: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    squared_lengths: int = 0
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32), repr=False)

    def figures(self) -> dict[str, int]:
        """The counts of rows and tokens, for `run.json`."""
        return {name: value for name, value in asdict(self).items() if name not in ("lengths", "squared_lengths")}


def encode_rows(
    files: Sequence[Source],
    max_length: int,
    tokenizer: PreTrainedTokenizerBase,
    into: Path,
    most: int = -1,
    seed: int = 0,
) -> Counts:
    """Encode the rows of the files, in their order, into an Arrow file of `input_ids` and `labels` (-100 where nothing
    is learned); see `Counts` for what is left out.

    Args:
        files: what is trained on.
        max_length: tokens after which a row is cut off.
        tokenizer: with its chat template.
        into: the Arrow file; its folder is made. `open_rows` opens it.
        most: rows that are read of all files together; -1 for all.
        seed: of the draw where a part of a file is wanted.

    Raises:
        UserError: a row cannot be used, or none is left.
    """
    into.parent.mkdir(parents=True, exist_ok=True)
    counts = Counts()
    lengths = array("i")
    rows = islice((row for file in files for row in conversations(file, seed)), None if most < 0 else most)
    with ArrowWriter(path=str(into), features=None, writer_batch_size=_CHUNK) as writer:
        while chunk := list(islice(rows, _CHUNK)):
            table = _encoded(chunk, max_length, tokenizer, counts, lengths)
            if len(table):
                writer.write_table(table)
        if not counts.rows_kept:
            raise UserError(
                f"{', '.join(file.path for file in files)}: no row has an assistant token within --max_length "
                f"{max_length}"
            )
        writer.finalize()
    counts.lengths = np.frombuffer(lengths, np.int32)
    counts.squared_lengths = int(np.square(counts.lengths, dtype=np.int64).sum())
    return counts


def open_rows(path: Path) -> Dataset:
    """The rows of an Arrow file, mapped into memory."""
    return Dataset.from_file(str(path))


def _encoded(
    chunk: list[tuple[list[dict[str, str]] | None, int]],
    max_length: int,
    tokenizer: PreTrainedTokenizerBase,
    counts: Counts,
    lengths: array,
) -> pa.Table:
    """A table of the rows that are kept, each as often as it is taken; they are added to `counts` and `lengths`."""
    counts.rows_read += len(chunk)
    counts.rows_not_drawn += sum(times == 0 for _, times in chunk)
    drawn = [(messages, times) for messages, times in chunk if times]
    counts.rows_repeated += sum(times - 1 for _, times in drawn)
    answered = [(messages, times) for messages, times in drawn if messages is not None]
    counts.rows_without_answer += sum(times for messages, times in drawn if messages is None)
    kept: dict[str, list[Any]] = {"input_ids": [], "labels": []}
    encoded = encode([messages for messages, _ in answered], tokenizer)
    for ids, labels, (_, times) in zip(*encoded, answered, strict=True):
        whole = len(ids)
        ids, labels = ids[:max_length], labels[:max_length]
        trained = len(labels) - labels.count(-100)
        if not trained:
            counts.rows_cut_before_answer += times
            continue
        counts.rows_truncated += times * (whole > max_length)
        counts.rows_kept += times
        counts.tokens += times * len(labels)
        counts.trained_tokens += times * trained
        lengths.extend([len(ids)] * times)
        kept["input_ids"] += [ids] * times
        kept["labels"] += [labels] * times
    return pa.table({name: pa.array(rows, pa.list_(pa.int32())) for name, rows in kept.items()})
