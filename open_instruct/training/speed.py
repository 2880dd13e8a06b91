"""How fast a run is and what it takes, beside the loss: real tokens a second, model FLOPs utilization, peak memory.

`finetune.py` asks it at every log. Padding is counted nowhere.
"""

import resource
import time

import torch

from open_instruct.training.plan import Shape
from open_instruct.training.rows import Counts

# Dense bfloat16 FLOP/s of a device, from its maker's data sheets. The first name that is in the device's counts.
_PEAK = (
    ("B300", 2.25e15),
    ("B200", 2.25e15),
    ("GH200", 989e12),
    ("H200 NVL", 835e12),
    ("H200", 989e12),
    ("H100 NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
    ("A10G", 70e12),
    ("RTX 4090", 165e12),
    ("RTX 3090", 71e12),
)


def peak_flops(device: torch.device, bf16: bool) -> float | None:
    """FLOP/s that the device can do; None where that is not known, as for a CPU or in float32."""
    if device.type != "cuda" or not bf16:
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for part, flops in _PEAK if part in name), None)


def peak_memory(device: torch.device) -> float:
    """GiB at most so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def flops_per_token(shape: Shape, counts: Counts, adapter: bool) -> float:
    """FLOPs of training on one real token, in the mean over the rows.

    Two for each weight it meets forward and four backward, two of which are the weight's own gradient, which a frozen
    weight has not; the output layer sees the answers only; a token attends to half of its row (PaLM, arXiv 2204.02311,
    appendix B, with causal attention and rows of their own length).
    """
    matrices = 2 * (shape.linear + shape.head * counts.trained_tokens / counts.tokens)
    attention = 2 * shape.layers * shape.attention * counts.squared_lengths / counts.tokens
    return (2 if adapter else 3) * matrices + 3 * attention + (6 * shape.trained if adapter else 0)


class Speed:
    """Counts tokens and time between two logs of one device.

    Args:
        flops: of a token.
        peak: FLOP/s of the device; None where not known.
        device: that trains.
    """

    def __init__(self, flops: float, peak: float | None, device: torch.device) -> None:
        self._flops = flops
        self._peak = peak
        self._device = device
        self._tokens = 0
        self._seconds = 0.0
        self._began: float | None = None

    def step_begins(self) -> None:
        """Before the rows of an optimizer step are fetched."""
        self._began = time.monotonic()

    def saw(self, tokens: int) -> None:
        """Real tokens of that step."""
        self._tokens += tokens

    def step_ends(self) -> None:
        """Before anything is saved or evaluated: that takes time, but is no training."""
        if self._began is not None:
            self._seconds += time.monotonic() - self._began
            self._began = None

    def figures(self) -> dict[str, float]:
        """Since the last call: tokens a second, share of the peak (where known), GiB at most so far."""
        if not self._tokens or not self._seconds:
            return {}
        rate = self._tokens / self._seconds
        self._tokens, self._seconds = 0, 0.0
        found = {"tokens_per_second": round(rate, 1), "peak_memory_gib": round(peak_memory(self._device), 3)}
        if self._peak is not None:
            found["mfu"] = round(rate * self._flops / self._peak, 4)
        return found
