"""The steps of stage 1 that ask an engine: which rows, with which prompt, and what counts as an answer.

`generate.py` runs them. `ask` is the same for every step: rows that the journal does not hold are asked, a bad
answer is asked again with another seed, and a row that never gets a good one is journaled with its reason instead
of a result.
"""

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from open_instruct.core.journal import Journal
from open_instruct.core.records import Instruction, encode_json
from open_instruct.engines.base import Completion, Engine, Request, Sampling
from self_seq.checks.refusals import refusal
from self_seq.checks.rewrites import complaint
from self_seq.extract import read_extraction, split
from self_seq.parse import parse_refinement, read_option, read_rewrite
from self_seq.progress import Prices, Progress
from self_seq.prompts import Prompt
from self_seq.spent import NOTE_SECONDS, Spent
from self_seq.state import before_rewriting, state

NumberedRows = Iterable[tuple[int, Instruction]]  # (row number in the input file, row)


class BadAnswer(Exception):
    """Why an answer cannot be used; the row is asked again."""


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


def ask(
    step: Step,
    rows: Callable[[], NumberedRows],
    count: int,
    journal: Journal,
    engine: Engine,
    sampling: Sampling,
    attempts: int,
    label: str,
    prices: Prices | None = None,
    note: Callable[[Spent], None] = lambda spent: None,
) -> None:
    """Ask `engine` about every row that `journal` does not hold yet, until each has a result or no attempt is left.

    A row without a good answer is journaled as {"failed": reason, "answer": text} with its first bad answer that has
    a text: why the generator could not be read tells more than that it could not be asked again.

    Args:
        rows: starts a new pass over the rows of this step; each pass gives the same rows.
        count: how many rows a pass gives, for the progress line.
        attempts: how often a row is asked before its reason is journaled.
        label: of the progress line.
        prices: of the engine's tokens, for the progress line.
        note: is told now and then, and at the end, what the step took so far.

    Raises:
        RuntimeError: the engine broke its contract: it left a request without a completion, or answered none of ours.
    """
    troubles = getattr(engine, "troubles", Counter())
    done = min(len(journal), count)  # it may hold more: of a judge that was asked about more rows before
    noted = 0.0
    with Progress(label, count, done, prices or Prices(), troubles) as progress, _Bad() as bad_answers:

        def spent() -> Spent:
            return Spent(progress.answers, progress.tokens_in, progress.tokens_out, progress.seconds)

        for attempt in range(attempts):
            asked: dict[int, Instruction] = {}  # rows on their way; an engine bounds how many
            requests = _requests(step, rows(), journal, replace(sampling, seed=sampling.seed + attempt), asked)
            bad = 0
            for completion in engine.complete(requests):
                if completion.key not in asked:
                    raise RuntimeError(f"{label}: the engine answered request {completion.key}, which is not open")
                row = asked.pop(completion.key)
                try:
                    result = step.read(row, _text(completion))
                    progress.answered(completion)
                except BadAnswer as reason:
                    bad += 1
                    progress.answered(completion, str(reason))
                    result = bad_answers.keep(completion, str(reason))
                    if attempt < attempts - 1:
                        continue
                spent_in, spent_out = bad_answers.tokens.pop(completion.key, (0, 0))
                if "failed" not in result:
                    spent_in, spent_out = spent_in + completion.prompt_tokens, spent_out + completion.completion_tokens
                result["tokens"] = [spent_in, spent_out]
                journal.add(completion.key, result)
                progress.row_done()
                if progress.seconds >= noted + NOTE_SECONDS:
                    note(spent())
                    noted = progress.seconds
            if asked:
                raise RuntimeError(
                    f"{label}: the engine left {len(asked):,} requests without an answer, the first of them "
                    f"{next(iter(asked))}"
                )
            if not bad:
                break
        note(spent())


class _Bad:
    """The bad answers of rows that are asked again: on the disk, since of ten million rows they may be many.

    Attributes:
        tokens: [in, out] that each of these rows has cost so far.
    """

    def __enter__(self) -> "_Bad":
        self._file = tempfile.TemporaryFile()
        self._starts: dict[int, int] = {}
        self.tokens: dict[int, tuple[int, int]] = {}
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def keep(self, completion: Completion, reason: str) -> dict[str, Any]:
        """The bad answer to remember for a row: its first with a text, or else its first."""
        key = completion.key
        spent_in, spent_out = self.tokens.get(key, (0, 0))
        self.tokens[key] = (spent_in + completion.prompt_tokens, spent_out + completion.completion_tokens)
        if key in self._starts:
            self._file.seek(self._starts[key])
            before = json.loads(self._file.readline())
            if before["answer"] or not completion.text:
                return before
        result = {"failed": reason, "answer": completion.text}
        self._starts[key] = self._file.seek(0, os.SEEK_END)
        self._file.write(encode_json(result) + b"\n")
        return result


def _requests(
    step: Step, rows: NumberedRows, journal: Journal, sampling: Sampling, asked: dict[int, Instruction]
) -> Iterator[Request]:
    for number, row in rows:
        if number not in journal:
            asked[number] = row
            yield Request(number, step.prompt(row).fill(number, row), sampling, step.name)


def _text(completion: Completion) -> str:
    """The answer, if it is one that may be used at all."""
    if completion.finish_reason == "error":
        raise BadAnswer(completion.error)
    if completion.finish_reason == "length":
        raise BadAnswer("cut off at the token limit")
    if not completion.text.strip():
        raise BadAnswer("empty answer")
    return completion.text.strip()
