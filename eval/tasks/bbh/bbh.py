"""BIG-Bench Hard: 27 tasks, worked out or with the answer alone, prompted as by lm-evaluation-harness. One benchmark.

Each task has a file of prompts with what it asks for and three worked examples (Suzgun et al., 2022); for the direct
form only their answers are shown. The rules for the answer are in scoring.py.
"""

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

from datasets import Dataset

from eval import local_data
from eval.scoring.data_files import MADE_BY, data_file, read_text
from eval.scoring.harness import definition, rules
from eval.scoring.shots import OfItsFile
from eval.tasks.bbh.scoring import score_answer
from open_instruct.core.errors import UserError

TULU_SEED = 42  # open-instruct draws its 40 of each task with it, the tasks in whatever order the folder lists them
_WORKED_OUT = "bbh/cot_fewshot/_cot_fewshot_template_yaml"
_STEPS = "Let's think step by step."


def items(folder: str, per_task: int = 0, **_settings: Any) -> dict[str, Dataset]:
    """The questions, as the split `test`: the first of every task, then the second, and so on.

    Args:
        folder: of `bbh/TASK.json` and `cot-prompts/TASK.txt`, in the data folder.
        per_task: take only so many of each task, drawn with Tulu's seed, the tasks in alphabetical order; 0 takes all.

    Raises:
        UserError: a file is missing, or is not of its format.
    """
    randomness = random.Random(TULU_SEED)
    tests = {}
    for task in _tasks(folder):
        rows = _questions(f"{folder}/bbh/{task}.json")
        tests[task] = randomness.sample(rows, per_task) if 0 < per_task < len(rows) else rows
    rows = [
        {
            "task": task,
            "description": _prompt(data_file(_prompts(folder, task)))[0] + "\n\n",
            "shown": _prompts(folder, task),
            **questions[number],
            "id": f"{task}-{questions[number]['id']}",
        }
        for number in range(max(map(len, tests.values())))
        for task, questions in tests.items()
        if number < len(questions)
    ]
    return {"test": Dataset.from_list(rows)}


def asked(item: dict[str, str]) -> str:
    """The question up to the answer; of an example, too."""
    return f"Q: {item['input']}\nA:"


def asked_to_work_out(item: dict[str, str]) -> str:
    """The question up to the first step of its solution."""
    return f"{asked(item)} {_STEPS}\n"


def solution(example: dict[str, str]) -> str:
    """The worked solution of an example."""
    return example["solution"]


def score_worked_out(item: dict[str, Any], responses: list[str]) -> dict[str, float]:
    """`exact_match` by our rule, of all and of the item's task; `lm_eval_match` by the harness's."""
    (answers,) = rules(_WORKED_OUT)["get-answer"].apply([[_as_harness_stops(responses[0])]], [item])
    return _scores(item, responses[0], answers[0])


def score_direct(item: dict[str, Any], responses: list[str]) -> dict[str, float]:
    """The same, where the harness takes the whole response as the answer."""
    return _scores(item, responses[0], _as_harness_stops(responses[0]))


def _scores(item: dict[str, Any], response: str, harness_answer: str) -> dict[str, float]:
    right = score_answer(response, item["target"])["exact_match"]
    same = float(harness_answer == item["target"])
    return {"exact_match": right, "lm_eval_match": same, f"exact_match_{item['task']}": right}


def _as_harness_stops(response: str) -> str:
    """What the harness would have of this response: it also stops at a blank line, and at any capital Q."""
    for stop in definition(_WORKED_OUT)["generation_kwargs"]["until"]:
        response = response.split(stop)[0]
    return response


def _tasks(folder: str) -> list[str]:
    found = sorted(path.stem for path in (local_data.folder() / folder / "bbh").glob("*.json"))
    known = [name.removeprefix("bbh_cot_fewshot_") for name in definition("bbh/cot_fewshot/_bbh.yaml")["task"]]
    for one in found:
        if one not in known:
            raise UserError(f"{data_file(f'{folder}/bbh/{one}.json')}: {one!r} is no task of BBH: {', '.join(known)}")
    for one in known:
        data_file(f"{folder}/bbh/{one}.json")  # tells which one is not there
    return found


def _questions(file: str) -> list[dict[str, str]]:
    path = data_file(file)
    try:
        rows = json.loads(read_text(path))["examples"]
        found = [
            {"id": str(number), "input": str(row["input"]), "target": str(row["target"])}
            for number, row in enumerate(rows)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not of BBH's format ({type(error).__name__}: {error}); expected examples with input and target. "
            f"Fetch the file again: {MADE_BY}"
        ) from error
    if not found:
        raise UserError(f"{path}: no questions in it. Fetch the file again: {MADE_BY}")
    return found


def _prompts(folder: str, task: str) -> str:
    return f"{folder}/cot-prompts/{task}.txt"


@cache
def _prompt(path: Path) -> tuple[str, list[dict[str, str]]]:
    """What the task asks for, and its examples: `input`, `solution` and `target` (the answer alone)."""
    _, line, text = read_text(path).partition("\n-----\n")
    description, *examples = text.split("\n\nQ: ")
    found = []
    for example in examples:
        question, _, solution = example.partition(f"\nA: {_STEPS}")
        _, phrase, answer = solution.rstrip().rpartition("So the answer is ")
        found.append({"input": question, "solution": solution.strip(), "target": answer.removesuffix(".")})
        if not phrase:
            found.clear()
            break
    if not line or not found:
        raise UserError(
            f'{path}: expected a line "-----", what the task asks for, and examples "Q: ...", "A: {_STEPS} ...", '
            f'"So the answer is ...". Fetch the file again: {MADE_BY}'
        )
    return description, found


class OfItsTask(OfItsFile):
    """The item's examples: those of its task."""

    @staticmethod
    def read(file: str) -> list[dict[str, str]]:
        """The examples of a file of prompts."""
        return _prompt(data_file(file))[1]
