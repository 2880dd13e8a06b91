"""Whether packed rows see each other: looked at on the model itself, before its first step.

Most architectures of transformers keep rows apart by position ids that restart; some do not (OPT, and those with a
state that runs on), and say nothing. `trainer.py` adds the callback where rows are packed.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import Trainer, TrainerCallback

from open_instruct.core.errors import UserError

# Mean difference of the logits, in their standard deviations. Rounding to bfloat16 makes about 0.01, a leak far more.
_MOST = 0.05


class RefuseLeaks(TrainerCallback):
    """Compares a row behind another one, packed as for training, with the row alone."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """All processes ask their part of the model the same.

        Raises:
            UserError: the rows are not kept apart.
        """
        first, second = list(range(3, 15)), list(range(20, 11, -1))
        with _without_dropout(model), torch.no_grad():
            alone = self._logits(model, second, [len(second)])
            behind = self._logits(model, first + second, [len(first), len(second)])[len(first) :]
        if (behind - alone).abs().mean() <= _MOST * alone.std():
            return
        if not state.is_world_process_zero:
            sys.exit(1)
        raise UserError(
            f"a model of type {model.config.model_type!r} lets packed rows see each other with "
            f"{model.config._attn_implementation} attention; --packing false trains without packing"
        )

    def _logits(self, model: torch.nn.Module, ids: list[int], lengths: list[int]) -> torch.Tensor:
        row = {"input_ids": ids, "labels": ids, "seq_lengths": lengths}
        batch = self._trainer._prepare_inputs(self._trainer.data_collator([row]))
        batch.pop("labels")
        return model(**batch, use_cache=False).logits[0].float()


@contextmanager
def _without_dropout(model: torch.nn.Module) -> Iterator[None]:
    training = model.training
    # Of 4 bits: for answers, bitsandbytes packs the weights of a CPU anew, for good, and training would be another.
    in_4_bits = getattr(model.config, "quantization_config", None) is not None
    dropouts = {layer: layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)}
    for layer in dropouts:
        layer.p = 0.0
    model.train(in_4_bits)
    yield
    model.train(training)
    for layer, share in dropouts.items():
        layer.p = share
