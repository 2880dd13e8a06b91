"""SIGTERM while training: the step is finished, a checkpoint is written, and the process ends with a code of its own.

Slurm sends SIGTERM before it takes a job off a machine; the same command goes on from the checkpoint. Every stage
that trains uses the callback; the code itself is in `core/exit_codes.py`.
"""

import signal
from types import FrameType

import torch
import torch.distributed
from transformers import TrainerCallback

from open_instruct.core.exit_codes import INTERRUPTED


class Interrupted(SystemExit):
    """Ends the process with `INTERRUPTED`; its text is for `run.json`."""

    interrupted = True  # nothing failed: core/run_info.py

    def __init__(self, step: int) -> None:
        super().__init__(INTERRUPTED)
        self._text = f"SIGTERM: stopped with a whole checkpoint after step {step}; the same command goes on from there"

    def __str__(self) -> str:
        return self._text


class StopOnSigterm(TrainerCallback):
    """After a SIGTERM within the block, to any of the processes, all save after the same step and stop.

    Attributes:
        stopped: whether that happened.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._asked = False

    def __enter__(self) -> "StopOnSigterm":
        # Until the block ends: a second one, while the checkpoint is written, must not tear it.
        self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def on_step_end(self, args, state, control, **kwargs):
        if self._any_asked(args.device) and state.global_step < state.max_steps:
            self.stopped = True
            control.should_save = True
            control.should_training_stop = True

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def _any_asked(self, device: torch.device) -> bool:
        """Of all processes: the signal reaches them at different moments, and only together can they save."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self._asked
        asked = torch.tensor(int(self._asked), device=device)
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
        return bool(asked)
