"""Every key of the YAML files, with its meaning and default: sections `model`, `datasets` and `run` as dataclasses.

`config.py` reads the files into them. Names are LAVIS's.
"""

from dataclasses import dataclass

from open_instruct.core.command import help_field

ARCHITECTURES = {"blip2_vicuna_instruct": "llama", "blip2_t5_instruct": "t5"}  # -> type of the language model


@dataclass
class Model:
    """Section `model`."""

    arch: str = help_field(f"family: {' or '.join(ARCHITECTURES)}; checked against the checkpoint")
    model_type: str = help_field("which file of configs/models/blip2: blip2_instruct_TYPE.yaml")
    pretrained: str = help_field("folder, or name on the hub, of a whole InstructBLIP as transformers stores it")
    finetuned: str = help_field("folder with trained parts (of train.py) to put on it; none: as it is", "")
    freeze_vit: bool = help_field("keep the image encoder as it is", True)
    freeze_llm: bool = help_field("keep the language model as it is", True)
    use_lora: bool = help_field("train LoRA adapters in the language model's linear layers", False)
    lora_r: int = help_field("rank of the adapters", 16)
    lora_alpha: float = help_field("their part is scaled by alpha / rank", 32.0)
    lora_dropout: float = help_field("share of their inputs that is dropped", 0.05)
    lora_target_modules: list[str] = help_field(
        "endings of the names of the layers that get one; all-linear for every linear one but the head", ["all-linear"]
    )
    max_txt_len: int = help_field("tokens of a prompt, image tokens not counted; the rest is cut off", 128)
    max_output_txt_len: int = help_field("tokens of a target; the rest is cut off, and counted", 256)


@dataclass
class Storage:
    """One or more files, or a folder."""

    storage: str | list[str] = help_field("path, or several")


@dataclass
class BuildInfo:
    """`datasets.NAME.build_info`."""

    annotations: dict[str, Storage] = help_field("rows of make_instruct_data.py, by split")
    images: Storage = help_field("folder that the rows' image paths start from")


@dataclass
class Dataset:
    """`datasets.NAME`: any name; all of them are trained on together."""

    build_info: BuildInfo = help_field("where it lies")


@dataclass
class TrainingRun:
    """Section `run` of a training file; defaults as published."""

    output_dir: str = help_field("folder of the trained parts and the checkpoints")
    train_splits: list[str] = help_field("splits of the datasets to train on", ["train"])
    init_lr: float = help_field("peak learning rate", 1e-5)
    min_lr: float = help_field("learning rate at the end of the cosine", 0.0)
    warmup_lr: float = help_field("learning rate at the first step", 1e-8)
    warmup_steps: int = help_field("steps over which it rises linearly", 1000)
    weight_decay: float = help_field("decoupled; not on biases and norms", 0.05)
    beta2: float = help_field("of AdamW", 0.999)
    max_grad_norm: float = help_field("gradients are scaled down to this norm; 0: as they are", 0.0)
    max_epoch: int = help_field("passes over the rows", 5)
    max_steps: int = help_field("optimizer steps instead of passes; -1: passes count", -1)
    batch_size_train: int = help_field("rows a device and pass", 16)
    accum_grad_iters: int = help_field("passes an optimizer step", 1)
    num_workers: int = help_field("processes a device that read images", 4)
    max_rows: int = help_field("only the first so many rows; -1: all", -1)
    amp: bool = help_field("bfloat16 where a GPU has it: autocast, and frozen weights stored so", True)
    gradient_checkpointing: bool = help_field("compute activations again instead of keeping them", True)
    save_steps: int = help_field("optimizer steps between checkpoints; a kill loses fewer", 1000)
    save_total_limit: int = help_field("checkpoints kept; with 1, a kill while saving can leave none", 2)
    logging_steps: int = help_field("optimizer steps between lines of the log", 50)
    report_to: str = help_field("tensorboard (into OUTPUT_DIR/runs), wandb or none", "tensorboard")
    device: str = help_field("cuda, cpu, or auto for a GPU where there is one", "auto")
    seed: int = help_field("of the order of the rows and of dropout", 42)


@dataclass
class EvaluationRun:
    """Section `run` of an evaluation file."""

    run_name: str = help_field("folder below results_dir, and the run's name in reports")
    results_dir: str = help_field("folder of all runs", "${ROOT}/results")
    benchmark: str = help_field("folder below the run's, and key of the benchmark in reports", "vqa")
    title: str = help_field("heading of its column in reports", "VQA")
    metric: str = help_field("what leads: vqa (official VQA accuracy) or exact (GQA's)", "vqa")
    test_splits: list[str] = help_field("splits of the datasets to evaluate on", ["test"])
    prompt: str = help_field("how the question is put: see lavis/prompts.py", "describe_first")
    num_beams: int = help_field("width of the beam search; 1: greedy", 5)
    length_penalty: float = help_field("of beam search: over 0 favours longer responses", 1.0)
    max_len: int = help_field("tokens of a response", 200)
    min_len: int = help_field("tokens of a response, at least", 1)
    batch_size_eval: int = help_field("questions a device at once", 8)
    num_workers: int = help_field("processes a device that read images", 4)
    max_rows: int = help_field("only the first so many questions; -1: all", -1)
    amp: bool = help_field("bfloat16 where a GPU has it", True)
    device: str = help_field("cuda, cpu, or auto for a GPU where there is one", "auto")
    seed: int = help_field("of the other image whose description distracts", 42)


@dataclass
class Training:
    """A file for `train.py`."""

    model: Model = help_field("what is trained")
    datasets: dict[str, Dataset] = help_field("on what")
    run: TrainingRun = help_field("how")


@dataclass
class Evaluation:
    """A file for `evaluate.py`."""

    model: Model = help_field("what is evaluated")
    datasets: dict[str, Dataset] = help_field("on what")
    run: EvaluationRun = help_field("how")
