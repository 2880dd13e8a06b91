"""What a judge wrote -> its verdict, or why there is none. It is read strictly: one that must be guessed is none.

`verdict` in a prompt file names the reader. What cannot be read is asked again with another seed, and counted and
listed when it stays so.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from open_instruct.core.asking import BadAnswer

_FENCE = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)  # many models put JSON in one
# The judge of SeqEval's authors left brackets out in 11 of 805 verdicts; what these say is plain all the same.
_SHORT = re.compile(r"\[{0,2}\s*(Yes|No)\s*,\s*(\d+(?:\.\d+)?)\s*\]{0,2}")
_MOST_TASKS = 50  # more is a judge that repeats itself


def read_tasks(text: str) -> dict[str, Any]:
    """{"tasks": [{"task", "done"}, ...], "following", "quality"}.

    `following` must be what the list of tasks says: a judge that contradicts itself has not judged.

    Raises:
        BadAnswer: it is not just that.
    """
    verdict = _object(text, {"tasks", "following", "quality"})
    tasks = verdict["tasks"]
    if not isinstance(tasks, list) or not 1 <= len(tasks) <= _MOST_TASKS:
        raise BadAnswer("the verdict lists no tasks, or far too many")
    for task in tasks:
        if not isinstance(task, dict) or set(task) != {"task", "done"}:
            raise BadAnswer("a task of the verdict is not task and done")
        if not isinstance(task["task"], str) or not task["task"].strip() or not isinstance(task["done"], bool):
            raise BadAnswer("a task of the verdict has no name, or done is neither true nor false")
    if not isinstance(verdict["following"], bool):
        raise BadAnswer("following is neither true nor false")
    if verdict["following"] != all(task["done"] for task in tasks):
        raise BadAnswer("following contradicts the list of tasks")
    _check_score("quality", verdict["quality"], 1, 5)
    return verdict


def read_yes_no_score(text: str) -> dict[str, Any]:
    """[[Yes, 4]] -> {"following": True, "quality": 4.0}.

    Raises:
        BadAnswer: it is not just that.
    """
    found = _SHORT.fullmatch(text.strip())
    if found is None:
        raise BadAnswer("the verdict is not [[Yes, SCORE]] or [[No, SCORE]]")
    quality = float(found[2])
    _check_score("quality", quality, 1, 5)
    return {"following": found[1] == "Yes", "quality": quality}


def read_two_scores(text: str) -> dict[str, Any]:
    """{"first": 1 to 10, "second": 1 to 10}.

    Raises:
        BadAnswer: it is not just that.
    """
    verdict = _object(text, {"first", "second"})
    for name in ("first", "second"):
        _check_score(name, verdict[name], 1, 10)
    return verdict


def read_truthful_informative(text: str) -> dict[str, Any]:
    """{"truthful": True or False, "informative": True or False}.

    Raises:
        BadAnswer: it is not just that.
    """
    verdict = _object(text, {"truthful", "informative"})
    for name, said in verdict.items():
        if not isinstance(said, bool):
            raise BadAnswer(f"{name} is neither true nor false")
    return verdict


READERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "tasks": read_tasks,
    "yes_no_score": read_yes_no_score,
    "two_scores": read_two_scores,
    "truthful_informative": read_truthful_informative,
}


def _object(text: str, names: set[str]) -> dict[str, Any]:
    """The one JSON object that `text` is, with just these fields."""
    text = text.strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1]
    try:
        verdict = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadAnswer("the verdict is not JSON") from error
    if not isinstance(verdict, dict) or set(verdict) != names:
        raise BadAnswer(f"the verdict has not the fields {', '.join(sorted(names))}, and no others")
    return verdict


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _check_score(name: str, score: Any, low: int, high: int) -> None:
    if isinstance(score, bool) or not isinstance(score, int | float) or not low <= score <= high:
        raise BadAnswer(f"{name} is no number from {low} to {high}")
