"""What stage 1 knows of a row between its steps, and the row's final form.

It travels with the row in the files between the iterations as one extra field, `_sit`, so an input may use every other
name, as a multiple-choice set or an `sit.jsonl` does; an `_sit` of the input's own is dropped:

- `row`: number in the input file, the key of every journal.
- `id`: the input's `id`, or `idx`, or the row's number; null counts as missing.
- `original_instruction`: as it came, whole.
- `options`: what was chosen, one letter an iteration. D ends the row's rewriting, except where a number of tasks is
  asked for: see `tasks`.
- `failures`: {"iteration"?, "step", "reason", "answer"} of each step that gave nothing usable.
- `dropped`: {"reason", "detail"} where the screening took the row out; {} otherwise.
- `split`: where the input stood in the original, if the step `extract` separated it (see `extract.py`); {} otherwise.
- `tasks`: how many tasks the instruction asks for, where they are counted (`--num_tasks`); 0 otherwise.
"""

from typing import Any

from open_instruct.core.records import Instruction
from self_seq.extract import join

STATE = "_sit"


def with_new_state(row: Instruction, number: int) -> Instruction:
    """The row as it comes from the input file; a blank input is none."""
    return Instruction(
        row.instruction,
        row.input if row.input.strip() else "",
        row.output,
        row.extra
        | {
            STATE: {
                "row": number,
                "id": next((row.extra[name] for name in ("id", "idx") if row.extra.get(name) is not None), number),
                "original_instruction": row.instruction,
                "options": [],
                "failures": [],
                "dropped": {},
                "split": {},
                "tasks": 0,
            }
        },
    )


def state(row: Instruction) -> dict[str, Any]:
    """See the top of this file."""
    return row.extra[STATE]


def changed(row: Instruction, instruction: str | None = None, input: str | None = None, **fields: Any) -> Instruction:
    """The row with another instruction or input, and with other values of its state."""
    return Instruction(
        row.instruction if instruction is None else instruction,
        row.input if input is None else input,
        row.output,
        {**row.extra, STATE: {**state(row), **fields}},
    )


def is_kept(row: Instruction) -> bool:
    """Whether the instruction stays as it is from now on: its last option was D."""
    return state(row)["options"][-1:] == ["D"]


def original(row: Instruction) -> Instruction:
    """The row as it came: the original instruction, and the input unless it stood in the instruction's text."""
    given_input = "" if state(row)["split"] else row.input
    return Instruction(state(row)["original_instruction"], given_input, row.output, row.extra)


def before_rewriting(row: Instruction) -> Instruction:
    """The row as the first iteration found it: the original instruction without an input that was separated from it."""
    split = state(row)["split"]
    return Instruction(split["instruction"], row.input, row.output, row.extra) if split else original(row)


def final(row: Instruction) -> Instruction:
    """The row as a model is to see it: an input that was separated from the instruction stands in its text again."""
    split = state(row)["split"]
    if not split:
        return row
    if row.instruction == split["instruction"]:
        return original(row)
    return Instruction(join(row.instruction, row.input, split), "", row.output, row.extra)


def is_rewritten(row: Instruction) -> bool:
    """Whether a model is to see something else than the row as it came."""
    return final(row).prompt != original(row).prompt
