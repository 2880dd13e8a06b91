"""Rows as the trainer takes them: the picture read when it is needed, and what could not be used noted with its reason.

A damaged picture rejects its row: the next row takes its place, so that batches keep their size and a resumed run sees
the same ones.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from lavis.images import DamagedImage, read_image
from lavis.inputs import Encoder
from lavis.rows import Row
from open_instruct.core.errors import UserError
from open_instruct.core.records import encode_json, read_rows, write_rows

FILE = "rejected.jsonl"


class Examples(Dataset):
    """Training examples by number.

    Args:
        rows: with whole paths of their pictures.
        encoder: makes the model's inputs.
        folder: where `rejected.jsonl` is written.
    """

    def __init__(self, rows: Sequence[Row], encoder: Encoder, folder: Path) -> None:
        self._rows = rows
        self._encoder = encoder
        self._file = folder / FILE

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        for distance in range(len(self._rows)):
            row = self._rows[(number + distance) % len(self._rows)]
            try:
                image = read_image(row.image)
            except DamagedImage as damage:
                self._note(row, str(damage))
                continue
            before = self._encoder.cut_off
            example = self._encoder.example(image, row.text_input, row.text_output)
            if self._encoder.cut_off > before:
                self._note(row, f"kept, but its text_output is cut off after {self._encoder.max_target} tokens")
            return example
        raise UserError(f"not one picture can be read; see {self._file}")

    def _note(self, row: Row, reason: str) -> None:
        """Add a line: many processes do at once, and one small write to a file opened for adding is never torn."""
        line = encode_json({"question_id": row.id, "image": row.image, "reason": reason}) + b"\n"
        file = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, line)
        finally:
            os.close(file)


def noted(folder: Path) -> list[dict[str, Any]]:
    """What was noted, each row once however many passes there were; the file is rewritten so."""
    path = folder / FILE
    if not path.is_file():
        return []
    once = {(row["question_id"], row["reason"]): row for _, row in read_rows(path, may_be_empty=True)}
    write_rows(path, once.values())
    return list(once.values())
