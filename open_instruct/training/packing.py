"""Rows put together to the greatest length, and batches of them for attention kernels that take a mask (SDPA, eager).

TRL joins all packed rows of a batch into one sequence. That is right for flash attention, which is told where each row
ends; a dense mask over the joined sequence costs the square of its length. Here each packed row stays a row of the
batch, and its position ids, which restart with every example, tell transformers what may attend to what. `finetune.py`
uses it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from trl import pack_dataset


def packed(rows: Dataset, length: int, seed: int | None) -> Dataset:
    """Rows of up to `length` tokens, each of whole rows of the dataset, with a column `seq_lengths`.

    Args:
        rows: `input_ids` and `labels`, none longer than `length`.
        length: tokens.
        seed: shuffles the rows before and after; None: neither.
    """
    # In both places: which rows meet in a packed one, and in which order those come (the fullest are made first).
    rows = rows if seed is None else rows.shuffle(seed=seed)
    rows = pack_dataset(rows, length, "bfd")
    return rows if seed is None else rows.shuffle(seed=seed)


def real_tokens(batch: dict[str, Any]) -> int:
    """Tokens of a batch that are no padding, of any of the collators."""
    if "attention_mask" in batch:
        return int(batch["attention_mask"].sum())
    # A row has two tokens or more: its first has position 0, its second 1. What fills up has position 0, each.
    positions = batch["position_ids"]
    return int((positions > 0).sum() + (positions == 1).sum())


@dataclass
class PackedRows:
    """Collates packed rows; there is no attention mask, since transformers would then not look at the position ids.

    Attributes:
        pad_token_id: fills rows up; each such token is a sequence of its own and nothing is learned from it.
    """

    pad_token_id: int

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Tensors `input_ids`, `labels` and `position_ids`, each [packed rows, tokens of the longest].

        Args:
            rows: each with `input_ids`, `labels` and `seq_lengths` (tokens of each example in it), as TRL packs them.
        """
        positions = [torch.cat([torch.arange(length) for length in row["seq_lengths"]]) for row in rows]
        labels = [torch.tensor(row["labels"]) for row in rows]
        for own, label in zip(positions, labels, strict=True):
            label[own == 0] = -100  # the token before an example's first one belongs to another example
        return {
            "input_ids": pad_sequence([torch.tensor(row["input_ids"]) for row in rows], True, self.pad_token_id),
            "labels": pad_sequence(labels, True, -100),
            "position_ids": pad_sequence(positions, True, 0),
        }
