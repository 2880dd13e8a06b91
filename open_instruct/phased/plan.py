"""What `scripts/phased/run.sh` trains, one training a line: where its checkpoint goes, and the files of its rows.

    python -m open_instruct.phased.plan --stages_dir stages --order 1-2-3

A checkpoint is named after what was trained up to it: `1-2` is stage 2 on top of stage 1, `1+2` both stages mixed, and
`random-1-2-3` three stages drawn by chance. So the courses 1-2-3 and 1-3-2 share their first training, and each name
says how its weights came about. A line is NAME, then the files, with tabs between.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.phased.split import RANDOM, SUMMARY


@dataclass
class Settings:
    stages_dir: str = help_field("folder that open_instruct.phased.split wrote")
    order: str = help_field("of the stages: 3-1-2; by default all, ascending", "")
    only: str = help_field("train on this stage alone", "")
    mix: str = help_field("train on these stages mixed: 1,2", "")
    one_off: bool = help_field("train on all stages mixed", False)
    random_stages: bool = help_field("stages of the same sizes, drawn by chance", False)


@dataclass(frozen=True)
class Training:
    """One training; it starts from the one before it, the first from the base.

    Attributes:
        name: of its checkpoint.
        files: its rows.
    """

    name: str
    files: list[Path]


def main(settings: Settings) -> None:
    """Print the trainings.

    Raises:
        UserError: see `trainings`.
    """
    for training in trainings(settings):
        print("\t".join([training.name, *map(str, training.files)]))


def trainings(settings: Settings) -> list[Training]:
    """What is trained after what.

    Raises:
        UserError: the stages are not there, one of them is empty, or the order or a control names none that there are,
            names one twice or leaves one out.
    """
    folder = Path(settings.stages_dir)
    stages = _stages(folder)
    course = _course(settings, len(stages))
    if settings.random_stages:
        stages = [folder / RANDOM / path.name for path in stages]
    for path in stages:
        _refuse_missing(path)
    prefix = f"{RANDOM}-" if settings.random_stages else ""
    names = ["+".join(map(str, mixed)) for mixed in course]
    return [
        Training(prefix + "-".join(names[: step + 1]), [stages[number - 1] for number in mixed])
        for step, mixed in enumerate(course)
    ]


def number_of_trainings(name: str) -> int:
    """How many trainings, one after the other, made the checkpoint of that name; 1 where `trainings` gave no such name.

    1-2-3 and random-1-2-3 are of three, 3 and 1+2+3 of one.
    """
    mixed = r"\d+(?:\+\d+)*"
    found = re.fullmatch(rf"(?:{RANDOM}-)?({mixed}(?:-{mixed})*)", name)
    return found[1].count("-") + 1 if found else 1


def _stages(folder: Path) -> list[Path]:
    path = folder / SUMMARY
    try:
        found = json.loads(path.read_bytes())["stages"]
        return [folder / stage["file"] for stage in found]
    except FileNotFoundError as error:
        raise UserError(f"{path}: not there; cut the rows into stages first: bash scripts/phased/split.sh") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read as a summary of stages ({error}); run split.sh again") from error


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such stage file; run scripts/phased/split.sh again")
    if not path.stat().st_size:
        raise UserError(f"{path}: the stage is empty; cut the rows again with other thresholds (split.sh)")
    if "\t" in str(path) or "\n" in str(path):
        raise UserError(f"{str(path)!r}: a path of stages may hold no tab and no line break; move the folder")


def _course(settings: Settings, stages: int) -> list[list[int]]:
    """The stages of each training, one after the other."""
    asked = {
        "ORDER": settings.order,
        "ONLY": settings.only,
        "MIX": settings.mix,
        "ONE_OFF": settings.one_off,
    }
    given = [name for name, value in asked.items() if value]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)}: each is a way of its own to train; give one of them")
    if settings.random_stages and given and given[0] != "ORDER":
        raise UserError(f"RANDOM_STAGES and {given[0]}: random stages are trained one after the other; leave one out")
    every = list(range(1, stages + 1))
    if settings.one_off:
        return [every]
    if settings.only:
        return [_numbers("ONLY", settings.only, r"\d+", stages)]
    if settings.mix:
        mixed = _numbers("MIX", settings.mix, r"\d+(,\d+)+", stages)
        return [sorted(mixed)]
    if not settings.order:
        return [[stage] for stage in every]
    order = _numbers("ORDER", settings.order, r"\d+(-\d+)*", stages)
    if missing := [stage for stage in every if stage not in order]:
        raise UserError(
            f"ORDER={settings.order} leaves out stage {', '.join(map(str, missing))}; expected all {stages} stages, "
            f"such as {'-'.join(map(str, [*order, *missing]))}. ONLY and MIX train on some of them"
        )
    return [[stage] for stage in order]


def _numbers(name: str, text: str, form: str, stages: int) -> list[int]:
    expected = {"ORDER": "such as 3-1-2", "ONLY": "such as 3", "MIX": "such as 1,2"}[name]
    if not re.fullmatch(form, text):
        raise UserError(f"{name}={text}: expected numbers of stages, {expected}")
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    for number in numbers:
        if not 1 <= number <= stages:
            raise UserError(f"{name}={text}: there is no stage {number}; there are 1 to {stages}")
        if numbers.count(number) > 1:
            raise UserError(f"{name}={text}: stage {number} stands twice")
    return numbers


if __name__ == "__main__":
    run(main, Settings)
