"""Stage 2: fine-tune a causal language model on instructions or conversations, thin over TRL's `SFTTrainer`.

    accelerate launch -m open_instruct.finetune --model_name_or_path MODEL --train_file sit.jsonl --output_dir DIR

Rows are encoded with a chat template (`core/chat.py`), packed without leaks between them, and the loss is taken on the
assistant's tokens only. A run that was interrupted goes on from its last whole checkpoint when the same command is
given again; with other settings, rows or base it is refused.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import torch
import transformers
from accelerate import PartialState
from datasets import Dataset
from datasets.table import InMemoryTable
from transformers import (
    PreTrainedTokenizerBase,
    ProgressCallback,
    TrainerCallback,
    TrainerState,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from open_instruct.core import checkpoint
from open_instruct.core.chat import encode, set_template, template_names
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError, full_disk_told
from open_instruct.core.only_run import only_run
from open_instruct.core.records import Conversation, Instruction, read_rows, write_json
from open_instruct.core.run_info import RunInfo, finished
from open_instruct.packing import PackedRows

WHOLE = "whole"  # this file in a checkpoint says that every other file of it was written, and what made them


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
        dataset, counts = prepare(settings, training.max_length, tokenizer)
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
_PATHS = ("model_name_or_path", "train_file")  # their contents count; the same ones may be elsewhere by now


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
        callbacks=[_MarkWholeCheckpoint(description), _LogLastStep()],
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


def prepare(settings: Settings, max_length: int, tokenizer: PreTrainedTokenizerBase) -> tuple[Dataset, dict[str, int]]:
    """Encode the training rows.

    Returns:
        A dataset of `input_ids` and `labels` (-100 where nothing is learned), and the counts of rows and tokens: rows
        without an answer, or with none left after the cut to `max_length`, are dropped.
    """
    limit = None if settings.max_train_rows < 0 else settings.max_train_rows
    columns: dict[str, list[pa.Array]] = {"input_ids": [], "labels": []}
    counts = dict.fromkeys(_COUNTS, 0)
    rows = islice(_conversations(settings.train_file), limit)
    while chunk := list(islice(rows, 1000)):
        counts["rows_read"] += len(chunk)
        answered = [row for row in chunk if row is not None]
        counts["rows_without_answer"] += len(chunk) - len(answered)
        kept_ids, kept_labels = [], []
        for ids, labels in zip(*encode([row.messages for row in answered], tokenizer), strict=True):
            labels = labels[:max_length]
            trained = len(labels) - labels.count(-100)
            if not trained:
                counts["rows_cut_before_answer"] += 1
                continue
            counts["rows_truncated"] += len(ids) > max_length
            counts["rows_kept"] += 1
            counts["tokens"] += len(labels)
            counts["trained_tokens"] += trained
            kept_ids.append(ids[:max_length])
            kept_labels.append(labels)
        columns["input_ids"].append(pa.array(kept_ids, pa.list_(pa.int32())))
        columns["labels"].append(pa.array(kept_labels, pa.list_(pa.int32())))
    if not counts["rows_kept"]:
        raise UserError(f"{settings.train_file}: no row has an assistant token within --max_length {max_length}")
    table = pa.table({name: pa.chunked_array(arrays) for name, arrays in columns.items()})
    return Dataset(InMemoryTable(table)), counts


# Tokens are those of the kept rows.
_COUNTS = "rows_read rows_kept rows_without_answer rows_cut_before_answer rows_truncated tokens trained_tokens".split()


def _conversations(path: str) -> Iterator[Conversation | None]:
    """Each row of the file as a conversation; None for an instruction without an answer."""
    for number, (where, row) in enumerate(read_rows(path)):
        if "messages" in row:
            yield Conversation.from_json(row, where)
        else:
            record = Instruction.from_json(row, where)
            if not record.output.strip():
                yield None
                continue
            yield Conversation(
                Path(path).name,
                str(number),
                [{"role": "user", "content": record.prompt}, {"role": "assistant", "content": record.output}],
            )


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
    """TRL's trainer without its count of tokens, which takes a batch for one row (see packing.py)."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        self._metrics["train"].pop("num_tokens", None)
        super().log(logs, start_time)


class _MarkWholeCheckpoint(TrainerCallback):
    """Marks a checkpoint once every process has written its files, so that a kill in between is seen."""

    def __init__(self, description: dict[str, Any]) -> None:
        self._description = description

    def on_save(self, args, state, control, **kwargs):
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            write_json(Path(args.output_dir, f"checkpoint-{state.global_step}", WHOLE), self._description)


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


def delete_torn_checkpoints(output_dir: str) -> None:
    """Delete the checkpoints newer than the last whole one; nobody may be writing in the folder."""
    for folder in _checkpoints(output_dir):
        if (folder / WHOLE).exists():
            return
        shutil.rmtree(folder)


def last_whole_checkpoint(output_dir: str, description: dict[str, Any]) -> str | None:
    """The newest checkpoint that was written to its end, to go on from.

    Raises:
        UserError: it was made with another description; to go on would mix two runs.
    """
    folder = next((folder for folder in _checkpoints(output_dir) if (folder / WHOLE).exists()), None)
    if folder is None:
        return None
    try:
        before = json.loads((folder / WHOLE).read_bytes())
    except ValueError:  # the mark of an older version was an empty file
        before = {}
    names = [name for name in before | description if name not in _PATHS]
    other = [name for name in names if before.get(name) != description.get(name)]
    if other:
        shown = [f"{name} ({_short(before.get(name))}, now {_short(description.get(name))})" for name in other[:4]]
        more = f" and {len(other) - 4} more" if other[4:] else ""
        raise UserError(
            f"{folder}: was made with another {', '.join(shown)}{more}. Give another --output_dir, or delete "
            f"{output_dir} to train anew."
        )
    return str(folder)


def _checkpoints(output_dir: str) -> list[Path]:
    """Newest first."""
    folders = Path(output_dir).glob("checkpoint-*")
    return sorted(folders, key=lambda folder: int(folder.name.split("-")[1]), reverse=True)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else text[:12] + '..."'


if __name__ == "__main__":
    run(main, Settings, Training)
