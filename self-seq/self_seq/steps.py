"""The steps of stage 1 that ask an engine: which rows, with which prompt, and what counts as an answer.

`generate.py` runs them. `ask` is the same for every step: rows that the journal does not hold are asked, a bad
answer is asked again with another seed, and a row that never gets a good one is journaled with its reason instead
of a result.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tqdm import tqdm

from open_instruct.core.journal import Journal
from open_instruct.core.records import Instruction, encode_json
from open_instruct.engines.base import Completion, Engine, Request, Sampling
from self_seq.parse import parse_refinement, read_option, read_rewrite
from self_seq.prompts import STATE, Prompt

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


def classify(prompt: Prompt) -> Step:
    """Which of A (decompose), B (prefix), C (suffix), D (keep) fits. Result: {"option"}."""

    def read(row: Instruction, text: str) -> dict[str, Any]:
        reading = read_option(text)
        if reading.value is None:
            raise BadAnswer(reading.reason)
        return {"option": reading.value}

    return Step("classify", lambda row: prompt, read)


def rewrite(prompts: dict[str, Prompt]) -> Step:
    """The instruction as a chain of tasks, by the last of the options in the row's state. Result: {"instruction"}."""
    return Step("rewrite", lambda row: prompts[row.extra[STATE]["options"][-1]], _read_instruction)


def _read_instruction(row: Instruction, text: str) -> dict[str, Any]:
    reading = read_rewrite(text, row.instruction)
    if reading.value is None:
        raise BadAnswer(reading.reason)
    return {"instruction": _checked(reading.value, row.instruction)}


def _checked(instruction: str, original: str) -> str:
    """The instruction, if the generator did write a new one."""
    if instruction.strip() == original.strip():
        raise BadAnswer("the new instruction equals the original one")
    if "#Original Instruction#" in instruction or "#New Instruction#" in instruction:
        raise BadAnswer("text of the prompt leaked into the new instruction")
    return instruction


def refine(prompt: Prompt) -> Step:
    """Whether the rewritten instruction has everything it needs, repaired if not. Result: {"instruction"}."""

    def read(row: Instruction, text: str) -> dict[str, Any]:
        original = row.extra[STATE]["original_instruction"]
        verdict = parse_refinement(text, original)
        if verdict is None:
            raise BadAnswer("says neither Yes nor No")
        if not verdict.complete and verdict.instruction is None:
            raise BadAnswer("says No but gives no repaired instruction")
        return {"instruction": row.instruction if verdict.complete else _checked(verdict.instruction, original)}

    return Step("refine", lambda row: prompt, read)


def respond(name: str, prompt: Prompt) -> Step:
    """The generator's answer to the row's instruction. Result: {"response"}."""
    return Step(name, lambda row: prompt, lambda row, text: {"response": text})


def ask(
    step: Step,
    rows: Callable[[], NumberedRows],
    count: int,
    journal: Journal,
    engine: Engine,
    sampling: Sampling,
    attempts: int,
    label: str,
) -> None:
    """Ask `engine` about every row that `journal` does not hold yet, until each has a result or no attempt is left.

    A row without a good answer is journaled as {"failed": reason, "answer": text} with its first bad answer that has
    a text: why the generator could not be read tells more than that it could not be asked again.

    Args:
        rows: starts a new pass over the rows of this step; each pass gives the same rows.
        count: how many rows a pass gives, for the progress line.
        attempts: how often a row is asked before its reason is journaled.
        label: of the progress line.

    Raises:
        RuntimeError: the engine broke its contract: it left a request without a completion, or answered none of ours.
    """
    with tqdm(total=count, initial=len(journal), desc=label, unit=" rows", mininterval=1) as progress, _Bad() as first:
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
                except BadAnswer as reason:
                    bad += 1
                    progress.set_postfix({"to ask again": bad}, refresh=False)
                    result = first.keep(completion.key, {"failed": str(reason), "answer": completion.text})
                    if attempt < attempts - 1:
                        continue
                result["tokens"] = [completion.prompt_tokens, completion.completion_tokens]
                journal.add(completion.key, result)
                progress.update()
            if asked:
                raise RuntimeError(
                    f"{label}: the engine left {len(asked):,} requests without an answer, the first of them "
                    f"{next(iter(asked))}"
                )
            if not bad:
                break


class _Bad:
    """The bad answers of rows that are asked again: on the disk, since of ten million rows they may be many."""

    def __enter__(self) -> "_Bad":
        self._file = tempfile.TemporaryFile()
        self._starts: dict[int, int] = {}
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def keep(self, key: int, result: dict[str, Any]) -> dict[str, Any]:
        """The bad answer to remember for a row: its first with a text, or else its first."""
        if key in self._starts:
            self._file.seek(self._starts[key])
            before = json.loads(self._file.readline())
            if before["answer"] or not result["answer"]:
                return before
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
