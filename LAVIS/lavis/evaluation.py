"""Evaluates an InstructBLIP on questions about pictures. `LAVIS/evaluate.py` is its command."""

import dataclasses
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import torch
import transformers
from accelerate import PartialState
from transformers import set_seed

from lavis import prompts, results, trained
from lavis.generation import Answers, respond
from lavis.inputs import encoder_of
from lavis.model import load_config
from lavis.rows import Row, read_splits
from lavis.settings import Evaluation
from open_instruct.core import checkpoint
from open_instruct.core.errors import UserError
from open_instruct.core.only_run import only_run
from open_instruct.core.processes import said_once, told_by_the_first
from open_instruct.core.run_info import RunInfo


def evaluate(settings: Evaluation) -> None:
    """Ask every question, score the answers, write `results_dir/run_name/benchmark`, print the figures.

    Raises:
        UserError: model, rows or settings cannot be used, or another process is evaluating there.
    """
    said_once(lambda first: _evaluate(settings, first))


def _evaluate(settings: Evaluation, first: bool) -> None:
    transformers.utils.logging.disable_progress_bar()
    run = settings.run
    prompts.evaluation_prompt(run.prompt, "")  # its name is right
    rows, files = read_splits(settings.datasets, run.test_splits, run.max_rows)
    results.check_metric(run, rows)
    config = load_config(settings.model)
    asked = _asked(rows, settings)
    folder = Path(run.results_dir, run.run_name, run.benchmark)
    cpu = run.device == "cpu" or not torch.cuda.is_available()
    state = PartialState(cpu=cpu, timeout=timedelta(hours=2))  # a share may take longer than another
    with ExitStack() as stack:
        depends_on = told_by_the_first(first, lambda: _depends_on(settings, files, len(rows)))
        if first:
            stack.enter_context(only_run(folder, "evaluation"))
            info = stack.enter_context(RunInfo(folder.parent, _told(settings), seed=run.seed))
        set_seed(run.seed)
        encoder = encoder_of(settings.model, config)
        model = trained.load_trained(settings.model, torch.float32 if cpu or not run.amp else torch.bfloat16)
        model.eval().to(state.device)
        begin = time.monotonic()
        answers = Answers(folder, results.digest(depends_on), depends_on)
        found = respond(model, encoder, rows, asked, run, answers)
        if not first:
            return
        rejected = [
            {"question_id": rows[number].id, "image": rows[number].image, "reason": answer["damaged"]}
            for number, answer in sorted(found.items())
            if "damaged" in answer
        ]
        responses = [found[number].get("response") for number in range(len(rows))]
        seconds = time.monotonic() - begin
        figures = results.write(folder, run, rows, asked, responses, depends_on, rejected, seconds)
        info.add(questions=len(rows), rejected=len(rejected), **{k: one["value"] for k, one in figures.items()})
    print(f"{run.run_name}, {run.title}: {len(rows) - len(rejected)} of {len(rows)} questions, % (95 % interval)")
    print(results.table(figures))
    if rejected:
        print(f"{len(rejected)} pictures could not be read: {folder / results.REJECTED_FILE}")
    print(f"in {folder}")


def _asked(rows: list[Row], settings: Evaluation) -> list[str]:
    """The text that each question is put in; a distracting description is of another image, drawn for each."""
    name = settings.run.prompt
    if not prompts.needs_distraction(name):
        return [prompts.evaluation_prompt(name, row.question) for row in rows]
    described = [row for row in rows if row.captions]
    if len({row.image for row in described}) < 2:
        raise UserError(f"run.prompt: {name} shows captions of other images, and the rows bring none; see README.md")
    asked = []
    for row in rows:
        rng = Random(f"{settings.run.seed} {row.id}")
        other = rng.choice(described)
        while other.image == row.image:
            other = rng.choice(described)
        asked.append(prompts.evaluation_prompt(name, row.question, rng.choice(other.captions)))
    return asked


def _depends_on(settings: Evaluation, files: list[str], rows: int) -> dict[str, Any]:
    """What the answers depend on. `task` leaves the prompt out: models are compared each with its own."""
    model, run = settings.model, settings.run
    base = checkpoint.fingerprint(Path(model.pretrained)) if Path(model.pretrained).is_dir() else model.pretrained
    tuned = Path(model.finetuned, trained.WEIGHTS) if model.finetuned else None
    if tuned and not tuned.is_file():
        raise UserError(f"model.finetuned: {model.finetuned}: no trained parts here ({trained.WEIGHTS})")
    answering = ("prompt", "num_beams", "length_penalty", "max_len", "min_len", "amp", "seed")
    return {
        "checkpoint": results.digest([base, checkpoint.file_digest(tuned) if tuned else ""]),
        "data": results.digest([[checkpoint.file_digest(Path(file)) for file in files], rows]),
        "task": results.digest([run.metric]),
        "settings": {**{name: getattr(run, name) for name in answering}, "max_txt_len": model.max_txt_len},
    }


def _told(settings: Evaluation) -> dict[str, Any]:
    """The settings for run.json; `model` is what reports show as the checkpoint."""
    model = dataclasses.asdict(settings.model)
    return {
        "model": settings.model.finetuned or settings.model.pretrained,
        **{f"model.{name}": value for name, value in model.items()},
        **{f"run.{name}": value for name, value in dataclasses.asdict(settings.run).items()},
    }
