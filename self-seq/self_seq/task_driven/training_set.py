"""Writing a task-driven training set: what became of each row, the counts, the rejected rows, the order.

Every task hands its rows to `write_set`. Each row that was read stands in the output, or with a reason in the list of
rejected rows beside it, or in both (a row that could not be rewritten and stays as it was).
"""

import json
import os
import random
import re
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction, encode_json, read_instructions, read_rows, replacing, write_rows
from self_seq.task_driven.forms import sequential, unchanged

NO_INPUT = "rows without an input"
NOT_DRAWN = "rows with an input that were not drawn"


@dataclass(frozen=True)
class Made:
    """What became of one row.

    Attributes:
        row: as it is written; None where it is left out.
        task: what it was given; "" where nothing.
        why: for the counts, why it got no task.
        rejected: its line in the list of rejected rows, if it has one.
        notes: what a person may want to look at, for the counts.
    """

    row: Instruction | None
    task: str = ""
    why: str = ""
    rejected: dict | None = None
    notes: tuple[str, ...] = ()


def rewritten(row: Instruction, answers: dict[str, str], labels: bool, **extra: Any) -> Made:
    """The row with tasks in front of its own; see `forms.sequential`."""
    notes = {
        "have no answer of their own": not row.output.strip(),
        "have words for no input as their input": bool(_NO_INPUT.fullmatch(row.input.strip())),
    }
    made = sequential(row, answers, labels, **extra)
    return Made(made, "-".join(answers), notes=tuple(note for note, true in notes.items() if true))


_NO_INPUT = re.compile(r"\W*(?:no\s*input|none|n/?a)(?:\s+(?:is\s+)?(?:required|needed|necessary))?\W*", re.IGNORECASE)


def kept(row: Instruction, why: str, **extra: Any) -> Made:
    """The row as it was."""
    return Made(unchanged(row, **extra), why=why)


def refused(
    number: int, row: Instruction, reason: str, why: str, written: bool, answer: str = "", **extra: Any
) -> Made:
    """A row that cannot be used as planned: kept as it was (`written`) or left out, and listed with the reason."""
    line = {"row": number, "reason": reason, "written": written, "answer": answer, "instruction": row.instruction}
    line |= {"input": row.input}
    return Made(unchanged(row, **extra) if written else None, why=why, rejected=line)


def numbered(path: str) -> Iterator[tuple[int, Instruction]]:
    """The rows of an instruction file with their numbers, from 0."""
    return enumerate(read_instructions(path))


def with_input(path: str) -> list[int]:
    """The numbers of the rows that have an input: only these are given a task."""
    return [number for number, row in numbered(path) if has_input(row)]


def has_input(row: Instruction) -> bool:
    """Whether there is something to work on; "<noinput>", "N/A" and their like (131 of 9,229 Alpaca rows) are none."""
    return bool(row.input.strip()) and not _NO_INPUT.fullmatch(row.input.strip())


def drawn(numbers: list[int], seed: int) -> list[int]:
    """The numbers in an order that the seed decides: whoever takes the first so many keeps them when he takes more."""
    order = sorted(numbers)
    random.Random(seed).shuffle(order)
    return order


def checked_output(output: str, *inputs: str) -> Path:
    """The output's path.

    Raises:
        UserError: it is one of the inputs.
    """
    path = Path(output)
    for name in inputs:
        if path.resolve() == Path(name).resolve():
            raise UserError(f"{path}: is an input; name another file for the output")
    return path


def beside(output: Path, kind: str) -> Path:
    """A file that belongs to the output: `sit.jsonl` has `sit.rejected.jsonl`."""
    name = output.name.removesuffix(".gz").removesuffix(".json").removesuffix(".jsonl")
    return output.with_name(f"{name}.{kind}.jsonl")


def write_set(output: Path, source: str, made: Iterable[Made], shuffle_seed: int | None = None) -> dict[str, int]:
    """Write the rows and the rejected ones, print the counts and return them.

    Args:
        source: where the rows are from, for the counts.
        made: one for each row of the source.
        shuffle_seed: of the order of the rows; None keeps theirs.

    Raises:
        RuntimeError: a row of the source is missing in `made`, or is there twice; nothing is written then.
    """
    tasks, whys, left_out, notes, reasons = (Counter() for _ in range(5))
    list_path = beside(output, "rejected")

    with replacing(list_path) as write_rejected:

        def rows() -> Iterator[dict]:
            for one in made:
                kind = tasks if one.task else whys if one.row is not None else left_out
                kind[one.task or one.why] += 1
                notes.update(one.notes)
                if one.rejected is not None:
                    write_rejected(encode_json(one.rejected) + b"\n")
                    reasons[one.rejected["reason"].partition("\n")[0]] += 1
                if one.row is not None:
                    yield one.row.to_json()
            if (read := _total(tasks, whys, left_out)) != (there := sum(1 for _ in read_rows(source))):
                raise RuntimeError(f"{source}: {there:,} rows are there, and {read:,} were dealt with")

        written = write_rows(output, rows() if shuffle_seed is None else _shuffled(rows(), shuffle_seed, output.parent))
    read = _total(tasks, whys, left_out)
    lines = [("rows read", read, source)]
    lines += [("  rewritten", count, f"task {task!r}: rows with an input") for task, count in sorted(tasks.items())]
    lines += [("", count, f"of the rewritten ones {note}") for note, count in sorted(notes.items())]
    lines += [("  kept", count, f"as they were: {why}") for why, count in sorted(whys.items())]
    lines += [("  left out", count, why) for why, count in sorted(left_out.items())]
    lines += [("rows written", written, str(output))]
    lines += [("rejected", reasons.total(), f"{list_path}")] if reasons else []
    lines += [("", count, reason) for reason, count in reasons.most_common()]
    for name, count, text in lines:
        print(f"{name:<13} {count:>9,}  {text}")
    return {
        "rows_read": read,
        "rows_written": written,
        **{f"rewritten_{task}": count for task, count in sorted(tasks.items())},
        "rows_kept": whys.total(),
        "rows_left_out": left_out.total(),
        "rows_rejected": reasons.total(),
    }


def _total(*counters: Counter) -> int:
    return sum(counter.total() for counter in counters)


def _shuffled(rows: Iterable[dict], seed: int, folder: Path) -> Iterator[dict]:
    """The rows in another order. They wait in a file that no one else sees: memory holds 8 bytes a row."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        starts = array("q")
        for row in rows:
            starts.append(file.tell())
            file.write(encode_json(row) + b"\n")
        random.Random(seed).shuffle(starts)
        for start in starts:
            file.seek(start)
            yield json.loads(file.readline())
