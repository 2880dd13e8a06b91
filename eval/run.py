"""Evaluates a checkpoint on any number of benchmarks, with one model load.

    python -m eval.run --model CHECKPOINT --tasks miniature --output_dir results/NAME

writes results/NAME/<benchmark>/metrics.json and predictions.jsonl, and results/NAME/run.json. The same command again
does only what is not done: finished benchmarks are kept as long as checkpoint, data, task and settings are the same,
and a killed one goes on from its last finished request. `scripts/evaluation.sh` calls this; `eval.report` reads what
it writes.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eval import benchmarks, results
from eval.benchmarks import Benchmark
from eval.resume import ResumableModel
from eval.sandbox import UNSANDBOXED_VARIABLE
from eval.scored import counted_clusters, figures, predictions
from eval.tables import terminal
from open_instruct.core import checkpoint
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.only_run import only_run
from open_instruct.core.run_info import RunInfo


@dataclass
class Settings:
    model: str = help_field("checkpoint folder: weights, tokenizer and chat template")
    output_dir: str = help_field("folder of this run's results; its name is the run's name in reports")
    tasks: str = help_field("benchmarks or groups of them, separated by commas; an unknown one lists all", "miniature")
    backend: str = help_field("what runs the model: hf (transformers)", "hf")
    device: str = help_field("cpu, cuda, cuda:1, ...; by default cuda where there is one", "")
    dtype: str = help_field("number format of the weights: auto (the checkpoint's), float32, bfloat16, float16", "auto")
    batch_size: int = help_field(
        "requests at once; lower it if memory runs out. In float32 greedy answers stay the same; in bfloat16 and "
        "float16 rounding, and now and then an answer, changes with it",
        128,
    )
    limit: int = help_field(
        "only the first N items of each benchmark, marked as partial in every report; 0 takes all", 0
    )
    seed: int = help_field("of sampled answers and of the choice of examples in the prompt", 0)
    include_path: str = help_field("one more folder of tasks, beside eval/tasks", "")
    allow_unsandboxed_code: bool = help_field(
        "run generated code even where bubblewrap is missing: it can then do whatever you can", False
    )


def main(settings: Settings) -> None:
    """Evaluate what is not evaluated yet, and print all figures of the run.

    Raises:
        UserError: model, task, data or output folder is not usable; nothing was loaded then.
    """
    model_folder, output = Path(settings.model), Path(settings.output_dir)
    if settings.backend not in BACKENDS:
        raise UserError(f"no backend named {settings.backend!r}; there are: {', '.join(BACKENDS)}")
    if settings.batch_size < 1 or settings.limit < 0:
        raise UserError("--batch_size must be at least 1 and --limit at least 0")
    if settings.allow_unsandboxed_code:
        os.environ[UNSANDBOXED_VARIABLE] = "1"
    checkpoint.check(model_folder)
    manager, chosen = _find(settings)
    model_depends_on = {
        "checkpoint": checkpoint.fingerprint(model_folder),
        "backend": settings.backend,
        "dtype": settings.dtype,
        "seed": settings.seed,
        **_rounding(settings),
    }
    depends_on = {one.name: {**model_depends_on, "limit": settings.limit, **one.fingerprint()} for one in chosen}
    with _only_run(output):
        _refuse_folder_of_another(output, model_folder, model_depends_on["checkpoint"])
        kept = [one for one in chosen if _is_finished(output / one.name, depends_on[one.name])]
        missing = [one for one in chosen if one not in kept]
        if kept:
            print(f"finished before and kept: {', '.join(one.name for one in kept)}")
        if missing:
            tasks = [manager.load([one.name]) for one in missing]  # reads the data: what is wrong shows before loading
            with RunInfo(output, settings, settings.seed):
                for one in missing:
                    results.drop(output / one.name)
                model = ResumableModel(BACKENDS[settings.backend](settings), model_depends_on)
                for benchmark, task in zip(missing, tasks, strict=True):
                    _evaluate(benchmark, task, model, settings, output / benchmark.name, depends_on[benchmark.name])
        elif results.read_info(output).get("status") != "finished":  # killed when all but run.json was written
            with RunInfo(output, settings, settings.seed):
                pass
    found = results.read_run(output)
    print(terminal({output.name: {one.name: found[one.name] for one in chosen}}))
    print(f"\nresults and predictions: {output}")


def _find(settings: Settings) -> tuple[Any, list[Benchmark]]:
    """lm_eval's task manager over our tasks only (its own 15,000 take seconds), and the benchmarks asked for."""
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval.api").setLevel(logging.ERROR)  # hints for authors of tasks, at every load
    folders = [benchmarks.TASKS_FOLDER, *([Path(settings.include_path)] if settings.include_path else [])]
    if not folders[-1].is_dir():
        raise UserError(f"{folders[-1]}: no such folder of tasks")
    manager = TaskManager(include_path=[str(folder) for folder in folders], include_defaults=False)
    names = [name.strip() for name in settings.tasks.split(",") if name.strip()]
    return manager, benchmarks.find(names, folders, manager)


def _rounding(settings: Settings) -> dict[str, Any]:
    """What answers depend on in number formats shorter than float32, by rounding: the batch, and what works it out."""
    if (settings.dtype if settings.dtype != "auto" else _dtype_of(Path(settings.model))) == "float32":
        return {}
    import torch

    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    with suppress(ValueError, RuntimeError, AssertionError):  # no GPU; a device that is not there is told on loading
        device = torch.cuda.get_device_name(device)
    return {"batch_size": settings.batch_size, "device": device}


def _dtype_of(model: Path) -> str:
    """The number format of a checkpoint's weights; "" where its configuration does not say."""
    try:
        config = json.loads((model / "config.json").read_bytes())
        return config.get("dtype") or config.get("torch_dtype") or ""
    except (ValueError, AttributeError):  # damaged, which is told on loading
        return ""


def _refuse_folder_of_another(output: Path, model: Path, fingerprint: str) -> None:
    """it/checkpoint-500 and sit/checkpoint-500 have one name by default: one must not replace the other's results.

    The same path may hold a new model (trained again), and another path the same one (moved).
    """
    info = results.read_info(output)
    earlier = (info.get("settings") or {}).get("model")
    if earlier is None:
        return
    earlier = Path(info.get("folder", ""), earlier).resolve()
    if earlier == model.resolve():
        return
    found = [results.read(path) for path in output.iterdir() if path.is_dir()]
    if {one.depends_on.get("checkpoint") for one in found if one} == {fingerprint}:
        return
    raise UserError(
        f"{output}: holds the results of another model, {earlier}. Give this one another name "
        f"(bash scripts/evaluation.sh {model} NAME), or delete that folder."
    )


def _is_finished(folder: Path, depends_on: dict[str, Any]) -> bool:
    found = results.read(folder)
    return found is not None and found.depends_on == depends_on


_only_run = partial(only_run, work="evaluation")


def _evaluate(
    benchmark: Benchmark,
    loaded: dict[str, Any],
    model: ResumableModel,
    settings: Settings,
    folder: Path,
    depends_on: dict[str, Any],
) -> None:
    """Ask and score one benchmark, and write its two files."""
    began = time.monotonic()
    model.begin(folder, benchmark.title)
    (task,) = loaded["tasks"].values()
    samples = _scored_items(loaded, task, model, settings, benchmark.chat_template)
    result = results.Result(
        benchmark=benchmark.name,
        title=benchmark.title,
        short=benchmark.short,
        about=benchmark.about,
        order=benchmark.order,
        n=len({sample["doc_id"] for sample in samples}),
        n_available=len(task.eval_docs),
        metrics=figures(benchmark, samples),
        clusters=counted_clusters(benchmark, samples),
        depends_on=depends_on,
        seconds=round(time.monotonic() - began, 3),
    )
    results.write(folder, result, predictions(samples, task))


def _scored_items(
    loaded: dict[str, Any], task: Any, model: ResumableModel, settings: Settings, as_chat: bool
) -> list[dict[str, Any]]:
    """The items of a task as lm_eval logs them, each with its answer and its metrics.

    `lm_eval.evaluate` and not `simple_evaluate`, which takes 4 s a call to ask the machine for its versions.
    """
    import torch
    from lm_eval import evaluate
    from transformers import set_seed

    if task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=settings.seed)
    set_seed(settings.seed)  # before each benchmark, so that none depends on which ran before it
    try:
        found = evaluate(
            lm=model,
            task_dict=loaded,
            limit=settings.limit or None,
            bootstrap_iters=0,  # open_instruct.core.intervals does it
            apply_chat_template=as_chat,
            fewshot_as_multiturn=as_chat,
        )
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the GPU's memory is full with --batch_size {settings.batch_size}. Run again with --batch_size "
            f"{max(1, settings.batch_size // 4)}; in float32, where answers do not depend on it, the finished are kept."
        ) from error
    return found["samples"][task.task_name]


def _load_hf(settings: Settings) -> Any:
    """The checkpoint in transformers."""
    import torch
    import transformers
    from lm_eval.models.huggingface import HFLM

    transformers.logging.set_verbosity_error()
    logging.getLogger("lm_eval.models.huggingface").setLevel(logging.ERROR)  # warns of a model that is loaded already
    checkpoint.load_tokenizer(settings.model)  # a damaged one is told here; HFLM wants to load it itself
    model = checkpoint.load_model(settings.model, settings.dtype)
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model = model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: not usable for this model ({str(error).splitlines()[0]})") from error
    return HFLM(
        pretrained=model,
        tokenizer=settings.model,
        batch_size=settings.batch_size,
        add_bos_token=False,  # the chat template puts in every special token that belongs there
    )


BACKENDS: dict[str, Callable[[Settings], Any]] = {"hf": _load_hf}

if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # models and data are local; before the first import that reads it
    os.environ.setdefault("TQDM_DISABLE", "1")  # lm_eval's many bars; ours asks for itself
    run(main, Settings)
