"""Stage 2: fine-tune a causal language model on instructions or conversations, thin over TRL's `SFTTrainer`.

    accelerate launch -m open_instruct.finetune --model_name_or_path MODEL --train_file sit.jsonl --output_dir DIR

Rows are encoded with a chat template (`core/chat.py`), packed without leaks between them, and the loss is taken on the
assistant's tokens only. A run that was interrupted goes on from its last whole checkpoint when the same command is
given again.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import pyarrow as pa
import torch
from datasets import Dataset
from datasets.table import InMemoryTable
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    TrainerCallback,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from open_instruct.core.chat import encode, set_template, template_names
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.records import Conversation, Instruction, read_rows
from open_instruct.core.run_info import RunInfo, finished

WHOLE = "whole"  # this file in a checkpoint says that every other file of it was written


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
    report_to: str = help_field("tensorboard, wandb or none", "none")
    bf16: bool | None = field(default=None, metadata={"help": "bfloat16; by default where a GPU has it"})

    def __post_init__(self):
        if self.bf16 is None:
            self.bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported() and not self.use_cpu
        super().__post_init__()


def main(settings: Settings, training: Training) -> None:
    """Encode the rows, train, write the checkpoint."""
    first = training.process_index == 0
    description = {**asdict(settings), **{name: getattr(training, name) for name in _REPORTED}}
    if finished(training.output_dir, description):
        if first:
            print(f"{training.output_dir}: already finished with these settings; delete the folder to train again")
        return
    tokenizer = load_tokenizer(settings.model_name_or_path)
    end_of_turn = tokenizer.eos_token_id
    if settings.prompt_template != "model":
        end_of_turn = set_template(tokenizer, settings.prompt_template)
    training.gradient_accumulation_steps = accumulation(settings, training)
    dataset, counts = prepare(settings, training.max_length, tokenizer)
    if first:
        _print_counts(counts, training)
    set_seed(training.seed)
    with RunInfo(training.output_dir, description, seed=training.seed) as info:
        model = AutoModelForCausalLM.from_pretrained(
            settings.model_name_or_path, dtype=torch.bfloat16 if training.bf16 else torch.float32
        )
        model.generation_config.eos_token_id = end_of_turn
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        trainer = SFTTrainer(
            model=model,
            args=training,
            train_dataset=dataset,
            processing_class=tokenizer,
            callbacks=[_MarkWholeCheckpoint()],
        )
        result = trainer.train(resume_from_checkpoint=last_whole_checkpoint(training.output_dir))
        trainer.save_model(training.output_dir)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        if first:
            info.add(**counts, first_loss=losses[0], last_loss=losses[-1], steps=trainer.state.global_step)
            print(
                f"loss {losses[0]:.4f} -> {losses[-1]:.4f} in {trainer.state.global_step} steps and "
                f"{result.metrics['train_runtime']:.0f} s; checkpoint in {training.output_dir}"
            )


# What else of TRL's settings decides the result; all of them stand in the checkpoint's training_args.bin.
_REPORTED = (
    "learning_rate lr_scheduler_type warmup_steps weight_decay num_train_epochs max_steps max_length packing "
    "per_device_train_batch_size seed bf16 world_size"
).split()


def load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """The tokenizer of `model`; a pad token where it has none.

    Raises:
        UserError: no such folder, or one without configuration, weights or tokenizer.
    """
    if os.path.isdir(model):
        names = os.listdir(model)
        if "config.json" not in names:
            raise UserError(f"{model}: no config.json in this folder; give a checkpoint as transformers writes it")
        if not any(name.endswith((".safetensors", ".bin")) for name in names):
            raise UserError(f"{model}: no weights (*.safetensors) in this folder")
        if not any(name.startswith("tokenizer") for name in names):
            raise UserError(
                f"{model}: no tokenizer in this folder (tokenizer.json); copy those files of its base model here"
            )
    elif os.path.sep in model and not model.count("/") == 1:
        raise UserError(f"{model}: no such folder")
    try:
        AutoConfig.from_pretrained(model)
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise UserError(f"{model}: no checkpoint that can be read ({str(error).splitlines()[0]})") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


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
    print(
        f"rows: {counts['rows_read']:,} read = {counts['rows_kept']:,} kept + {counts['rows_without_answer']:,} "
        f"without an answer + {counts['rows_cut_before_answer']:,} with an answer beyond {training.max_length} tokens; "
        f"{counts['rows_truncated']:,} of the kept ones are cut off there\n"
        f"tokens an epoch: {counts['tokens']:,}, {counts['trained_tokens']:,} of them trained on (the assistant's); "
        f"{training.num_train_epochs:g} epochs on {training.world_size} device(s)",
        flush=True,
    )


class _MarkWholeCheckpoint(TrainerCallback):
    """Marks a checkpoint once all its files are written, so that a kill in between is seen."""

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            Path(args.output_dir, f"checkpoint-{state.global_step}", WHOLE).touch()


def last_whole_checkpoint(output_dir: str) -> str | None:
    """The newest checkpoint that was written to its end; newer torn ones are deleted."""
    folders = sorted(
        Path(output_dir).glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]), reverse=True
    )
    for folder in folders:
        if (folder / WHOLE).exists():
            print(f"going on from {folder}", flush=True)
            return str(folder)
        shutil.rmtree(folder)
    return None


if __name__ == "__main__":
    run(main, Settings, Training)
