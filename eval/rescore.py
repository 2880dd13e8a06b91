"""Scores stored predictions again, without a model, by the very functions that scored them first.

    python -m eval.rescore --task mgsm_cot_0shot --predictions results/NAME/mgsm_cot_0shot/predictions.jsonl
    python -m eval.rescore --task mgsm --predictions FILE --prediction_field model_output --answer_field answer

The first form takes predictions that `eval.run` wrote, finds the items in the data folder, and gives all metrics of the
task. The second takes any rows of JSON, of which one field is the response and one the right answer, and gives what
these two tell: `score_answer` in `eval/tasks/<benchmark>/scoring.py`. One line of JSON is printed: the means, and `n`.
"""

import importlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from eval.benchmarks import TASKS_FOLDER
from eval.scored import listed
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows, write_rows

_MAX_PREDICTION = 1 << 28  # bytes of a row: a prompt of examples with long contexts is long
_SCORING = "scoring.py"  # of a benchmark's folder
Metrics = dict[str, float | list[float]]  # a list: the values of an item's parts
Score = Callable[[str, Any], dict[str, float]]


@dataclass
class Settings:
    task: str = help_field(
        "benchmark or task the predictions are of: mgsm, xquad_translate, ...; an unknown one lists all"
    )
    predictions: str = help_field("predictions.jsonl of eval.run, or any JSONL or JSON array with both fields below")
    output: str = help_field("also write each row with its metrics to this JSONL file", "")
    prediction_field: str = help_field("field of the model's text, in rows that are not of eval.run", "")
    answer_field: str = help_field("field of the right answer, in rows that are not of eval.run", "")


def main(settings: Settings) -> None:
    """Score all rows, print their means, and write them with their metrics where `output` says so.

    Raises:
        UserError: the task is unknown, the file has no rows, or a row cannot be scored; the line says which and why.
    """
    fields = (settings.prediction_field, settings.answer_field)
    if any(fields) and not all(fields):
        raise UserError("give --prediction_field and --answer_field both, or neither for predictions of eval.run")
    rows = list(read_rows(settings.predictions, max_row_bytes=_MAX_PREDICTION))
    scored = _by_fields(rows, settings) if all(fields) else _by_items(rows, settings)
    metrics = list(scored)
    if settings.output:
        written = ({**row, "metrics": found} for (_, row), found in zip(rows, metrics, strict=True))
        write_rows(settings.output, written)
    print(json.dumps({**_means(metrics), "n": len(metrics)}))


def _means(metrics: list[Metrics]) -> dict[str, float]:
    """The mean of each metric over the rows that have it, in the order in which they first stand."""
    values: dict[str, list[float]] = {}
    for found in metrics:
        for name, value in found.items():
            values.setdefault(name, []).extend(listed(value))
    return {name: sum(all_of) / len(all_of) for name, all_of in values.items()}


def _by_fields(rows: list[tuple[str, dict]], settings: Settings) -> Iterator[dict[str, float]]:
    """The metrics of each row from its two fields."""
    score = _score_answer(settings.task)
    for where, row in rows:
        for name in (settings.prediction_field, settings.answer_field):
            if name not in row:
                raise UserError(f"{where}: no field {name!r}; there are: {', '.join(row)}")
        response, answer = row[settings.prediction_field], row[settings.answer_field]
        if not isinstance(response, str):
            raise UserError(f"{where}: field {settings.prediction_field!r} must be the model's text, one response")
        try:
            yield score(response, answer)
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(
                f"{where}: field {settings.answer_field!r} is no right answer of {settings.task} ({error})"
            ) from error


def _score_answer(task: str) -> Score:
    """The benchmark's own scoring of two texts; `task` is the benchmark, or one of its tasks."""
    known = sorted(path.parent.name for path in TASKS_FOLDER.glob(f"*/{_SCORING}"))
    folder = task if task in known else next((path.parent.name for path in TASKS_FOLDER.glob(f"*/{task}.yaml")), "")
    if folder not in known:
        raise UserError(f"no scoring of two fields for {task!r}; there is for: {', '.join(known)}, and their tasks")
    return importlib.import_module(f"eval.tasks.{folder}.scoring").score_answer


def _by_items(rows: list[tuple[str, dict]], settings: Settings) -> Iterator[Metrics]:
    """The metrics of each row of eval.run, by the task itself: its items, its filters, its scoring."""
    from lm_eval.api.instance import Instance

    task = _load(settings.task)
    if task.OUTPUT_TYPE != "generate_until":
        raise UserError(
            f"{settings.task}: scored by likelihoods, which predictions do not hold; evaluate again instead"
        )
    items = {item.get("id", str(number)): (number, item) for number, item in enumerate(task.eval_docs)}
    seen: dict[str, str] = {}
    asked = []
    for where, row in rows:
        name, response = row.get("id"), row.get("response")
        if name is None or response is None:
            raise UserError(
                f"{where}: no fields 'id' and 'response', so no prediction of eval.run. Name the fields of the "
                "response and of the right answer with --prediction_field and --answer_field"
            )
        if name not in items:
            raise UserError(f"{where}: {settings.task} has no item {name!r}; are these predictions of another task?")
        if name in seen:
            raise UserError(f"{where}: item {name!r} stands in {seen[name]} already")
        seen[name] = where
        number, item = items[name]
        asked.append(Instance("generate_until", item, ("", {}), 0, metadata=(task.task_name, number, 1)))
        asked[-1].resps = list(response) if isinstance(response, list) else [response]
    task._instances = asked
    task.apply_filters()
    for one in asked:
        found = {}
        for rule, filtered in one.filtered_resps.items():
            ending = "" if rule == "none" else f",{rule}"  # as eval.run names them
            for name, value in _scored(task, one.doc, filtered).items():
                found[f"{name}{ending}"] = value if isinstance(value, list) else float(value)
        yield found


def _scored(task: Any, item: dict[str, Any], response: Any) -> dict[str, float]:
    return task.process_results(item, [response])


def _load(name: str) -> Any:
    """The task, with its data."""
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval.api").setLevel(logging.ERROR)  # hints for authors of tasks, at every load
    manager = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False)
    if name not in manager.task_index:
        raise UserError(f"no task named {name!r}; there are: {', '.join(manager.all_subtasks)}")
    loaded = list(manager.load([name])["tasks"].values())
    if len(loaded) != 1:
        members = ", ".join(task.task_name for task in loaded)
        raise UserError(f"{name} is several tasks; predictions are of one of them: {members}")
    return loaded[0]


if __name__ == "__main__":
    run(main, Settings)
