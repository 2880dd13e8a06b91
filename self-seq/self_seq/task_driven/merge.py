"""`--task merge`: sets of two and of three tasks in one: repeat, paraphrase, and both in either order, then answer.

Each row is used once: those with an input are dealt to the four kinds, those without stay plain. Sizes as published;
the order of the result is shuffled. Paraphrases come from an engine, see `paraphrase.py`.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from open_instruct.core.command import help_field
from open_instruct.core.errors import UserError
from open_instruct.core.run_info import RunInfo
from self_seq.task_driven.paraphrase import Paraphrases, Paraphrasing
from self_seq.task_driven.training_set import (
    NO_INPUT,
    NOT_DRAWN,
    Made,
    checked_output,
    drawn,
    has_input,
    kept,
    numbered,
    refused,
    rewritten,
    with_input,
    write_set,
)


@dataclass
class Settings:
    input: str = help_field("instruction records: JSONL or a JSON array, also .gz")
    output: str = help_field("file of instruction records to write; run.json comes beside it")
    task: str = help_field("this task", "merge")
    repeat_rows: int = help_field("rows that repeat their input, then answer", 4000)
    paraphrase_rows: int = help_field("rows that paraphrase their input, then answer", 4000)
    paraphrase_repeat_rows: int = help_field("rows that paraphrase, repeat, then answer: up to so many", 4000)
    repeat_paraphrase_rows: int = help_field("rows that repeat, paraphrase, then answer; -1 for all that are left", -1)
    plain_rows: int = help_field("rows that stay as they were: the first so many of the rest; -1 for all", 32000)
    labels: bool = help_field("name each answer in the target ('Repetition:', 'Paraphrase:', 'Result:')", False)
    seed: int = help_field("of the rows drawn, the order and the engine's draws", 42)


SETTINGS = (Settings, Paraphrasing)


def main(settings: Settings, paraphrasing: Paraphrasing) -> None:
    """Write the set.

    Raises:
        UserError: a wrong file, setting or engine, too few rows with an input, or not one paraphrase.
    """
    output = checked_output(settings.output, settings.input)
    tasks = deal(settings, drawn(with_input(settings.input), settings.seed))
    to_paraphrase = {number for number, names in tasks.items() if "paraphrase" in names}
    with (
        Paraphrases(settings.input, to_paraphrase, output, paraphrasing, settings.seed) as paraphrases,
        RunInfo(output.parent, asdict(settings) | asdict(paraphrasing), settings.seed) as info,
    ):
        paraphrases.ask()
        info.add(**write_set(output, settings.input, merge(settings, tasks, paraphrases), settings.seed))
        paraphrases.check()


def deal(settings: Settings, numbers: list[int]) -> dict[int, tuple[str, ...]]:
    """Which tasks each of the rows gets, in their order.

    Raises:
        UserError: a size is negative, or there are too few rows.
    """
    sizes = {
        ("repeat",): settings.repeat_rows,
        ("paraphrase",): settings.paraphrase_rows,
        ("paraphrase", "repeat"): settings.paraphrase_repeat_rows,
        ("repeat", "paraphrase"): settings.repeat_paraphrase_rows,
    }
    for names, size in sizes.items():
        if size < 0 and not (size == -1 and names == ("repeat", "paraphrase")):
            raise UserError(f"--{'_'.join(names)}_rows {size}: expected 0 or more")
    if settings.plain_rows < -1:
        raise UserError(f"--plain_rows {settings.plain_rows}: expected 0 or more, or -1 for all")
    needed = settings.repeat_rows + settings.paraphrase_rows
    if needed > len(numbers):
        raise UserError(
            f"{settings.input}: {len(numbers):,} rows have an input, and --repeat_rows and --paraphrase_rows ask for "
            f"{needed:,}; set them smaller"
        )
    tasks, start = {}, 0
    for names, size in sizes.items():
        end = len(numbers) if size == -1 else start + size
        tasks |= dict.fromkeys(numbers[start:end], names)
        start = end
    return tasks


def merge(settings: Settings, tasks: dict[int, tuple[str, ...]], paraphrases: Paraphrases) -> Iterator[Made]:
    plain = 0
    for number, row in numbered(settings.input):
        # The order is shuffled: the number tells where a row is from, unless it has a name of its own.
        extra = {} if {"id", "idx"} & row.extra.keys() else {"idx": number}
        if names := tasks.get(number):
            answers = {"repeat": row.input}
            if "paraphrase" in names:
                answers["paraphrase"] = paraphrases.get(number)
            if answers.get("paraphrase", "") is None:
                yield paraphrases.rejected(number, row, **extra)
            else:
                yield rewritten(row, {name: answers[name] for name in names}, settings.labels, **extra)
        elif settings.plain_rows == -1 or plain < settings.plain_rows:
            plain += 1
            yield kept(row, NOT_DRAWN if has_input(row) else NO_INPUT, **extra)
        else:
            reason = f"more plain rows than --plain_rows {settings.plain_rows}"
            yield refused(number, row, reason, reason, written=False)
