"""What a person sets for fine-tuning: `Settings` is ours, `Training` is TRL's with the defaults of the publication.

`finetune.py` makes its flags of them; `with_flags_of_file` reads a YAML file with the same names.
"""

import json
import os
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path

import torch
import yaml
from trl import SFTConfig

from open_instruct.core.chat import template_names
from open_instruct.core.command import help_field
from open_instruct.core.errors import UserError


@dataclass
class Settings:
    model_name_or_path: str = help_field("checkpoint folder (or hub name) to start from")
    train_file: list[str] = help_field(
        "rows: conversations, instruction / input / output, or published SeqIns rows; .json, .jsonl, .jsonl.gz or "
        ".parquet, one kind of row a file; several files are trained on together; FILE=20000 takes so many of its "
        "rows, FILE=0.5x half of them, FILE=3x each three times"
    )
    eval_file: str | None = help_field("rows whose loss is told every --eval_steps; not trained on", None)
    prompt_template: str = help_field(
        f"chat template, written into the checkpoint: {', '.join(template_names())}, or 'model' for the model's own",
        "tulu",
    )
    total_batch_size: int = help_field("rows (with packing: packed rows) an optimizer step, over all devices", 128)
    max_train_rows: int = help_field("only the first so many rows; -1 for all", -1)
    attn_implementation: str = help_field(
        "auto, flash_attention_3, flash_attention_2, sdpa or eager; auto takes flash attention where it is installed "
        "beside a CUDA GPU, else sdpa",
        "auto",
    )
    use_lora: bool = help_field("train a LoRA adapter instead of all weights; written beside a small config", False)
    use_qlora: bool = help_field("as --use_lora, on a base in 4 bits (NF4); needs bitsandbytes", False)
    lora_r: int = help_field("rank of the adapter's matrices", 64)
    lora_alpha: float = help_field("the adapter's part is scaled by alpha / rank", 16)
    lora_dropout: float = help_field("share of the adapter's inputs that is dropped", 0.1)
    lora_target_modules: list[str] = help_field(
        "endings of the names of the layers that get an adapter; all-linear for every linear one but the head",
        ["all-linear"],
    )

    @property
    def adapter(self) -> bool:
        """Whether an adapter is trained, and not all weights."""
        return self.use_lora or self.use_qlora


@dataclass
class Training(SFTConfig):
    """TRL's settings, with the defaults of the sequential-instruction paper (arXiv 2403.07794, scripts of its
    release)."""

    output_dir: str = help_field("folder of the fine-tuned checkpoint", "output/finetuned")
    learning_rate: float = help_field("peak learning rate", 2e-5)
    lr_scheduler_type: str = help_field("how the learning rate falls", "linear")
    warmup_steps: float = help_field("below 1: share of all steps that warm up; else their number", 0.03)
    weight_decay: float = help_field("decoupled weight decay", 0.0)
    num_train_epochs: float = help_field("passes over the rows", 3.0)
    max_length: int = help_field(
        "longest row in tokens, and length of a packed row; the rest of a row is cut off", 2048
    )
    packing: bool = help_field("put several rows into one sequence, without attention between them", True)
    shuffle_dataset: bool = help_field("shuffle the rows before packing", True)
    per_device_train_batch_size: int = help_field("rows (packed rows) a forward pass a device", 1)
    per_device_eval_batch_size: int = help_field("rows (packed rows) a forward pass a device, for --eval_file", 1)
    eval_steps: float = help_field("optimizer steps between losses of --eval_file", 100)
    save_steps: float = help_field("optimizer steps between checkpoints", 500)
    save_total_limit: int = help_field("checkpoints kept; with 1, a kill while saving can leave none", 2)
    logging_first_step: bool = help_field("log the first step's loss too: what the last one is compared with", True)
    report_to: str = help_field("tensorboard (into OUTPUT_DIR/runs), wandb or none", "tensorboard")
    bf16: bool | None = help_field("bfloat16; by default where a GPU has it", None)
    use_liger_kernel: bool | None = help_field("Liger's fused kernels; by default where they and a CUDA GPU are", None)
    ddp_timeout: int = help_field("seconds the processes wait for one another; the first one encodes the rows", 7200)

    def __post_init__(self):
        cuda = torch.cuda.is_available() and not self.use_cpu
        if self.bf16 is None:
            self.bf16 = cuda and torch.cuda.is_bf16_supported()
        if self.use_liger_kernel is None:
            self.use_liger_kernel = cuda and find_spec("liger_kernel") is not None
        if str(self.fsdp).lower() in ("true", "false"):  # as a settings file says it; the bare flag is True
            self.fsdp = True if str(self.fsdp).lower() == "true" else None
        for name in ("deepspeed", "fsdp_config"):
            given = getattr(self, name)
            if isinstance(given, str) and not given.lstrip().startswith("{") and not os.path.isfile(given):
                raise UserError(f"--{name} {given}: no such file; ours are in ds_configs/")
        # Said before the processes find each other.
        if self.fsdp:
            os.environ["ACCELERATE_USE_FSDP"] = "true"
            if isinstance(self.fsdp_config, str):
                inline = self.fsdp_config.lstrip().startswith("{")
                self.fsdp_config = json.loads(self.fsdp_config if inline else Path(self.fsdp_config).read_text())
            if self.gradient_checkpointing:  # FSDP's own gathers each layer's weights once less
                self.fsdp_config = {**(self.fsdp_config or {}), "activation_checkpointing": True}
                self.gradient_checkpointing = False
        if self.use_cpu:
            os.environ["DS_ACCELERATOR"] = "cpu"
            if self.deepspeed or os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
                _join_on_cpus()
        super().__post_init__()


def _join_on_cpus() -> None:
    """Start DeepSpeed's own communication, which accelerate leaves out on CPUs: ZeRO-3 would take each process for the
    only one."""
    import deepspeed.ops
    from deepspeed import comm

    # Else it compiles a kernel for sums in shared memory that training never calls. That needs a compiler and a path
    # without blanks, takes half a minute, and where it is killed meanwhile, its lock keeps every later run waiting.
    deepspeed.ops.__compatible_ops__ = {}
    if "LOCAL_RANK" in os.environ and not comm.is_initialized():
        comm.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)


def refuse_what_cannot_be(training: Training) -> None:
    """Refuse settings that would fail, or not do what they say, only after the model is loaded.

    Raises:
        UserError: names the setting, and what to do.
    """
    if training.n_gpu > 1:
        raise UserError(
            f"this one process sees {training.n_gpu} GPUs and would copy the model to each of them, which is slow and "
            f"multiplies the batch; start it by `python -m open_instruct.training.launch --nproc_per_node "
            f"{training.n_gpu} -m open_instruct.finetune ...` or by scripts/finetune_with_accelerate.sh"
        )
    if training.fsdp and training.world_size == 1:
        raise UserError(
            "--fsdp splits a model over several processes, and this is one; start them by "
            "`python -m open_instruct.training.launch --nproc_per_node N -m open_instruct.finetune ...`"
        )
    if training.num_train_epochs <= 0 and training.max_steps <= 0:
        raise UserError(f"--num_train_epochs {training.num_train_epochs:g}: expected more than 0")
    for name in training.report_to:
        if name in ("tensorboard", "wandb") and find_spec(name) is None:
            raise UserError(f"--report_to {name}: the package {name} is not installed: pip install {name}; or none")
    optimizer = str(getattr(training.optim, "value", training.optim))
    if ("bnb" in optimizer or "8bit" in optimizer) and find_spec("bitsandbytes") is None:
        raise UserError(f"--optim {optimizer} needs bitsandbytes, a line of requirements-gpu.txt")


def with_flags_of_file(arguments: list[str]) -> list[str]:
    """The command line with each `--config FILE` replaced by what the file sets, so that flags behind it win over the
    file, and the file over flags before it: those of a script.

    Raises:
        UserError: a file cannot be read, is no mapping, or names a setting that does not exist.
    """
    found: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--config" or word.startswith("--config="):
            path = word.partition("=")[2] if "=" in word else next(words, "")
            if not path or path.startswith("--"):
                raise UserError("--config: no file named; expected a YAML file with the same names as the flags")
            found += _flags_of_file(path)
        else:
            found.append(word)
    return found


def _flags_of_file(path: str) -> list[str]:
    try:
        values = yaml.safe_load(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; expected a YAML file (--config)") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no settings; expected lines such as `learning_rate: 2e-5`")
    known = {one.name for kind in (Settings, Training) for one in fields(kind) if one.init}
    unknown = sorted(str(name) for name in values if name not in known)
    if unknown:
        raise UserError(f"{path}: no such settings: {', '.join(unknown)}; --help lists those there are")
    flags = []
    for name, value in values.items():
        if value is not None:
            flags += [f"--{name}", *_words(value)]
    return flags


def _words(value: object) -> list[str]:
    if isinstance(value, list):
        return [str(one) for one in value]
    if isinstance(value, dict):
        return [json.dumps(value)]
    return [str(value).lower() if isinstance(value, bool) else str(value)]
