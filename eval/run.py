"""Evaluates a model on any number of benchmarks, with one load.

    python -m eval.run --model CHECKPOINT --tasks miniature --output_dir results/NAME
    python -m eval.run --model CHECKPOINT --tasks paper --backend vllm --output_dir results/NAME
    python -m eval.run --model NAME --backend api --backend_options base_url=http://HOST:8000/v1 --tasks gsm ...

writes results/NAME/<benchmark>/metrics.json and predictions.jsonl, and results/NAME/run.json. The same command again
does only what is not done: finished benchmarks are kept as long as model, data, task and settings are the same, and a
killed one goes on from its last finished request. Benchmarks whose answers a judge has to read are judged after all
have been asked, by `--judge`, now or with a later call. `scripts/evaluation.sh` calls this; `eval.report` reads what
it writes.
"""

import logging
import os
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eval import asking, backends, benchmarks, judging, local_data, results
from eval.backends import window
from eval.backends.base import Needs, Plan
from eval.benchmarks import Benchmark
from eval.sandbox import UNSANDBOXED_VARIABLE
from eval.tables import terminal
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.only_run import only_run
from open_instruct.core.run_info import RunInfo


@dataclass
class Settings:
    model: str = help_field("checkpoint folder: weights, tokenizer and chat template; for api the model's name there")
    output_dir: str = help_field("folder of this run's results; its name is the run's name in reports")
    tasks: str = help_field("benchmarks or groups of them, separated by commas; an unknown one lists all", "miniature")
    backend: str = help_field(
        "what runs the model: hf (transformers), vllm, or api (any server that speaks OpenAI's protocol)", "hf"
    )
    backend_options: list[str] = help_field(
        "more settings of vllm (tensor_parallel=4 max_model_len=4096) or api (base_url=http://HOST:8000/v1)", []
    )
    device: str = help_field("of hf: cpu, cuda, cuda:1, ...; by default cuda where there is one", "")
    dtype: str = help_field("number format of the weights: auto (the checkpoint's), float32, bfloat16, float16", "auto")
    batch_size: int = help_field(
        "of hf: requests at once; lower it if memory runs out. In float32 greedy answers stay the same; in bfloat16 "
        "and float16 rounding, and now and then an answer, changes with it",
        128,
    )
    limit: int = help_field(
        "only the first N items of each benchmark, marked as partial in every report; 0 takes all", 0
    )
    seed: int = help_field("of sampled answers and of the choice of examples in the prompt", 0)
    judge: str = help_field("engine that judges answers: openai, vllm, local, ...; none: they are judged later", "")
    judge_options: list[str] = help_field("its settings: model=NAME base_url=http://HOST:8000/v1, or path=FOLDER", [])
    judge_reference: str = help_field("what answers are compared with, where a judge compares: see docs/judges.md", "")
    include_path: str = help_field("one more folder of tasks, beside eval/tasks", "")
    allow_unsandboxed_code: bool = help_field(
        "run generated code even where bubblewrap is missing: it can then do whatever you can", False
    )


def main(settings: Settings) -> None:
    """Evaluate what is not evaluated yet, judge what is not judged, and print all figures of the run.

    Raises:
        UserError: model, task, data, judge or output folder is not usable; nothing was loaded then.
    """
    output = Path(settings.output_dir)
    backend = backends.backend(settings.backend)
    if settings.batch_size < 1 or settings.limit < 0:
        raise UserError("--batch_size must be at least 1 and --limit at least 0")
    if settings.allow_unsandboxed_code:
        os.environ[UNSANDBOXED_VARIABLE] = "1"
    plan = Plan(
        model=settings.model,
        dtype=settings.dtype,
        device=settings.device,
        batch_size=settings.batch_size,
        seed=settings.seed,
        options=list(settings.backend_options),
    )
    manager, chosen = _find(settings)
    backend.check(plan, _needs(chosen))
    judge = judging.Judge(settings.judge, tuple(settings.judge_options), settings.judge_reference)
    judging.check(chosen, judge)
    model_depends_on = {**backend.identity(plan), "backend": settings.backend, "seed": settings.seed}
    depends_on = {one.name: {**model_depends_on, "limit": settings.limit, **one.fingerprint()} for one in chosen}
    with _only_run(output):
        _refuse_folder_of_another(output, Path(settings.model), model_depends_on["checkpoint"])
        kept = [one for one in chosen if _is_finished(output / one.name, depends_on[one.name])]
        missing = [one for one in chosen if one not in kept]
        if kept:
            print(f"finished before and kept: {', '.join(one.name for one in kept)}")
        tasks = _load(missing, manager)
        if missing or judging.judged(chosen, judge) or results.read_info(output).get("status") != "finished":
            with RunInfo(output, settings, settings.seed):
                if missing:
                    for one in missing:
                        results.drop(output / one.name)
                    asking.ask(
                        [(one, task, output / one.name, depends_on[one.name]) for one, task in tasks],
                        partial(backend.open_model, plan, _needs(missing)),
                        asking.How(model_depends_on, settings.seed, settings.limit, settings.batch_size),
                    )
                judging.judge(chosen, judge, output)
    found = results.read_run(output)
    print(terminal({output.name: {one.name: found[one.name] for one in chosen}}))
    if told := window.told({one.title: window.Cut(**found[one.name].cut) for one in chosen}):
        print(told)
    judging.tell_unjudged(chosen, judge)
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


def _needs(chosen: list[Benchmark]) -> Needs:
    return Needs(
        likelihood=tuple(one.name for one in chosen if one.output_type in ("multiple_choice", "loglikelihood")),
        rolling=tuple(one.name for one in chosen if one.output_type == "loglikelihood_rolling"),
        plain=tuple(one.name for one in chosen if not one.chat_template),
        chat=tuple(one.name for one in chosen if one.chat_template),
    )


def _load(missing: list[Benchmark], manager: Any) -> list[tuple[Benchmark, dict[str, Any]]]:
    """Each benchmark with its task, whose data is read: what is wrong with it shows before the model is loaded.

    Raises:
        UserError: data is missing (one line for all of it), or damaged.
    """
    tasks, absent = {}, []
    # Those that have nothing first: reading the data of the others takes its time.
    for one in sorted(missing, key=lambda one: (local_data.folder() / one.data).exists()):
        if absent and (local_data.folder() / one.data).exists():
            break
        try:
            tasks[one.name] = manager.load([one.name])
        except local_data.MissingData as error:
            absent.append(error)
    if absent:
        raise local_data.all_missing(absent)
    return [(one, tasks[one.name]) for one in missing]


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
        f"(bash scripts/evaluation.sh {shlex.quote(str(model))} NAME), or delete that folder."
    )


def _is_finished(folder: Path, depends_on: dict[str, Any]) -> bool:
    found = results.read(folder)
    return found is not None and found.depends_on == depends_on


_only_run = partial(only_run, work="evaluation")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # models and data are local; before the first import that reads it
    os.environ.setdefault("TQDM_DISABLE", "1")  # lm_eval's many bars; ours asks for itself
    run(main, Settings)
