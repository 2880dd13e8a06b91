"""Super-NaturalInstructions: 96,913 instances of its training tasks.

Conversion as in allenai/open-instruct e44fcf588, reformat_datasets.py.
Of each task up to 80 instances are drawn: 60 as plain instructions with a template drawn for each, 20 below two of the
task's worked examples. The definition is its first, the answer the instance's first. Tasks are those of the list
splits/xlingual/train_tasks.txt, without the `_mmmlu_` ones, whose questions are a benchmark's.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from open_instruct.core.errors import UserError
from open_instruct.reformat import _files
from open_instruct.reformat._encode import encoded, few_shot
from open_instruct.reformat.base import Example, File, Job, Rejected, Row, Source

ZERO_SHOT, FEW_SHOT, SHOTS = 60, 20, 2

SOURCE = Source(
    about="1,600 tasks with definitions, worked examples and instances, written by people",
    page="https://github.com/allenai/natural-instructions",
    licence="Apache-2.0",
    files=(
        File(
            "natural-instructions-master.zip",
            "https://github.com/allenai/natural-instructions/archive/refs/heads/master.zip",
            holds="task*.json",
        ),
    ),
    published=96_913,
    published_in="Tulu v1, arXiv 2306.04751, table 1",
)
FORMS = (("definition", "instance", "shots"),)  # of the rows that `rows` makes

_LIST = PurePosixPath("splits/xlingual/train_tasks.txt")


def rows(paths: list[Path], job: Job) -> Iterator[Row]:
    for where, text in _tasks(paths, job):
        yield from _task_rows(where, text, job)


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    instance = row["instance"]
    output = instance["output"][0]
    if row["shots"]:
        result = few_shot(row["definition"], row["shots"], instance["input"], output)
    else:
        result = encoded(row["definition"], instance["input"], output, job)
    if isinstance(result, Example):
        result.id = f"super_ni_{instance['id']}"
    yield result


def _tasks(paths: list[Path], job: Job) -> Iterator[tuple[str, bytes]]:
    """Name and text of the files of all tasks that are trained on, one at a time."""
    if len(paths) == 1 and paths[0].name.endswith(".zip"):
        with _files.open_zip(paths[0]) as archive:
            members = {PurePosixPath(name).stem: name for name in archive.namelist() if "/tasks/task" in f"/{name}"}
            listed = next((name for name in archive.namelist() if name.endswith(str(_LIST))), None)
            if listed is None:
                raise UserError(f"{paths[0]}: holds no {_LIST}; expected the archive of {SOURCE.page}")
            for name in _trained(_files.read_member(paths[0], archive, listed).decode(), members, job):
                yield f"{paths[0]}/{members[name]}", _files.read_member(paths[0], archive, members[name])
        return
    files = {path.stem: path for path in paths}
    lists = {path.parent.parent / _LIST for path in paths} | {path.parent / _LIST for path in paths}
    listed = next((path for path in sorted(lists) if path.is_file()), None)
    for name in _trained(listed.read_text() if listed else "", files, job):
        yield str(files[name]), files[name].read_bytes()


def _trained(listed: str, there: dict, job: Job) -> list[str]:
    """The names of the tasks that are trained on and there, in the list's order; without a list, all that are there."""
    if not listed:
        job.note(f"no {_LIST}: all tasks that are there are taken, test tasks too")
    names = [name for name in (listed.split() or sorted(there)) if "_mmmlu_" not in name]
    for name in names:
        if name not in there:
            job.note("task of the list without a file")
    return [name for name in names if name in there]


def _task_rows(where: str, text: bytes, job: Job) -> Iterator[Row]:
    """The drawn instances of a task; the first 60 without worked examples."""
    try:
        task = json.loads(text)
        definition, instances = task["Definition"][0], task["Instances"]
        shots = [{"input": shot["input"], "output": shot["output"]} for shot in task["Positive Examples"]]
        whole = all(isinstance(one["input"], str) and isinstance(one["output"][0], str) for one in instances)
        if not (isinstance(definition, str) and whole):
            raise TypeError("a definition, input or output is no text")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{where}: no task ({type(error).__name__}: {error}); expected Definition, Positive Examples, Instances. "
            "Is the file cut off, or of another source?"
        ) from error
    wanted = ZERO_SHOT + FEW_SHOT if job.draw is None else job.draw or len(instances)
    if wanted < len(instances):
        job.not_drawn += len(instances) - wanted
        instances = job.random.sample(instances, wanted)
    for number, instance in enumerate(instances):
        drawn = []
        if number % (ZERO_SHOT + FEW_SHOT) >= ZERO_SHOT:
            drawn = job.random.sample(shots, min(SHOTS, len(shots)))
        yield f"{where}:{number + 1}", {"definition": definition, "instance": instance, "shots": drawn}
