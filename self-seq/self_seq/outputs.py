"""The end of stage 1: rows and their answers as training files, and a reason for everything that is missing.

`generate.py` calls it. The training rows hold instruction, input, output, id, options, original_instruction (in
`sit.jsonl`) and system_prompt where the row has one; the input's other fields are left out.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from open_instruct.core.errors import UserError
from open_instruct.core.journal import Journal
from open_instruct.core.progress import kind_of
from open_instruct.core.records import Instruction, encode_json, replacing
from self_seq.screening.contamination import Contamination
from self_seq.state import final, is_rewritten, original, state

STATISTICS = "statistics.json"
_MOST_REASONS = 20  # that are printed


@dataclass(slots=True)
class Counts:
    """Of rows: in = written + dropped.

    Attributes:
        rejected: failures by "step: reason".
        by_tasks: written rows by how many tasks they ask for, where that was to be a set number.
    """

    rows_in: int = 0
    rows_written: int = 0
    rows_dropped: int = 0
    rows_written_with_a_failed_step: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    by_tasks: Counter[int] = field(default_factory=Counter)

    def rows(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in _ROWS}


_ROWS = ("rows_in", "rows_written", "rows_dropped", "rows_written_with_a_failed_step")


@dataclass(frozen=True, slots=True)
class Answered:
    """A row at the end: `it` and `sit` are the results of its two `respond` steps, one and the same for a kept row."""

    row: Instruction
    it: dict[str, Any]
    sit: dict[str, Any]

    @property
    def lost(self) -> list[dict[str, Any]]:
        """Why the row cannot be written; empty if it can."""
        if dropped := state(self.row)["dropped"]:
            detail = ", ".join(f"{name} {value}" for name, value in dropped["detail"].items())
            return [{"step": "screening", "reason": f"{dropped['reason']}\n{detail}", "answer": ""}]
        results = {"respond_it": self.it} | ({"respond_sit": self.sit} if self.sit is not self.it else {})
        return failures(results)


def failures(results: dict[str, dict[str, Any]], iteration: int | None = None) -> list[dict[str, Any]]:
    """The steps that gave nothing usable, as they stand in `rejected.jsonl`."""
    place = {} if iteration is None else {"iteration": iteration}
    return [
        {**place, "step": step, "reason": result["failed"], "answer": result["answer"]}
        for step, result in results.items()
        if "failed" in result
    ]


def answered(
    rows: Iterable[tuple[int, Instruction]],
    plain: Journal,
    chained: Journal,
    it_answers: str,
    contamination: Contamination | None,
) -> Iterator[Answered]:
    """Each row with its answers.

    Args:
        rows: after the last iteration, dropped ones too.
        plain, chained: answers to the original and to the sequential instructions.
        it_answers: whose answers go to the original ones: see `generate.Settings`.
        contamination: evaluation texts that no answer and no rewritten instruction may hold.
    """
    for number, row in rows:
        if state(row)["dropped"]:
            yield Answered(row, {}, {})
            continue
        it = plain.get(number) if it_answers == "generator" else _own_answer(row, it_answers)
        # The journal may hold more, from a run with the source's answers.
        sit = it if it_answers == "generator" and not is_rewritten(row) else chained.get(number)
        if it is sit:
            it = sit = _clean(sit, final(row), contamination)
        else:
            it, sit = _clean(it, original(row), contamination), _clean(sit, final(row), contamination)
        yield Answered(row, it, sit)


def _clean(result: dict[str, Any], row: Instruction, contamination: Contamination | None) -> dict[str, Any]:
    """The result, or why it may not be trained on."""
    if contamination is None or "failed" in result:
        return result
    found = contamination.find(f"{row.prompt}\n{result['response']}")
    if not found:
        return result
    where, words = found
    return {"failed": f"holds evaluation text\n{where}: {words}", "answer": result["response"]}


def _own_answer(row: Instruction, it_answers: str) -> dict[str, Any]:
    if it_answers == "none":
        return {"response": ""}
    return {"response": row.output} if row.output.strip() else {"failed": "the source has no answer", "answer": ""}


def write_rows_and_reasons(folder: Path, rows: Iterable[Answered], with_it: bool) -> Counts:
    """Write sit.jsonl, it.jsonl (if `with_it`) and rejected.jsonl in one pass; each appears whole or not at all.

    Without `with_it`, an it.jsonl that an earlier run left is removed: its rows are not those of this sit.jsonl.
    """
    counts = Counts()
    it_file = folder / "it.jsonl"
    with (
        replacing(folder / "sit.jsonl") as write_sit,
        replacing(it_file) if with_it else nullcontext() as write_it,
        replacing(folder / "rejected.jsonl") as write_rejected,
    ):
        for end in rows:
            counts.rows_in += 1
            lost = end.lost
            all_failures = state(end.row)["failures"] + lost
            if lost:
                counts.rows_dropped += 1
            else:
                counts.rows_written += 1
                if tasks := state(end.row)["tasks"]:
                    counts.by_tasks[tasks] += 1
                write_sit(encode_json(_training_row(end, sequential=True)) + b"\n")
                if write_it:
                    write_it(encode_json(_training_row(end, sequential=False)) + b"\n")
            if all_failures:
                counts.rows_written_with_a_failed_step += not lost
                for failure in all_failures:
                    counts.rejected[f"{failure['step']}: {kind_of(failure['reason'])}"] += 1
                write_rejected(encode_json(_rejected_row(end.row, all_failures, bool(lost))) + b"\n")
    if not with_it:
        it_file.unlink(missing_ok=True)
    return counts


def _training_row(end: Answered, sequential: bool) -> dict[str, Any]:
    row = final(end.row) if sequential else original(end.row)
    return {
        "id": state(row)["id"],
        "instruction": row.instruction,
        "input": row.input,
        "output": (end.sit if sequential else end.it)["response"],
        "options": state(row)["options"],
        **({"original_instruction": state(row)["original_instruction"]} if sequential else {}),
        **({"system_prompt": row.system} if row.system else {}),
    }


def _rejected_row(row: Instruction, found: list[dict[str, Any]], dropped: bool) -> dict[str, Any]:
    return {
        "id": state(row)["id"],
        "row": state(row)["row"],
        "instruction": state(row)["original_instruction"],
        "dropped": dropped,
        "failures": found,
    }


def print_counts(folder: Path, counts: Counts, with_it: bool) -> None:
    """What went in and came out, and why the rest did not.

    Raises:
        UserError: no row was written.
    """
    print(
        f"rows: {counts.rows_in:,} in = {counts.rows_written:,} written + {counts.rows_dropped:,} dropped; "
        f"{counts.rows_written_with_a_failed_step:,} of the written ones had a failed step (see rejected.jsonl)"
    )
    for reason, number in counts.rejected.most_common(_MOST_REASONS):
        print(f"  {number:,} x {reason}")
    if len(counts.rejected) > _MOST_REASONS:
        print(f"  and {len(counts.rejected) - _MOST_REASONS:,} more reasons")
    if counts.by_tasks:
        held = ", ".join(f"{tasks}: {rows:,}" for tasks, rows in sorted(counts.by_tasks.items()))
        print(f"written rows by number of tasks: {held}")
    if not counts.rows_written:
        reason, number = counts.rejected.most_common(1)[0]
        raise UserError(
            f"{folder / 'rejected.jsonl'}: none of the {counts.rows_in:,} rows got an answer; the most frequent "
            f"reason, {number:,} times: {reason}. Mend that and name another output folder."
        )
    print(f"training files: {folder}/{'it.jsonl and ' if with_it else ''}sit.jsonl")


def tokens_by_step(folder: Path, iterations: int) -> dict[str, dict[str, int]]:
    """Answers and tokens of every step, earlier processes' too, from the journals."""
    found: dict[str, Counter[str]] = {}
    folders = [folder, *(folder / f"iteration_{number}" for number in range(1, iterations + 1))]
    for path in (path for place in folders for path in sorted(place.glob("*.journal.jsonl"))):
        counts = found.setdefault(path.name.removesuffix(".journal.jsonl"), Counter({"answers": 0, "in": 0, "out": 0}))
        with path.open("rb") as lines:
            next(lines, None)  # what the journal is about
            for line in lines:
                if line.endswith(b"\n"):
                    tokens_in, tokens_out = json.loads(line)["value"]["tokens"]
                    counts.update(answers=1, **{"in": tokens_in, "out": tokens_out})
    return {step: dict(counts) for step, counts in found.items()}


def judged(journal: Journal, sample: set[int]) -> dict[str, Any]:
    """What the judge counted: rows of the sample by number of tasks, before and after the rewriting.

    Returns:
        "rows", "tasks_before", "tasks_after" (number of tasks -> rows), "longer" (rows that ask for more tasks than
        before), "unreadable" (rows of which a count is missing; in none of the others).
    """
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    longer = unreadable = 0
    for number in sample:
        counts = [journal.get(key).get("tasks") for key in (2 * number, 2 * number + 1)]
        if None in counts:
            unreadable += 1
            continue
        before[str(counts[0])] += 1
        after[str(counts[1])] += 1
        longer += counts[1] > counts[0]
    return {
        "rows": len(sample),
        "tasks_before": dict(sorted(before.items(), key=lambda item: int(item[0]))),
        "tasks_after": dict(sorted(after.items(), key=lambda item: int(item[0]))),
        "longer": longer,
        "unreadable": unreadable,
    }
