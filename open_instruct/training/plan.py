"""What a run will take, told before it starts: rows, tokens, steps, memory of a device, room on the disk.

`finetune.py` prints it. The memory is an estimate: weights, gradients and optimizer are counted, activations are
reckoned from the shapes.
"""

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, PretrainedConfig, PreTrainedModel
from transformers.trainer_utils import SaveStrategy

from open_instruct.core.errors import UserError
from open_instruct.training.rows import Counts
from open_instruct.training.settings import Settings, Training

_GIB = 2**30


@dataclass(frozen=True)
class Shape:
    """Of a model: what memory and arithmetic depend on.

    Attributes:
        parameters: all of them.
        trained: of them or of the adapter, those that are trained.
        linear: those of the layers, which every token is multiplied with.
        head: those of the output layer, which the answers' tokens are multiplied with.
        layers: their number.
        hidden: width between the layers.
        inner: width within the feed-forward part.
        attention: heads x width of a head.
    """

    parameters: int
    trained: int
    linear: int
    head: int
    layers: int
    hidden: int
    inner: int
    attention: int


def shape_of(config: PretrainedConfig, adapter: LoraConfig | None) -> Shape:
    """Counted on a model without memory for its weights.

    Raises:
        UserError: the adapter is none for this model.
    """
    model = without_weights(config)
    parameters = sum(weights.numel() for weights in model.parameters())
    embedding = model.get_input_embeddings().weight.numel()
    head = model.get_output_embeddings().weight.numel()
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    linear = parameters - embedding - (0 if tied or config.tie_word_embeddings else head)
    if adapter is not None:
        try:
            model = get_peft_model(model, adapter, low_cpu_mem_usage=True)
        except ValueError as error:  # such as dropout where an adapter of experts knows none
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"no such adapter for a model of type {config.model_type!r}: {reason}") from error
    text = config.get_text_config()
    heads = getattr(text, "num_attention_heads", 1)
    return Shape(
        parameters=parameters,
        trained=sum(weights.numel() for weights in model.parameters() if weights.requires_grad),
        linear=linear,
        head=head,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        inner=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        attention=heads * (getattr(text, "head_dim", None) or text.hidden_size // heads),
    )


def without_weights(config: PretrainedConfig) -> PreTrainedModel:
    """The model on the meta device.

    Raises:
        UserError: the configuration is of no causal language model.
    """
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(
            f"a model of type {config.model_type!r} is no causal language model, which is what is fine-tuned"
        )
    with torch.device("meta"):  # and not through from_config, which would split the weights under ZeRO-3
        return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)


@dataclass(frozen=True)
class Sharding:
    """How weights, gradients and optimizer lie on the devices.

    Attributes:
        name: "ZeRO-3", "FSDP", "" for a whole copy a device.
        stage: what is split: 1 optimizer, 2 gradients too, 3 weights too; 0 nothing.
        offload_optimizer: it lies in the machine's memory.
        offload_weights: they do.
    """

    name: str = ""
    stage: int = 0
    offload_optimizer: bool = False
    offload_weights: bool = False


def sharding_of(training: Training) -> Sharding:
    """As DeepSpeed or FSDP is set, by a flag or by `accelerate launch`."""
    plugin = getattr(training, "deepspeed_plugin", None)
    if plugin is not None:
        zero = plugin.deepspeed_config.get("zero_optimization", {})
        offload = [zero.get(f"offload_{part}", {}).get("device", "none") != "none" for part in ("optimizer", "param")]
        return Sharding(f"ZeRO-{plugin.zero_stage}", plugin.zero_stage, *offload)
    if training.fsdp or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        config = training.fsdp_config or {}
        offload = str(config.get("cpu_offload", False)).lower() == "true"
        return Sharding("FSDP", 3, offload, offload)
    return Sharding()


@dataclass(frozen=True)
class Memory:
    """Bytes that a device needs, about."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.activations


def memory_of(shape: Shape, settings: Settings, training: Training, sharding: Sharding) -> Memory:
    """Adam in mixed precision: ZeRO, arXiv 1910.02054, section 3.1. Activations: arXiv 2205.05198, section 4.1,
    without attention scores, which neither flash attention nor SDPA keeps."""
    deepspeed = sharding.name.startswith("ZeRO")
    half = 2 if training.bf16 or training.fp16 else 4
    if settings.use_qlora:
        weights = 0.55 * shape.linear + half * (shape.parameters - shape.linear) + half * shape.trained
    else:  # DeepSpeed computes with weights in half precision and keeps exact ones with the optimizer
        weights = (half if deepspeed or is_base_in_half(settings, sharding) else 4) * shape.parameters
        weights += 4 * shape.trained if settings.adapter else 0
    gradients = (half if deepspeed else 4) * shape.trained
    moments = 2 if "8bit" in str(training.optim) else 8
    optimizer = (moments + (4 if deepspeed else 0)) * shape.trained
    split = training.world_size
    weights /= split if sharding.stage >= 3 else 1
    gradients /= split if sharding.stage >= 2 else 1
    optimizer /= split if sharding.stage >= 1 else 1
    tokens = training.per_device_train_batch_size * training.max_length
    # Of a layer: about 8 tensors of the hidden width, 3 of attention's, 4 of the feed-forward part's.
    inside = tokens * half * (8 * shape.hidden + 3 * shape.attention + 4 * shape.inner)
    checkpoints = training.gradient_checkpointing or (training.fsdp_config or {}).get("activation_checkpointing", False)
    kept = tokens * half * shape.hidden if checkpoints else inside
    return Memory(
        weights=0.0 if sharding.offload_weights else weights,
        gradients=gradients,
        optimizer=0.0 if sharding.offload_optimizer else optimizer,
        activations=shape.layers * kept + (inside if checkpoints else 0),
    )


def is_base_in_half(settings: Settings, sharding: Sharding) -> bool:
    """Whether bf16 is the base's own type too: LoRA leaves it as it is. FSDP wants one type for base and adapter."""
    return settings.use_lora and sharding.name != "FSDP"


def steps_of(rows: int, training: Training) -> int:
    """Optimizer steps over `rows` (packed) rows."""
    if training.max_steps > 0:
        return training.max_steps
    passes = math.ceil(rows / (training.per_device_train_batch_size * training.world_size))
    return math.ceil(training.num_train_epochs * max(1, math.ceil(passes / training.gradient_accumulation_steps)))


def check_disk(shape: Shape, settings: Settings, training: Training, sharding: Sharding, steps: int) -> None:
    """Refuse a disk on which the checkpoints have no room.

    Raises:
        UserError: with what is needed, what is there, and what to do.
    """
    half = 2 if training.bf16 or training.fp16 else 4
    saved = shape.trained if settings.adapter else shape.parameters
    final = (half if sharding.name.startswith("ZeRO") else 4) * saved
    one = final + 8 * shape.trained
    if sharding.name.startswith("ZeRO"):
        one += 4 * shape.trained + (final if sharding.stage < 3 else 0)
    elif sharding.name:
        one += final
    number = 0
    if training.save_strategy != SaveStrategy.NO:
        every = training.save_steps if training.save_steps >= 1 else training.save_steps * steps
        times = math.ceil(steps / every)
        number = min(times, (training.save_total_limit or times) + 1)  # one more while the newest is written
    folder = Path(training.output_dir)
    there = sum(path.stat().st_size for path in folder.glob("checkpoint-*/**/*") if path.is_file())
    free = shutil.disk_usage(folder).free + there
    if number * one + final > free:
        raise UserError(
            f"{folder}: training writes about {_size(number * one + final)} here ({number} checkpoints at once of "
            f"{_size(one)}, and the weights at the end), and {_size(free)} are free. Make room, name another "
            "--output_dir, or keep fewer with --save_total_limit"
        )


def told(
    counts: Counts,
    rows: int,
    shape: Shape,
    memory: Memory,
    settings: Settings,
    training: Training,
    sharding: Sharding,
) -> str:
    """The plan, for a person.

    Args:
        counts: of the rows.
        rows: those that batches are made of: packed ones, where they are packed.
    """
    length = f"{training.max_length:,} tokens"
    others = f" + {counts.rows_not_drawn:,} not drawn" if counts.rows_not_drawn else ""
    others += f" - {counts.rows_repeated:,} repetitions" if counts.rows_repeated else ""
    lines = [
        f"rows: {counts.rows_read:,} read = {counts.rows_kept:,} kept + {counts.rows_without_answer:,} without an "
        f"answer\n  + {counts.rows_cut_before_answer:,} with an answer beyond {length}{others}; "
        f"{counts.rows_truncated:,} of the kept are cut off there",
        f"tokens an epoch: {counts.tokens:,}, {counts.trained_tokens:,} of them trained on (the assistant's); of a "
        f"row: {counts.lengths.min():,} to {counts.lengths.max():,}, in the middle {int(np.median(counts.lengths)):,}",
    ]
    lines += _histogram(counts.lengths)
    if training.packing:
        filled = counts.tokens / (rows * training.max_length)
        lines.append(f"packing: {rows:,} rows of up to {length}, {filled:.1%} of them filled")
    steps = steps_of(rows, training)
    passes = f"{training.num_train_epochs:g} epochs" if training.max_steps < 0 else "--max_steps"
    how = f" under {sharding.name}" if sharding.name else ""
    lines.append(
        f"training: {steps:,} steps ({passes}) of {settings.total_batch_size:,} rows = {training.world_size} "
        f"device(s){how} x {training.per_device_train_batch_size} x {training.gradient_accumulation_steps} passes; "
        f"{shape.trained / 1e6:,.1f} M of {shape.parameters / 1e6:,.1f} M parameters are trained"
    )
    names = ("weights", "gradients", "optimizer", "activations")
    parts = ", ".join(f"{name} {_size(getattr(memory, name))}" for name in names)
    lines.append(f"memory of a device, about: {_size(memory.total)} ({parts})")
    if training.device.type == "cuda":
        there = torch.cuda.get_device_properties(training.device).total_memory
        lines[-1] += f" of {_size(there)}"
        if memory.total > there:
            lines.append(
                "  more than there is: ZeRO-3 or FSDP on more devices, offloading, --use_lora and --use_qlora need less"
            )
    return "\n".join(lines)


def _size(number: float) -> str:
    return f"{number / _GIB:,.1f} GiB" if number >= _GIB else f"{number / 2**20:,.0f} MiB"


def _histogram(lengths: np.ndarray, width: int = 40) -> list[str]:
    """Rows by their tokens, a line for each power of two."""
    powers = np.floor(np.log2(np.maximum(lengths, 1))).astype(int)
    counts = np.bincount(powers)
    first = int(np.flatnonzero(counts)[0])
    lines = []
    for power in range(first, len(counts)):
        bar = "#" * math.ceil(width * counts[power] / counts.max())
        lines.append(f"  {2**power:>7,} - {2 ** (power + 1) - 1:>7,}  {counts[power]:>9,}  {bar}".rstrip())
    return lines
