"""Batches of packed rows for attention kernels that take a mask (SDPA, eager), as a CPU has them.

TRL joins all packed rows of a batch into one sequence. That is right for flash attention, which is told where each row
ends; a dense mask over the joined sequence costs the square of its length. Here each packed row stays a row of the
batch, and its position ids, which restart with every example, tell transformers what may attend to what. `finetune.py`
uses it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence


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
