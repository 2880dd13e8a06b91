"""The steps of stage 1 that ask an engine: which rows, with which prompt, and what counts as an answer.

`generate.py` runs them, by `open_instruct.core.asking.ask`, which asks again what could not be read.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from open_instruct.core.asking import BadAnswer
from open_instruct.core.records import Instruction
from open_instruct.engines.base import Message
from self_seq.checks.refusals import refusal
from self_seq.checks.rewrites import complaint
from self_seq.extract import read_extraction, split
from self_seq.parse import parse_refinement, read_option, read_rewrite
from self_seq.prompts import Prompt
from self_seq.state import before_rewriting, state

NumberedRows = Iterable[tuple[int, Instruction]]  # (row number in the input file, row)


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: of the journal, of the progress line and of `Request.step`.
        prompt: the prompt for a row.
        read: the result for a row and the text of its answer, JSON-able; raises `BadAnswer`.
    """

    name: str
    prompt: Callable[[Instruction], Prompt]
    read: Callable[[Instruction, str], dict[str, Any]]

    def messages(self, number: int, row: Instruction) -> tuple[Message, ...]:
        """See `open_instruct.core.asking.Step`."""
        return self.prompt(row).fill(number, row)


def extract(prompt: Prompt) -> Step:
    """The input within the instruction's text. Result: {"split": `Split.to_json()`}, or {} where there is none."""

    def read(row: Instruction, text: str) -> dict[str, Any]:
        given_input = read_extraction(text)
        if given_input is None:
            raise BadAnswer("names no input")
        if not given_input:
            return {}
        parts = split(row.instruction, given_input)
        if parts is None:
            raise BadAnswer("names an input that is no part of the text, or all of it")
        return {"split": parts.to_json()}

    return Step("extract", lambda row: prompt, read)


def count_tasks(name: str, prompt: Prompt) -> Step:
    """How many tasks the instruction asks for. Result: {"tasks"}."""

    def read(row: Instruction, text: str) -> dict[str, Any]:
        numbers = {int(number) for number in _TASKS.findall(text)}
        if len(numbers) != 1 or 0 in numbers:
            raise BadAnswer("says no number of tasks" if not numbers else "says no one number of tasks")
        return {"tasks": numbers.pop()}

    return Step(name, lambda row: prompt, read)


_TASKS = re.compile(r"number of tasks[\s*_]*(?::|is|=)[\s*_]*(\d{1,3})\b", re.IGNORECASE)


def classify(prompt: Prompt, options: str = "ABCD") -> Step:
    """Which of A (decompose), B (prefix), C (suffix), D (keep) fits. Result: {"option"}.

    Args:
        prompt: which of them it offers, `options` says.
    """

    def read(row: Instruction, text: str) -> dict[str, Any]:
        reading = read_option(text)
        if reading.value is None:
            raise BadAnswer(reading.reason)
        if reading.value not in options:
            raise BadAnswer(f"chooses {reading.value}, which was not offered")
        return {"option": reading.value}

    return Step("classify", lambda row: prompt, read)


def rewrite(prompts: dict[str, Prompt]) -> Step:
    """The instruction as a chain of tasks, by the last of the options in the row's state. Result: {"instruction"}."""

    def read(row: Instruction, text: str) -> dict[str, Any]:
        reading = read_rewrite(text, row.instruction)
        if reading.value is None:
            raise BadAnswer(reading.reason)
        return {"instruction": _checked(reading.value, row)}

    return Step("rewrite", lambda row: prompts[state(row)["options"][-1]], read)


def _checked(instruction: str, before: Instruction) -> str:
    """The instruction, if the generator did write a new one and lost nothing of the one before."""
    if reason := complaint(before, instruction):
        raise BadAnswer(reason)
    return instruction


def refine(prompt: Prompt) -> Step:
    """Whether the rewritten instruction has everything it needs, repaired if not. Result: {"instruction"}."""

    def read(row: Instruction, text: str) -> dict[str, Any]:
        before = before_rewriting(row)
        verdict = parse_refinement(text, before.instruction)
        if verdict is None:
            raise BadAnswer("says neither Yes nor No")
        if not verdict.complete and verdict.instruction is None:
            raise BadAnswer("says No but gives no repaired instruction")
        return {"instruction": row.instruction if verdict.complete else _checked(verdict.instruction, before)}

    return Step("refine", lambda row: prompt, read)


def respond(name: str, prompt: Prompt) -> Step:
    """The generator's answer to the row's instruction. Result: {"response"}."""

    def read(row: Instruction, text: str) -> dict[str, Any]:
        if words := refusal(text):
            raise BadAnswer(f"refuses to answer\n{words}")
        return {"response": text}

    return Step(name, lambda row: prompt, read)
