"""Task-driven sequential instructions, the paper's manual method.

    python -m self_seq.task_driven --task repeat     --input IN.json --output OUT.jsonl
    python -m self_seq.task_driven --task paraphrase --input IN.json --output OUT.jsonl --engine ENGINE
    python -m self_seq.task_driven --task merge      --input IN.json --output OUT.jsonl --engine ENGINE
    python -m self_seq.task_driven --task translate  --english EN.json --translations de=DE.json ... --output OUT.jsonl

`--task NAME --help` lists the flags of that task. Only rows with an input are rewritten; the others stay.
"""

import importlib
import sys

from open_instruct.core.command import guarded, run
from open_instruct.core.errors import UserError

TASKS = ("repeat", "paraphrase", "translate", "merge")  # each a file here, with `main` and its classes of SETTINGS


def task_of(arguments: list[str]) -> str:
    """The task that a command line names; `repeat` where it names none.

    Raises:
        UserError: there is no such task.
    """
    given = [word.partition("=")[2] for word in arguments if word.startswith("--task=")]
    given += [value for word, value in zip(arguments, arguments[1:], strict=False) if word == "--task"]
    name = given[-1] if given else "repeat"
    if name not in TASKS:
        raise UserError(f"no task named {name!r}; there are: {', '.join(TASKS)}")
    return name


def main(arguments: list[str]) -> None:
    """Run the task."""
    name = task_of(arguments)
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
    task = importlib.import_module(f"self_seq.task_driven.{name}")  # only its own: `repeat` needs no engine
    run(task.main, *task.SETTINGS, arguments=arguments)


if __name__ == "__main__":
    guarded(main, sys.argv[1:])
