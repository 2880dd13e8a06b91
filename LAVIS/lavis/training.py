"""Fine-tunes an InstructBLIP on rows of make_instruct_data.py. `LAVIS/train.py` is its command."""

import dataclasses
import json
import logging
import math
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import set_seed

from lavis import trained
from lavis.examples import FILE, Examples, noted
from lavis.inputs import encoder_of
from lavis.model import load_config
from lavis.rows import Row, missing_images, read_splits
from lavis.settings import Training
from lavis.trainer import arguments, build_trainer
from open_instruct.core import checkpoint
from open_instruct.core.errors import UserError, full_disk_told
from open_instruct.core.interruption import Interrupted, StopOnSigterm
from open_instruct.core.only_run import only_run
from open_instruct.core.processes import said_once, told_by_the_first
from open_instruct.core.resume import delete_torn_checkpoints, last_whole_checkpoint, trained_to_its_end
from open_instruct.core.run_info import RunInfo, finished


def train(settings: Training, merge_into: str = "") -> None:
    """Train, or go on from the last checkpoint, and write what was trained into `run.output_dir`.

    Args:
        settings: of a YAML file.
        merge_into: folder for a whole checkpoint as well; "" for none.

    Raises:
        UserError: base, rows, pictures or settings cannot be used, the folder holds checkpoints of other ones, the disk
            is too small, or another process is training there.
        Interrupted: a SIGTERM came; a checkpoint was saved.
    """
    said_once(lambda first: _train(settings, first, merge_into))


def _train(settings: Training, first: bool, merge_into: str) -> None:
    _quiet()
    run = settings.run
    folder = Path(run.output_dir)
    rows, files = read_splits(settings.datasets, run.train_splits, run.max_rows)
    config = load_config(settings.model)
    encoder = encoder_of(settings.model, config)
    settings = dataclasses.replace(settings, model=trained.with_trained_adapters(settings.model))
    args = arguments(settings)  # processes find each other here
    with ExitStack() as stack:
        description, start, done = told_by_the_first(first, lambda: _prepared(settings, rows, files, stack))
        if done:
            if first:
                print(f"{folder}: already finished with these settings; delete the folder to train again")
        else:
            model = trained.load_trained(settings.model, torch.bfloat16 if args.bf16 else torch.float32)
            if first:
                info = stack.enter_context(RunInfo(folder, description, seed=run.seed))
                print(_told(model, rows, args, start), flush=True)
            stack.enter_context(full_disk_told(run.output_dir))
            set_seed(run.seed)
            begin = time.monotonic()
            state = trained_to_its_end(start) if start else None
            if state is None:
                trainer = build_trainer(settings, args, model, Examples(rows, encoder, folder), encoder, description)
                stop = stack.enter_context(StopOnSigterm())
                trainer.add_callback(stop)
                trainer.train(resume_from_checkpoint=start)
                state = trainer.state
                if stop.stopped:
                    raise Interrupted(state.global_step)
            else:  # killed after its last step: nothing is left but to write the result
                trained.put_on(model, Path(start))
            if first:
                trained.save(model, settings.model, folder)
                info.add(**_results(state, rows, folder, time.monotonic() - begin))
        if merge_into and first:
            trained.write_merged(dataclasses.replace(settings.model, finetuned=run.output_dir), Path(merge_into))
            print(f"whole checkpoint in {merge_into}")


def _prepared(
    settings: Training, rows: list[Row], files: list[str], stack: ExitStack
) -> tuple[dict[str, Any], str | None, bool]:
    """What the result depends on, the checkpoint to go on from, and whether the run is finished already.

    Args:
        stack: what holds until the end of the run: the lock on its folder.
    """
    folder = Path(settings.run.output_dir)
    stack.enter_context(only_run(folder, "training"))
    description = describe(settings, files)
    if finished(folder, description) and (folder / trained.WEIGHTS).is_file():
        return description, None, True
    _refuse_missing(rows)
    delete_torn_checkpoints(settings.run.output_dir)
    return description, last_whole_checkpoint(settings.run.output_dir, description, setting="run.output_dir"), False


def describe(settings: Training, files: list[str]) -> dict[str, Any]:
    """What the result depends on, as JSON can hold it: settings, and the contents of the rows and of the base."""
    model, run = dataclasses.asdict(settings.model), dataclasses.asdict(settings.run)
    plain = {
        **{f"model.{name}": value for name, value in model.items() if name not in _PATHS},
        **{f"run.{name}": value for name, value in run.items() if name not in _HARMLESS},
        "rows": [checkpoint.file_digest(Path(file)) for file in files],
        "base": _base_digest(settings.model.pretrained),
        "world_size": int(os.environ.get("WORLD_SIZE", "1")),
    }
    if settings.model.finetuned:
        plain["finetuned"] = checkpoint.file_digest(Path(settings.model.finetuned, trained.WEIGHTS))
    return json.loads(json.dumps(plain))


_PATHS = ("pretrained", "finetuned")  # their contents count; the same ones may be elsewhere by now
# Where things go, what is told and how fast it is leave the trained weights as they are.
_HARMLESS = frozenset(
    ("output_dir", "num_workers", "save_steps", "save_total_limit", "logging_steps", "report_to", "device")
)


def _base_digest(pretrained: str) -> str:
    return checkpoint.fingerprint(Path(pretrained)) if Path(pretrained).is_dir() else pretrained


def _refuse_missing(rows: list[Row]) -> None:
    missing = missing_images(rows)
    if missing:
        raise UserError(
            f"{len(missing):,} images are not there, such as {missing[0]}. Bring them (bash LAVIS/download_vqa.sh), "
            "correct build_info.images.storage, or make the rows again with --images FOLDER, which leaves theirs out"
        )


def _told(model: torch.nn.Module, rows: list[Row], args: transformers.TrainingArguments, start: str | None) -> str:
    learned = sum(one.numel() for one in model.parameters() if one.requires_grad)
    everything = sum(one.numel() for one in model.parameters())
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    lines = [
        f"{len(rows):,} rows; {learned:,} of {everything:,} weights train",
        f"{args.world_size} processes on {args.device.type}, {batch} rows an optimizer step, "
        f"{'bfloat16' if args.bf16 else 'float32'}",
    ]
    steps = args.max_steps if args.max_steps > 0 else math.ceil(len(rows) / batch) * math.ceil(args.num_train_epochs)
    if args.warmup_steps >= steps:
        lines.append(f"note: all {steps} steps are warm-up (run.warmup_steps {int(args.warmup_steps)}); set fewer")
    return "\n".join([*lines, f"going on from {start}"] if start else lines)


def _results(state: transformers.TrainerState, rows: list[Row], folder: Path, seconds: float) -> dict[str, Any]:
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    notes = noted(folder)
    rejected = [note for note in notes if not note["reason"].startswith("kept")]
    results = {
        "steps": state.global_step,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "rows": len(rows),
        "rejected": len(rejected),
        "cut_off": len(notes) - len(rejected),
        "seconds": round(seconds, 1),
    }
    if torch.cuda.is_available():
        results["peak_gpu_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f} in {state.global_step} steps and {seconds:.0f} s; in {folder}")
    if notes:
        print(
            f"{len(rejected)} of {len(rows)} rows had a damaged picture, {len(notes) - len(rejected)} targets were cut "
            f"off: {folder / FILE}"
        )
    return results


def _quiet() -> None:
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("accelerate.accelerator").setLevel(logging.ERROR)
    logging.getLogger("transformers.trainer_utils").setLevel(logging.ERROR)
