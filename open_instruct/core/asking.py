"""Asking an engine about rows until each has an answer that can be read, with every result in a journal.

The steps of stage 1 and the judges of evaluation ask through here: rows that the journal does not hold are asked, a bad
answer is asked again with another seed, and a row that never gets a good one is journaled with its reason instead of a
result. So no answer is paid for twice, however often the process is killed.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from typing import Any, Protocol

from open_instruct.core.journal import Journal
from open_instruct.core.progress import Prices, Progress
from open_instruct.core.records import encode_json
from open_instruct.engines.base import Completion, Engine, Message, Request, Sampling

NOTE_SECONDS = 10
AGAIN = 0.7  # temperature at which a judge is asked again: greedily, it would write the same once more


class BadAnswer(Exception):
    """Why an answer cannot be used; the row is asked again."""


class Step(Protocol):
    """What is asked.

    Attributes:
        name: of the journal, of the progress line and of `Request.step`.
    """

    name: str

    def messages(self, number: int, row: Any) -> tuple[Message, ...]:
        """The prompt for the row of that number."""
        ...

    def read(self, row: Any, text: str) -> dict[str, Any]:
        """The result for a row and the text of its answer, JSON-able; raises `BadAnswer`."""
        ...


@dataclass(frozen=True)
class Spent:
    """What a step took: answers (bad ones too), their tokens, seconds."""

    answers: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


def ask(
    step: Step,
    rows: Callable[[], Iterable[tuple[int, Any]]],
    count: int,
    journal: Journal,
    engine: Engine,
    sampling: Sampling,
    attempts: int,
    label: str,
    prices: Prices | None = None,
    note: Callable[[Spent], None] = lambda spent: None,
    again: float = 0.0,
) -> None:
    """Ask `engine` about every row that `journal` does not hold yet, until each has a result or no attempt is left.

    A row without a good answer is journaled as {"failed": reason, "answer": text} with its first bad answer that has
    a text: why the generator could not be read tells more than that it could not be asked again.

    Args:
        rows: starts a new pass over the rows of this step, each with its number; each pass gives the same rows.
        count: how many rows a pass gives, for the progress line.
        attempts: how often a row is asked before its reason is journaled.
        label: of the progress line.
        prices: of the engine's tokens, for the progress line.
        note: is told now and then, and at the end, what the step took so far.
        again: temperature of the attempts after the first, where `sampling` is greedy.

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
            asked: dict[int, Any] = {}  # rows on their way; an engine bounds how many
            drawn = replace(sampling, seed=sampling.seed + attempt)
            if attempt and not sampling.temperature:
                drawn = replace(drawn, temperature=again)
            requests = _requests(step, rows(), journal, drawn, asked)
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
    step: Step, rows: Iterable[tuple[int, Any]], journal: Journal, sampling: Sampling, asked: dict[int, Any]
) -> Iterator[Request]:
    for number, row in rows:
        if number not in journal:
            asked[number] = row
            yield Request(number, step.messages(number, row), sampling, step.name)


def _text(completion: Completion) -> str:
    """The answer, if it is one that may be used at all."""
    if completion.finish_reason == "error":
        raise BadAnswer(completion.error)
    if completion.finish_reason == "length":
        raise BadAnswer("cut off at the token limit")
    if not completion.text.strip():
        raise BadAnswer("empty answer")
    return completion.text.strip()
