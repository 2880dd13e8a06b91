"""Packed rows and the count of real tokens."""

import torch
from datasets import Dataset
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from open_instruct.training.packing import PackedRows, packed, real_tokens


def rows(lengths):
    ids = [list(range(1, length + 1)) for length in lengths]
    return Dataset.from_dict({"input_ids": ids, "labels": ids})


def test_no_row_is_cut_or_lost_and_none_is_too_long():
    lengths = [3, 7, 8, 2, 5, 5, 6, 4]
    found = packed(rows(lengths), 8, seed=3)
    assert sorted(length for row in found for length in row["seq_lengths"]) == sorted(lengths)
    assert all(sum(row["seq_lengths"]) == len(row["input_ids"]) <= 8 for row in found)
    assert len(found) == 6  # the fewest that can be: 7 fits nowhere, and 33 tokens fill more than 4
    assert packed(rows(lengths), 8, seed=3)[:] == found[:]


def test_padding_is_counted_in_no_kind_of_batch():
    lengths = [3, 7, 2, 5]
    found = packed(rows(lengths), 8, seed=None)
    assert real_tokens(PackedRows(0)(list(found))) == sum(lengths)
    assert real_tokens(DataCollatorForLanguageModeling(0)(list(rows(lengths)))) == sum(lengths)
    flat = DataCollatorForLanguageModeling(0, padding_free=True)
    assert real_tokens(flat(list(found))) == sum(lengths)
    assert (
        PackedRows(0)(list(found))["input_ids"].shape[1]
        == torch.tensor([sum(row["seq_lengths"]) for row in found]).max()
    )
