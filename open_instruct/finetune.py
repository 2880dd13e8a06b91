"""Stage 2: fine-tune a causal language model on instructions or conversations, thin over TRL's `SFTTrainer`.

    accelerate launch -m open_instruct.finetune --model_name_or_path MODEL --train_file sit.jsonl --output_dir DIR
    python -m open_instruct.training.launch --nproc_per_node 8 -m open_instruct.finetune --config settings.yaml

Rows are encoded with a chat template (`core/chat.py`), packed without leaks between them, and the loss is taken on the
assistant's tokens only. What the run will take is told first. A run that was interrupted goes on from its last whole
checkpoint when the same command is given again; with other settings, rows or base it is refused. After a SIGTERM it
saves a checkpoint and exits with 75. `--config FILE.yaml` sets flags by their names; flags behind it win.
"""

import json
import logging
import shutil
import socket
import sys
import time
import warnings
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, set_seed

from open_instruct.core import checkpoint
from open_instruct.core.chat import set_template
from open_instruct.core.command import guarded, run
from open_instruct.core.errors import UserError, full_disk_told
from open_instruct.core.interruption import Interrupted, StopOnSigterm
from open_instruct.core.only_run import only_run
from open_instruct.core.processes import on_each_machine, told_by_the_first
from open_instruct.core.resume import delete_torn_checkpoints, last_whole_checkpoint, trained_to_its_end
from open_instruct.core.run_info import RunInfo, finished
from open_instruct.training import plan
from open_instruct.training.adapters import IN_4_BITS, adapter_config, refuse_missing_layers
from open_instruct.training.model_card import write_model_card
from open_instruct.training.offloading import compile_adam
from open_instruct.training.packing import packed
from open_instruct.training.result import copy_result, has_result
from open_instruct.training.rows import Counts, encode_rows, open_rows
from open_instruct.training.settings import Settings, Training, refuse_what_cannot_be, with_flags_of_file
from open_instruct.training.sources import Source, sources
from open_instruct.training.speed import Speed, flops_per_token, peak_flops
from open_instruct.training.trainer import build_trainer


@dataclass
class Prepared:
    """What the first process finds out before anything is trained, and tells the others.

    Attributes:
        description: what the result depends on.
        start: checkpoint to go on from.
        counts: of the rows.
        shape: of the model.
    """

    description: dict[str, Any]
    start: str | None
    counts: Counts
    shape: plan.Shape


def main(settings: Settings, training: Training) -> None:
    """Encode the rows, tell what the run will take, train, write the checkpoint.

    Raises:
        UserError: base, rows or settings cannot be used, the folder holds checkpoints of other ones, the disk is too
            small, or another process is training there.
        Interrupted: a SIGTERM came; a checkpoint was saved.
    """
    first = training.process_index == 0
    _quiet()
    with ExitStack() as stack:
        clock = time.monotonic()
        ready = told_by_the_first(first, lambda: prepare(settings, training, stack))
        if ready is None:
            return
        if plan.sharding_of(training).offload_optimizer and training.deepspeed:
            on_each_machine(compile_adam)
        training.gradient_accumulation_steps = accumulation(settings, training)
        if deepspeed := getattr(training, "hf_deepspeed_config", None):  # it was filled in when that was not known
            deepspeed.config["gradient_accumulation_steps"] = training.gradient_accumulation_steps
            deepspeed.config["train_batch_size"] = settings.total_batch_size
        tokenizer, end_of_turn = load_tokenizer(settings)
        with PartialState().main_process_first():
            _refuse_unseen_folder(training)
            rows = batch_rows(_rows_folder(training) / "train.arrow", training)
            eval_rows = batch_rows(_rows_folder(training) / "eval.arrow", training) if settings.eval_file else None
        results = ready.counts.figures()
        told_by_the_first(first, lambda: _tell(ready, len(rows), settings, training))
        if first:
            info = stack.enter_context(RunInfo(training.output_dir, ready.description, seed=training.seed))
        stack.enter_context(full_disk_told(training.output_dir))
        if ready.start and trained_to_its_end(ready.start):  # killed after its last step: nothing is left but to copy
            state = trained_to_its_end(ready.start)
            if first:
                copy_result(Path(ready.start), Path(training.output_dir))
        else:
            stop = stack.enter_context(StopOnSigterm())
            set_seed(training.seed)
            flops = flops_per_token(ready.shape, ready.counts, settings.adapter)
            speed = Speed(flops, peak_flops(training.device, training.bf16), training.device)
            trainer = build_trainer(
                settings, training, rows, tokenizer, end_of_turn, ready.description, speed, eval_rows
            )
            trainer.add_callback(stop)
            trainer.train(resume_from_checkpoint=ready.start)
            state = trainer.state
            if stop.stopped:
                raise Interrupted(state.global_step)
            trainer.save_model(training.output_dir)
        if first:
            losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
            results |= {"first_loss": losses[0], "last_loss": losses[-1], "steps": state.global_step}
            if evaluated := [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]:
                results["eval_loss"] = evaluated[-1]
            info.add(**results)
            Path(training.output_dir, "training_args.bin").unlink(missing_ok=True)  # a pickle, of use to nobody else
            write_model_card(Path(training.output_dir), ready.description, results)
            shutil.rmtree(_rows_folder(training))
            print(
                f"loss {losses[0]:.4f} -> {losses[-1]:.4f} in {state.global_step} steps and "
                f"{time.monotonic() - clock:.0f} s; checkpoint in {training.output_dir}"
            )
        PartialState().wait_for_everyone()


def prepare(settings: Settings, training: Training, stack: ExitStack) -> Prepared | None:
    """Check everything and encode the rows; None where the run is finished already.

    Args:
        stack: what holds until the end of the run: the lock on its folder.

    Raises:
        UserError: see `main`.
    """
    refuse_what_cannot_be(training)
    files = sources(settings.train_file)
    # Before the base: where no hub can be reached, asking for it takes half a minute.
    for path in [*(file.path for file in files), *([settings.eval_file] if settings.eval_file else [])]:
        _refuse_unreadable(path)
    tokenizer, _ = load_tokenizer(settings)
    training.gradient_accumulation_steps = accumulation(settings, training)
    adapter = adapter_config(settings)
    description = describe(settings, training)
    stack.enter_context(only_run(training.output_dir, "training"))
    if finished(training.output_dir, description) and has_result(Path(training.output_dir)):
        print(f"{training.output_dir}: already finished with these settings; delete the folder to train again")
        return None
    delete_torn_checkpoints(training.output_dir)
    start = last_whole_checkpoint(training.output_dir, description, _PATHS)
    _, config = checkpoint.load_tokenizer(settings.model_name_or_path)
    refuse_missing_layers(plan.without_weights(config), settings)
    folder = _rows_folder(training)
    shutil.rmtree(folder, ignore_errors=True)
    with full_disk_told(training.output_dir):
        if settings.eval_file:  # first, since it is short: what is wrong with it is found at once
            encode_rows([Source(settings.eval_file)], training.max_length, tokenizer, folder / "eval.arrow")
        counts = encode_rows(
            files, training.max_length, tokenizer, folder / "train.arrow", settings.max_train_rows, training.seed
        )
    return Prepared(description, start, counts, plan.shape_of(config, adapter))


def describe(settings: Settings, training: Training) -> dict[str, Any]:
    """What the result depends on, as JSON can hold it: the settings, and the contents of the rows and of the base."""
    chosen = {one.name: getattr(training, one.name) for one in fields(training)}
    plain = {
        **{name: value for name, value in asdict(settings).items() if name != "eval_file"},
        **{name: value for name, value in chosen.items() if not name.startswith(_HARMLESS)},
        "world_size": training.world_size,
        "sharding": plan.sharding_of(training).name,
        "train_file_amount": [(file.rows, file.times) for file in sources(settings.train_file)],
        "train_file_sha256": [checkpoint.file_digest(Path(file.path)) for file in sources(settings.train_file)],
        "base_digest": _base_digest(settings.model_name_or_path),
        **(IN_4_BITS if settings.use_qlora else {}),
    }
    return json.loads(json.dumps(plain, default=lambda one: one.to_dict() if hasattr(one, "to_dict") else str(one)))


_PATHS = ("model_name_or_path", "train_file")  # their contents count; the same ones may be elsewhere by now
# TRL's settings that begin so leave the trained weights as they are: where things go, what is told, how fast it is.
# Every other one counts, so that a new one of TRL's is rather refused than mixed in.
_HARMLESS = (
    *("output_dir", "run_name", "project", "trackio_", "hub_", "push_to_hub", "report_to", "disable_tqdm", "log_"),
    *("logging_", "save_steps", "save_total_limit", "save_strategy", "save_on_each_node", "eval_", "per_device_eval"),
    *("do_", "resume_from_checkpoint", "local_rank", "ddp_", "dataloader_num_workers", "dataloader_pin_memory"),
    *("dataloader_persistent_workers", "dataloader_prefetch_factor", "dataset_num_proc", "torch_empty_cache_steps"),
    *("skip_memory_metrics", "debug", "include_num_input_tokens_seen", "_", "deepspeed", "fsdp", "dataset_kwargs"),
)


def _refuse_unreadable(path: str) -> None:
    try:
        open(path, "rb").close()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; expected a file of rows") from error


def _base_digest(model: str) -> str:
    if checkpoint.on_hub(model):
        return checkpoint.load_tokenizer(model)[1]._commit_hash
    return checkpoint.fingerprint(Path(model))


def load_tokenizer(settings: Settings) -> tuple[PreTrainedTokenizerBase, int]:
    """The base's tokenizer with template and pad token, and the token that ends a turn.

    Raises:
        UserError: the base is no whole checkpoint.
    """
    base = settings.model_name_or_path
    if not checkpoint.on_hub(base):
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


def batch_rows(file: Path, training: Training) -> Dataset:
    """The encoded rows as batches are made of them: packed, or as they are; shuffled, if that is set."""
    rows = open_rows(file)
    seed = training.seed if training.shuffle_dataset else None
    if training.packing:
        return packed(rows, training.max_length, seed)
    return rows if seed is None else rows.shuffle(seed=seed)


def _rows_folder(training: Training) -> Path:
    """Where the encoded rows lie while the run lasts."""
    return Path(training.output_dir, ".rows")


def _refuse_unseen_folder(training: Training) -> None:
    if not _rows_folder(training).is_dir():  # the first process wrote it
        raise UserError(
            f"{training.output_dir}: on {socket.gethostname()} there are not the rows that the first machine has put "
            "there; --output_dir must lie where all machines see it"
        )


def _tell(ready: Prepared, rows: int, settings: Settings, training: Training) -> None:
    sharding = plan.sharding_of(training)
    memory = plan.memory_of(ready.shape, settings, training, sharding)
    print(plan.told(ready.counts, rows, ready.shape, memory, settings, training, sharding), flush=True)
    plan.check_disk(ready.shape, settings, training, sharding, plan.steps_of(rows, training))
    if ready.start:
        print(f"going on from {ready.start}", flush=True)


def _quiet() -> None:
    transformers.utils.logging.disable_progress_bar()  # a bar for each checkpoint written, across the one of ours
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    # That the trainer counts passes itself, and that a disk tells files' ages in whole seconds.
    logging.getLogger("accelerate.accelerator").setLevel(logging.ERROR)
    logging.getLogger("transformers.trainer_utils").setLevel(logging.ERROR)


def _start() -> None:
    try:
        run(main, Settings, Training, arguments=with_flags_of_file(sys.argv[1:]))
    except Interrupted:
        _part()
        raise
    _part()


def _part() -> None:
    """All processes let go of each other; one that just ends may abort at it, and its exit code would be that."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    guarded(_start)
