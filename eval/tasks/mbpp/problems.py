"""MBPP: what a problem is, what the model is asked, and how its answers are scored.

The YAML files beside this one name these functions; lm-evaluation-harness calls them.
"""

import ast
import builtins
import sys
from typing import Any

from datasets import Dataset

from eval import code_answers, local_data, sandbox
from eval.sandbox import Case
from open_instruct.core.errors import UserError

TEST_TASKS = range(11, 511)  # of the published file; Austin et al. 2021 (arXiv 2108.07732), section 2
EXAMPLE_TASKS = (2, 3, 4)  # the published prompt's


def items(file: str, **_settings: Any) -> dict[str, Dataset]:
    """The splits `test` and `prompt` (the examples).

    Args:
        file: relative to the data folder; the published `mbpp.jsonl` (`text`, `test_setup_code`) or the array of
            `sanitized-mbpp.json` (`prompt`, `test_imports`).

    Raises:
        UserError: the file is missing, a row is no problem, or generated code cannot be run here.
    """
    sandbox.require()  # before the model is loaded
    rows = [_checked(row, where) for where, row in local_data.rows(file, "bash scripts/prepare_eval_data.sh")]
    tests = [row for row in rows if row["task_id"] in TEST_TASKS]
    examples = [row for row in rows if row["task_id"] in EXAMPLE_TASKS]
    if not tests or len(examples) != len(EXAMPLE_TASKS):
        raise UserError(f"{file}: has no test tasks (11 to 510), or not the tasks 2, 3 and 4, which are the examples")
    return {"test": Dataset.from_list(tests), "prompt": Dataset.from_list(examples)}


def case(item: dict[str, Any], program: str) -> Case:
    """The tests of a program: they may use what it defines; modules that they name are the library's own."""
    return Case(program, item["tests"], tuple(item["names"]))


def score_completion_1(item: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """pass@1; an answer is code to its last letter."""
    return _score_completion(item, results, 1)


def score_completion_10(item: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """pass@10, as `score_completion_1`."""
    return _score_completion(item, results, 10)


def score_chat_1(item: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """pass@1; the code is looked for in the answer."""
    return _score_chat(item, results, 1)


def score_chat_10(item: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """pass@10, as `score_chat_1`."""
    return _score_chat(item, results, 10)


def _score_completion(item: dict[str, Any], results: list[list[str]], k: int) -> dict[str, float]:
    return code_answers.scores([case(item, f"{answer}\n\n") for answer in results[0]], k)


def _score_chat(item: dict[str, Any], results: list[list[str]], k: int) -> dict[str, float]:
    return code_answers.scores([case(item, code_answers.written(item["name"], answer)) for answer in results[0]], k)


def _checked(row: dict[str, Any], where: str) -> dict[str, Any]:
    task, code, asserts = row.get("text") or row.get("prompt"), row.get("code"), row.get("test_list")
    if not isinstance(row.get("task_id"), int) or not isinstance(task, str) or not isinstance(code, str):
        raise UserError(f"{where}: needs a number 'task_id' and texts 'text' and 'code': this is no problem of MBPP")
    if not isinstance(asserts, list) or not asserts or not all(isinstance(test, str) for test in asserts):
        raise UserError(f"{where}: field 'test_list' must be a list of texts: this is no problem of MBPP")
    code = code.replace("\r\n", "\n").strip()
    setup = [row.get("test_setup_code") or "", *(row.get("test_imports") or [])]
    tests = "\n".join([*(part.replace("\r\n", "\n") for part in setup), *asserts])
    try:
        names, called = _undefined(tests)
    except SyntaxError as error:
        raise UserError(f"{where}: the tests are no Python ({error.msg})") from error
    if not called:
        raise UserError(f"{where}: the tests call no function")
    # The program's own would be asked in its room, and could be made to agree with everything
    modules = [name for name in names if name in sys.stdlib_module_names]
    shown = "\n".join(asserts)
    question = f"Write a Python function for this task:\n{task.strip()}\n\nIt must pass these tests:\n{shown}"
    return {
        "id": f"MBPP/{row['task_id']}",
        "task_id": row["task_id"],
        "question": question,
        "opened": f"{question}\n\n[BEGIN]",
        "marked": f"{code}\n[DONE]",
        "fenced": f"```python\n{code}\n```",
        "tests": "\n".join([*(f"import {module}" for module in modules), tests]),
        "names": [name for name in names if name not in modules],
        "name": called,
    }


def _undefined(tests: str) -> tuple[list[str], str]:
    """Names that tests use and do not define, and the first of them that they call."""
    nodes = list(ast.walk(ast.parse(tests)))
    defined = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    defined |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
    used = [node.id for node in nodes if isinstance(node, ast.Name)]
    names = [name for name in dict.fromkeys(used) if name not in defined and not hasattr(builtins, name)]
    called = [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return names, next((name for name in called if name in names), "")
