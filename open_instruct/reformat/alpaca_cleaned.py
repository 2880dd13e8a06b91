"""Alpaca-cleaned: 51,760 rows; the SIT paper's main set, and stage 1's input (arXiv 2403.07794).

Rows keep their layout (instruction, then input on a line of its own): no template is drawn, unlike in Tulu's Alpaca.
"""

from collections.abc import Iterator

from open_instruct.core.records import Instruction
from open_instruct.reformat.base import Example, File, Job, Rejected, Source, turns

SOURCE = Source(
    about="Stanford Alpaca with its worst rows mended or left out",
    page="https://huggingface.co/datasets/yahma/alpaca-cleaned",
    licence="CC BY 4.0",
    files=(
        File(
            "alpaca_data_cleaned.json",
            "https://huggingface.co/datasets/yahma/alpaca-cleaned/resolve/main/alpaca_data_cleaned.json",
        ),
    ),
    published=51_760,
    published_in="SIT, arXiv 2403.07794",
)
FORMS = (("instruction", "output"),)


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    yield example(row)


def example(row: dict) -> Example | Rejected:
    """An instruction row as it stands: its system prompt, where it has one; instruction and input; its answer."""
    fields = {"input": "", **{name: value for name, value in row.items() if value is not None}}
    for name in ("instruction", "input", "output"):
        if not isinstance(fields.get(name), str):
            return Rejected(f"field {name!r} is no text")
    if not fields["instruction"].strip():
        return Rejected("field 'instruction' is blank")
    instruction = Instruction.from_json(fields, "")
    return Example(turns(instruction.prompt, instruction.output, instruction.system))
