"""Equal shares of an epoch for every device: rows of which nothing is learned fill up the last batches.

Devices work in step. Where the rows do not divide by devices x batch, accelerate takes the first ones of the epoch
again: they would count twice, and the losses would depend on how many devices there are.
"""

import torch
from datasets import Dataset, concatenate_datasets
from torch.utils.data import Sampler

_LENGTH = 2  # tokens of a row that fills up: one that predicts, and one to predict


def filled_up(rows: Dataset, batch: int, devices: int) -> Dataset:
    """The rows, and behind them as many of which nothing is learned as fill the last batch of every device.

    Args:
        batch: rows that a device takes at once.
    """
    missing = -len(rows) % (batch * devices)
    if not missing:
        return rows
    blank = {name: [values[:_LENGTH]] * missing for name, values in rows[0].items()}
    blank["labels"] = [[-100] * _LENGTH] * missing
    if "seq_lengths" in blank:
        blank["seq_lengths"] = [[_LENGTH]] * missing
    return concatenate_datasets([rows, Dataset.from_dict(blank, features=rows.features)])


class BlanksLast(Sampler[int]):
    """The order in which one device would take the rows (accelerate's `SeedableRandomSampler`), another in each epoch,
    and then those that only fill up.

    Args:
        rows, blanks: numbers of both kinds; the blanks come behind the rows.
        seed: of the first epoch's order.
    """

    def __init__(self, rows: int, blanks: int, seed: int) -> None:
        self._rows, self._blanks, self._seed = rows, blanks, seed
        self._epoch = 0

    def __len__(self) -> int:
        return self._rows + self._blanks

    def __iter__(self):
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        yield from torch.randperm(self._rows, generator=generator).tolist()
        yield from range(self._rows, len(self))
        self._epoch += 1

    def set_epoch(self, epoch: int) -> None:
        """The number of the next pass over the rows, from 0."""
        self._epoch = epoch
