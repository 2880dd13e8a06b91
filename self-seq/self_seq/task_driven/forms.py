"""The wording of every task-driven form: "First {task A}, then {task B}", answered by A's answer and B's.

Training and test sets have it from here. Source: the SIT paper's (arXiv 2403.07794) manual method. The target holds the
answers alone, each below the one before, as in the released `prepare_data_repeat.py`. `labels` gives them names, as the
released builders of the other sets did; scorers that look for "Result:" need these.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

from open_instruct.core.records import Instruction

MARK = "task_driven"  # extra field of each row written: the tasks it was given, or UNCHANGED
UNCHANGED = "none"
RESULT = "Result"  # label of the last answer


@dataclass(frozen=True)
class Task:
    """A task on the row's input.

    Attributes:
        words: how the instruction says it, after "First".
        label: of its answer.
    """

    words: str
    label: str


TASKS = {
    "repeat": Task("repeat the input", "Repetition"),
    "paraphrase": Task("paraphrase the input", "Paraphrase"),
    "translate": Task("translate the input into English", "Translation into English"),
}


def sequential(row: Instruction, answers: dict[str, str], labels: bool = False, **extra: Any) -> Instruction:
    """The row as a sequence.

    Args:
        row: instruction, input and output of the last task; it is not changed.
        answers: the tasks in front, in their order, each with its right answer.
        labels: each answer is named on a line above it; the last one on its own line.
        extra: further fields of the row.
    """
    answered = [(TASKS[name].label, answer) for name, answer in answers.items()]
    parts = [f"{label}:\n{answer}" for label, answer in answered] if labels else list(answers.values())
    return Instruction(
        instruction_of(row, list(answers)),
        row.input,
        "\n".join([*parts, f"{RESULT}: {row.output}" if labels else row.output]),
        row.extra | extra | {MARK: "-".join(answers)},
    )


def instruction_of(row: Instruction, tasks: list[str]) -> str:
    """The row's instruction with the tasks in front."""
    then = lower_first(row.instruction.strip(), row)
    return ", then ".join(["First " + TASKS[tasks[0]].words, *(TASKS[name].words for name in tasks[1:]), then])


def unchanged(row: Instruction, **extra: Any) -> Instruction:
    """The row as it is, marked as such."""
    return replace(row, extra=row.extra | extra | {MARK: UNCHANGED})


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
