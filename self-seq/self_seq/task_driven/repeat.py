"""`--task repeat`: first the input is repeated, then the row's own instruction followed. Needs no language model.

As in the release, whatever stands in the input is repeated, be it "<noinput>"; the counts tell how many such rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from open_instruct.core.command import help_field
from open_instruct.core.run_info import RunInfo
from self_seq.task_driven.training_set import NO_INPUT, Made, checked_output, kept, numbered, rewritten, write_set


@dataclass
class Settings:
    input: str = help_field("instruction records: JSONL or a JSON array, also .gz")
    output: str = help_field("file of instruction records to write; run.json comes beside it")
    task: str = help_field("this task", "repeat")
    labels: bool = help_field("name each answer in the target ('Repetition:', 'Result:')", False)


SETTINGS = (Settings,)


def main(settings: Settings) -> None:
    """Write the set; every row with an input is rewritten, and the order stays.

    Raises:
        UserError: the input is no file of instruction records, or the output cannot be written or is the input.
    """
    output = checked_output(settings.output, settings.input)
    with RunInfo(output.parent, settings) as info:
        info.add(**write_set(output, settings.input, repeat(settings)))


def repeat(settings: Settings) -> Iterator[Made]:
    for _, row in numbered(settings.input):
        yield rewritten(row, {"repeat": row.input}, settings.labels) if row.input.strip() else kept(row, NO_INPUT)
