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
FETCH = "bash scripts/prepare_eval_data.sh"  # what brings all data but the miniature's
_ROOT = Path(__file__).resolve().parents[1]


class MissingData(UserError):
    """A file of the data folder is not there.

    Attributes:
        path: where it should be.
        name: its folder below the data folder, which is named after its benchmark.
        made_by: the command that makes it.
    """

    def __init__(self, file: str, made_by: str) -> None:
        self.path = folder() / file
        self.name = Path(file).parts[0]
        self.made_by = f"{made_by} {self.name}" if made_by == FETCH else made_by
        super().__init__(
            f"{self.path}: the evaluation data is not there. Make it with `{self.made_by}`, "
            f"or name the folder that holds {file} in {FOLDER_VARIABLE}."
        )


def folder() -> Path:
    """The data folder; it need not exist yet."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).resolve() if named else _ROOT / "data" / "eval"


def data_file(file: str, made_by: str = FETCH) -> Path:
    """The path of `file`, which is relative to the data folder.

    Args:
        made_by: the command that makes it, for the person who has not run it yet.

    Raises:
        MissingData: it is not there.
    """
    path = folder() / file
    if not path.is_file():
        raise MissingData(file, made_by)
    return path


def rows(file: str, made_by: str = FETCH) -> Iterator[tuple[str, dict]]:
    """FILE:LINE and row of each line of `file`: JSONL or a JSON array, perhaps `.gz`.

    Args:
        file, made_by: as above.

    Raises:
        MissingData: there is no such file.
        UserError: a line is not JSON.
    """
    yield from read_rows(data_file(file, made_by))


def all_missing(found: list[MissingData]) -> UserError:
    """One line for all that is missing."""
    if len({one.path for one in found}) == 1:
        return found[0]
    names = list(dict.fromkeys(one.name for one in found))
    fetched = list(dict.fromkeys(one.name for one in found if one.made_by.startswith(FETCH)))
    commands = list(dict.fromkeys(one.made_by for one in found if not one.made_by.startswith(FETCH)))
    if fetched:
        commands.append(f"{FETCH} {' '.join(fetched)}")
    return UserError(
        f"{folder()}: the evaluation data is not there for {', '.join(names)} (the first file is {found[0].path}). "
        f"Make it with {' and '.join(f'`{command}`' for command in commands)}, or name the folder that holds it in "
        f"{FOLDER_VARIABLE}."
    )
