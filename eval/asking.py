"""Benchmarks are put to a model, one after another, with one load; each leaves its two files when it is done.

Called by `eval.run`, which has checked everything and knows which benchmarks are still to be asked.
"""

import gc
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval import results
from eval.benchmarks import Benchmark
from eval.resume import ResumableModel
from eval.scored import counted_clusters, figures, predictions
from open_instruct.core.errors import UserError

Loaded = dict[str, Any]  # what lm_eval's task manager gives for one task


@dataclass(frozen=True)
class How:
    """How benchmarks are asked.

    Attributes:
        depends_on: what of the model the answers depend on.
        seed: of sampled answers and of the choice of examples.
        limit: only so many items; 0 for all.
        batch_size: for the message when memory runs out.
    """

    depends_on: dict[str, Any]
    seed: int
    limit: int
    batch_size: int


def ask(todo: list[tuple[Benchmark, Loaded, Path, dict[str, Any]]], open_model: Callable[[], Any], how: How) -> None:
    """Load the model, ask and score each benchmark, write its files, and give the model's memory back.

    Args:
        todo: benchmark, task, folder of its files, what its result depends on.
        open_model: loads the model.
        how: see there.
    """
    model = ResumableModel(open_model(), how.depends_on)
    try:
        for benchmark, loaded, folder, depends_on in todo:
            _evaluate(benchmark, loaded, model, how, folder, depends_on)
    finally:
        model.close()
        del model
        gc.collect()
        _empty_cache()


def _evaluate(
    benchmark: Benchmark, loaded: Loaded, model: ResumableModel, how: How, folder: Path, depends_on: dict[str, Any]
) -> None:
    """Ask and score one benchmark, and write its two files."""
    began = time.monotonic()
    model.begin(folder, benchmark.title, benchmark.chat_template)
    (task,) = loaded["tasks"].values()
    samples = _scored_items(loaded, task, model, how, benchmark.chat_template)
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
        seconds_model=round(model.seconds, 3),
        cut=asdict(model.cut) if model.cut.any else {},
    )
    results.write(folder, result, predictions(samples, task))


def _scored_items(loaded: Loaded, task: Any, model: ResumableModel, how: How, as_chat: bool) -> list[dict[str, Any]]:
    """The items of a task as lm_eval logs them, each with its answer and its metrics.

    `lm_eval.evaluate` and not `simple_evaluate`, which takes 4 s a call to ask the machine for its versions.
    """
    import torch
    from lm_eval import evaluate
    from transformers import set_seed

    if task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    logging.getLogger("lm_eval.evaluator_utils").setLevel(logging.ERROR)  # metrics of a language count its items alone
    logging.getLogger("lm_eval.evaluator").setLevel(logging.WARNING)  # each kind of request, where vLLM lets it talk
    task.set_fewshot_seed(seed=how.seed)
    set_seed(how.seed)  # before each benchmark, so that none depends on which ran before it
    try:
        found = evaluate(
            lm=model,
            task_dict=loaded,
            limit=how.limit or None,
            bootstrap_iters=0,  # open_instruct.core.intervals does it
            apply_chat_template=as_chat,
            fewshot_as_multiturn=as_chat,
        )
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the GPU's memory is full with --batch_size {how.batch_size}. Run again with --batch_size "
            f"{max(1, how.batch_size // 4)}; in float32, where answers do not depend on it, the finished are kept."
        ) from error
    return found["samples"][task.task_name]


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
