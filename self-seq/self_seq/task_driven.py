"""Task-driven sequential instructions: a task put in front of the one a row has, its answer in front of the row's.

    python -m self_seq.task_driven --input INPUT.json --output OUTPUT.jsonl --task repeat

No language model is asked: in the paper's manual method "First {task A}, then {task B}" is answered by the answer to A
and, below it, the answer to B. Only rows with an input are rewritten; the others stay, and so does the order.
`scripts/generation_repeat.sh` runs this. A further task is one more function from rows to rows, named in `TASKS`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction, read_instructions, write_rows
from open_instruct.core.run_info import RunInfo

MARK = "task_driven"  # extra field of each row written: the task it was given, or UNCHANGED
UNCHANGED = "none"


@dataclass
class Settings:
    input: str = help_field("instruction records: JSONL or a JSON array, also .gz")
    output: str = help_field("file of instruction records to write; run.json comes beside it")
    task: str = help_field("the task put in front: repeat", "repeat")


def main(settings: Settings) -> None:
    """Write the task-driven set and print how many rows were read, rewritten, kept and written.

    Raises:
        UserError: the input is no file of instruction records, or the output cannot be written or is the input.
    """
    if settings.task not in TASKS:
        raise UserError(f"no task named {settings.task!r}; there are: {', '.join(TASKS)}")
    output = Path(settings.output)
    if output.resolve() == Path(settings.input).resolve():
        raise UserError(f"{output}: is the input; name another file for the output")
    counts = dict.fromkeys(("read", "rewritten", "kept", "no answer", "input says there is none"), 0)
    with RunInfo(output.parent, settings):
        rows = TASKS[settings.task](_counted(read_instructions(settings.input), counts))
        written = write_rows(output, (row.to_json() for row in _judged(rows, counts)))
    print(f"rows read      {counts['read']:>9,}  {settings.input}")
    print(f"  rewritten    {counts['rewritten']:>9,}  task {settings.task!r}: rows with an input")
    if counts["no answer"]:
        print(f"               {counts['no answer']:>9,}  of them have no answer behind the repeated input")
    if counts["input says there is none"]:
        print(
            f"               {counts['input says there is none']:>9,}  of them have words for no input as their input"
        )
    print(f"  kept         {counts['kept']:>9,}  as they were: rows without an input")
    print(f"rows written   {written:>9,}  {output}")


def repeat(rows: Iterable[Instruction]) -> Iterator[Instruction]:
    """First the input is repeated, then the row's own instruction followed.

    Source: the SIT paper's (arXiv 2403.07794) manual method, in the wording of its released `prepare_data_repeat.py`.
    """
    for row in rows:
        if not row.input.strip():
            yield replace(row, extra=row.extra | {MARK: UNCHANGED})
            continue
        then = lower_first(row.instruction.strip(), row)
        yield replace(
            row,
            instruction=f"First repeat the input, then {then}",
            output=f"{row.input}\n{row.output}",
            extra=row.extra | {MARK: "repeat"},
        )


TASKS: dict[str, Callable[[Iterable[Instruction]], Iterator[Instruction]]] = {"repeat": repeat}


def lower_first(instruction: str, row: Instruction) -> str:
    """The instruction as it goes on within a sentence: its first letter small, and nothing else changed.

    A first word that has to be written so keeps its capital: "I", "SQL", "JavaScript", and a name, which we know by the
    capital that it has in the middle of a sentence of the same row.
    """
    word = re.match(r"[^\W\d_]+", instruction)
    if not word or word[0][1:] != word[0][1:].lower() or (len(word[0]) == 1 and word[0] != "A"):
        return instruction
    in_a_sentence = re.compile(rf"(?<=[\w,;] ){re.escape(word[0])}\b")
    if any(in_a_sentence.search(text) for text in (row.instruction, row.input, row.output)):
        return instruction
    return instruction[0].lower() + instruction[1:]


def _counted(rows: Iterable[Instruction], counts: dict[str, int]) -> Iterator[Instruction]:
    for row in rows:
        counts["read"] += 1
        yield row


def _judged(rows: Iterable[Instruction], counts: dict[str, int]) -> Iterator[Instruction]:
    """The rows as they are written, each counted by what became of it."""
    for row in rows:
        changed = row.extra[MARK] != UNCHANGED
        counts["rewritten" if changed else "kept"] += 1
        counts["no answer"] += changed and row.output.strip() == row.input.strip()
        counts["input says there is none"] += changed and bool(_NO_INPUT.fullmatch(row.input.strip()))
        yield row


_NO_INPUT = re.compile(r"\W*(?:no\s*input|none|n/?a)(?:\s+(?:is\s+)?(?:required|needed|necessary))?\W*", re.IGNORECASE)


if __name__ == "__main__":
    run(main, Settings)
