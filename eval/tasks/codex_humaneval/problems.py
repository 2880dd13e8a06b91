"""HumanEval: what a problem is, what the model is asked, and how its answers are scored.

The YAML files beside this one name these functions; lm-evaluation-harness calls them.
"""

from typing import Any

from datasets import Dataset

from eval import code_answers, local_data, sandbox
from eval.sandbox import Case
from open_instruct.core.errors import UserError

FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")


def items(file: str, **_settings: Any) -> dict[str, Dataset]:
    """The problems, as the split `test`; `question` and `begun` are what a chat model is asked and begins with.

    Args:
        file: JSONL of the published fields (FIELDS), relative to the data folder.

    Raises:
        UserError: the file is missing, a row is no problem, or generated code cannot be run here.
    """
    sandbox.require()  # before the model is loaded
    rows = [_checked(row, where) for where, row in local_data.rows(file, "bash scripts/prepare_eval_data.sh")]
    return {"test": Dataset.from_list(rows)}


def case(item: dict[str, Any], program: str) -> Case:
    """The test of a program. The prompt's own helper functions are those of the prompt, whatever the program says."""
    entry = item["entry_point"]
    return Case(program, f"{item['test']}\ncheck({entry})\n", (entry,), setup=code_answers.stub(item["prompt"]))


def score_completion_1(item: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """pass@1; an answer is what follows the prompt, letter by letter, as in HumanEval's own scorer."""
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
    return code_answers.scores([case(item, f"{item['prompt']}{answer}\n\n") for answer in results[0]], k)


def _score_chat(item: dict[str, Any], results: list[list[str]], k: int) -> dict[str, float]:
    prompt, entry = item["prompt"], item["entry_point"]
    return code_answers.scores([case(item, code_answers.completed(prompt, entry, answer)) for answer in results[0]], k)


def _checked(row: dict[str, Any], where: str) -> dict[str, Any]:
    for field in FIELDS:
        if not isinstance(row.get(field), str) or not row[field].strip():
            raise UserError(f"{where}: field {field!r} must be a text: this is no problem of HumanEval")
    known = {field: row[field] for field in FIELDS}
    return {
        "id": row["task_id"],
        **known,
        "question": f"Write the missing body of this Python function.\n\n{row['prompt']}",
        "begun": f"This is the function with its body:\n\n{row['prompt']}",
    }
