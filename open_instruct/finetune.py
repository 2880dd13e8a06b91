"""Stage 2: fine-tune a causal language model on instructions or conversations, thin over TRL's `SFTTrainer`.

    accelerate launch -m open_instruct.finetune --model_name_or_path MODEL --train_file sit.jsonl --output_dir DIR

Rows are encoded with a chat template (`core/chat.py`), packed without leaks between them, and the loss is taken on the
assistant's tokens only. A run that was interrupted goes on from its last whole checkpoint when the same command is
given again; with other settings, rows or base it is refused.
"""

import json
import os
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from accelerate import PartialState
from datasets import Dataset
from transformers import (
    PreTrainedTokenizerBase,
    ProgressCallback,
    TrainerCallback,
    TrainerState,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from open_instruct.core import checkpoint
from open_instruct.core.chat import set_template, template_names
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError, full_disk_told
from open_instruct.core.only_run import only_run
from open_instruct.core.run_info import RunInfo, finished
from open_instruct.training.packing import PackedRows
from open_instruct.training.resume import MarkWholeCheckpoint, delete_torn_checkpoints, last_whole_checkpoint
from open_instruct.training.rows import encoded_rows


@dataclass
class Settings:
    model_name_or_path: str = help_field("checkpoint folder (or hub name) to start from")
    train_file: str = help_field("JSONL or JSON rows: conversations, or instruction / input / output; .gz too")
    prompt_template: str = help_field(
        f"chat template, written into the checkpoint: {', '.join(template_names())}, or 'model' for the model's own",
        "tulu",
    )
    total_batch_size: int = help_field("rows (with packing: packed rows) an optimizer step, over all devices", 128)
    max_train_rows: int = help_field("only the first so many rows; -1 for all", -1)


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
    save_steps: float = help_field("optimizer steps between checkpoints", 500)
    save_total_limit: int = help_field("checkpoints kept", 2)
    logging_first_step: bool = help_field("log the first step's loss too: what the last one is compared with", True)
    report_to: str = help_field("tensorboard, wandb or none", "none")
    bf16: bool | None = field(default=None, metadata={"help": "bfloat16; by default where a GPU has it"})

    def __post_init__(self):
        if self.bf16 is None:
            self.bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported() and not self.use_cpu
        super().__post_init__()


def main(settings: Settings, training: Training) -> None:
    """Encode the rows, train, write the checkpoint.

    Raises:
        UserError: base, rows or settings cannot be used, the folder holds checkpoints of other ones, or another process
            is training there.
    """
    first = training.process_index == 0
    tokenizer, end_of_turn = load_tokenizer(settings)
    training.gradient_accumulation_steps = accumulation(settings, training)
    description = describe(settings, training)
    with ExitStack() as stack:
        if first:
            stack.enter_context(only_run(training.output_dir, "training"))
        if finished(training.output_dir, description) and checkpoint.has_weights(Path(training.output_dir)):
            if first:
                print(f"{training.output_dir}: already finished with these settings; delete the folder to train again")
            return
        if first:
            delete_torn_checkpoints(training.output_dir)
        PartialState().wait_for_everyone()
        start = last_whole_checkpoint(training.output_dir, description)
        dataset, counts = encoded_rows(settings.train_file, training.max_length, tokenizer, settings.max_train_rows)
        if first:
            _print_counts(counts, training)
            if start:
                print(f"going on from {start}", flush=True)
            info = stack.enter_context(RunInfo(training.output_dir, description, seed=training.seed))
        stack.enter_context(full_disk_told(training.output_dir))
        transformers.utils.logging.disable_progress_bar()  # a bar for each checkpoint written, across the one of ours
        datasets.disable_progress_bars()
        set_seed(training.seed)
        clock = time.monotonic()
        state = TrainerState.load_from_json(os.path.join(start, "trainer_state.json")) if start else None
        trained = state is not None and state.global_step >= state.max_steps
        base = start if trained else settings.model_name_or_path
        trainer = build_trainer(base, training, dataset, tokenizer, end_of_turn, description)
        if trained:  # killed after its last step; `train` would do one step more
            trainer.state = state
        else:
            trainer.train(resume_from_checkpoint=start)
        trainer.save_model(training.output_dir)
        if first:
            losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
            info.add(**counts, first_loss=losses[0], last_loss=losses[-1], steps=trainer.state.global_step)
            print(
                f"loss {losses[0]:.4f} -> {losses[-1]:.4f} in {trainer.state.global_step} steps and "
                f"{time.monotonic() - clock:.0f} s; checkpoint in {training.output_dir}"
            )


def describe(settings: Settings, training: Training) -> dict[str, Any]:
    """What the result depends on, as JSON can hold it: the settings, and the contents of the rows and of the base."""
    chosen = {one.name: getattr(training, one.name) for one in fields(training)}
    plain = {
        **asdict(settings),
        **{name: value for name, value in chosen.items() if not name.startswith(_HARMLESS)},
        "world_size": training.world_size,
        "train_file_sha256": _rows_digest(settings.train_file),
        "base_digest": _base_digest(settings.model_name_or_path),
    }
    return json.loads(json.dumps(plain, default=lambda one: one.to_dict() if hasattr(one, "to_dict") else str(one)))


# TRL's settings that begin so leave the trained weights as they are: where things go, what is told, how fast it is.
# Every other one counts, so that a new one of TRL's is rather refused than mixed in.
_HARMLESS = (
    *("output_dir", "run_name", "project", "trackio_", "hub_", "push_to_hub", "report_to", "disable_tqdm", "log_"),
    *("logging_", "save_steps", "save_total_limit", "save_strategy", "save_on_each_node", "eval_", "per_device_eval"),
    *("do_", "resume_from_checkpoint", "local_rank", "ddp_", "dataloader_num_workers", "dataloader_pin_memory"),
    *("dataloader_persistent_workers", "dataloader_prefetch_factor", "dataset_num_proc", "torch_empty_cache_steps"),
    *("skip_memory_metrics", "debug", "include_num_input_tokens_seen", "_"),
)


def _rows_digest(path: str) -> str:
    try:
        return checkpoint.file_digest(Path(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; expected a file of rows (--train_file)") from error


def _base_digest(model: str) -> str:
    if _on_hub(model):
        return checkpoint.load_tokenizer(model)[1]._commit_hash
    return checkpoint.fingerprint(Path(model))


def _on_hub(model: str) -> bool:
    """Whether `model` can only be meant as a name on the hub: no folder here, and `name` or `owner/name`."""
    return not os.path.exists(model) and model.count("/") <= 1 and not model.startswith((".", "/"))


def build_trainer(
    base: str,
    training: Training,
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    end_of_turn: int,
    description: dict[str, Any],
) -> SFTTrainer:
    """TRL's trainer on the model `base`, with checkpoints that are marked once whole, and one quiet progress bar."""
    # In float32 even where bf16 is on: that is autocast, and the optimizer needs weights in which a step of 2e-5 does
    # not round away. 16 bytes a parameter with Adam (4 weights, 4 gradients, 8 moments) instead of 8.
    model = checkpoint.load_model(base, torch.float32)
    model.generation_config.eos_token_id = end_of_turn
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    trainer = _Trainer(
        model=model,
        args=training,
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=[MarkWholeCheckpoint(description), _LogLastStep()],
    )
    if training.packing and "flash" not in model.config._attn_implementation:
        trainer.data_collator = PackedRows(tokenizer.pad_token_id)
    if not training.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(_Bar())
    return trainer


def load_tokenizer(settings: Settings) -> tuple[PreTrainedTokenizerBase, int]:
    """The base's tokenizer with template and pad token, and the token that ends a turn.

    Raises:
        UserError: the base is no whole checkpoint.
    """
    base = settings.model_name_or_path
    if not _on_hub(base):
        checkpoint.check(Path(base), chat_template=settings.prompt_template == "model")
    tokenizer, _ = checkpoint.load_tokenizer(base)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if settings.prompt_template == "model":
        return tokenizer, tokenizer.eos_token_id
    return tokenizer, set_template(tokenizer, settings.prompt_template)


def accumulation(settings: Settings, training: Training) -> int:
    """Forward passes an optimizer step, so that it sees `total_batch_size` rows.

    Raises:
        UserError: the total does not divide by the rows of one pass over all devices; names the nearest that does.
    """
    rows = training.per_device_train_batch_size * training.world_size
    passes, rest = divmod(settings.total_batch_size, rows)
    if rest or not passes:
        nearest = max(1, round(settings.total_batch_size / rows)) * rows
        raise UserError(
            f"--total_batch_size {settings.total_batch_size} does not divide into {training.world_size} devices of "
            f"{training.per_device_train_batch_size} rows; the nearest that does is {nearest}"
        )
    return passes


def _print_counts(counts: dict[str, int], training: Training) -> None:
    length = f"{training.max_length:,} tokens"
    passes = f"{training.num_train_epochs:g} epochs" if training.max_steps < 0 else f"{training.max_steps:,} steps"
    print(
        f"rows: {counts['rows_read']:,} read = {counts['rows_kept']:,} kept + {counts['rows_without_answer']:,} "
        f"without an answer\n  + {counts['rows_cut_before_answer']:,} with an answer beyond {length}; "
        f"{counts['rows_truncated']:,} of the kept are cut off there\n"
        f"tokens an epoch: {counts['tokens']:,}, {counts['trained_tokens']:,} of them trained on (the assistant's)\n"
        f"training: {passes} on {training.world_size} device(s)",
        flush=True,
    )


class _Trainer(SFTTrainer):
    """TRL's trainer without its count of tokens, which takes a batch for one row (see training/packing.py)."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        self._metrics["train"].pop("num_tokens", None)
        super().log(logs, start_time)


class _LogLastStep(TrainerCallback):
    """However few steps there are, the loss of the last one is known."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            control.should_log = True


class _Bar(ProgressCallback):
    """The progress bar with the loss at its end, instead of a line of eight figures every few steps."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if state.is_world_process_zero and self.training_bar is not None and "loss" in logs:
            self.training_bar.set_postfix(loss=f"{logs['loss']:.4f}")


if __name__ == "__main__":
    run(main, Settings, Training)
