"""Where the evaluation data lies, and reading its rows. Every task of `eval/tasks` gets its items through here.

The folder is ROOT/data/eval, or what the environment variable SIT_EVAL_DATA names; the current directory plays no
part, so a task runs the same under `eval.run` and under plain `lm_eval --include_path eval/tasks`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows

FOLDER_VARIABLE = "SIT_EVAL_DATA"
_ROOT = Path(__file__).resolve().parents[1]


def folder() -> Path:
    """The data folder; it need not exist yet."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).resolve() if named else _ROOT / "data" / "eval"


def rows(file: str, made_by: str) -> Iterator[tuple[str, dict]]:
    """FILE:LINE and row of each line of `file`, a path relative to the data folder.

    Args:
        file: JSONL or a JSON array, perhaps `.gz`.
        made_by: the command that makes it, for the person who has not run it yet.

    Raises:
        UserError: there is no such file (the line names `made_by`), or a line is not JSON.
    """
    path = folder() / file
    if not path.is_file():
        raise UserError(
            f"{path}: the evaluation data is not there. Make it with `{made_by}`, "
            f"or name the folder that holds {file} in {FOLDER_VARIABLE}."
        )
    yield from read_rows(path)
