"""Difficulty as a language model judges it: two grades from 1 to 5 a vote, several votes a row, each in a journal.

`score.py` calls it. Grades are read strictly; what cannot be read is asked again with another seed, and what stays
unreadable is counted, and listed where a row is left without any vote.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from open_instruct.core.asking import AGAIN, BadAnswer, Spent, ask
from open_instruct.core.estimate import CHARACTERS_A_TOKEN, answer_tokens
from open_instruct.core.journal import Journal
from open_instruct.core.progress import Prices
from open_instruct.core.prompt_file import fill, order_for, orders, read_prompt_file, within_tags
from open_instruct.core.records import Instruction
from open_instruct.engines import identity, open_engine
from open_instruct.engines.base import Message, Sampling
from open_instruct.phased.scored import HIGHEST, LOWEST

PROMPT = Path(__file__).parent / "prompts" / "difficulty.yaml"
STEP = "difficulty"  # of journals, progress lines and requests
_NUMBER = r"(\d+(?:\.\d+)?)"
_ANSWER = re.compile(rf"Difficulty:[ \t]*{_NUMBER}[ \t]*\r?\n\s*Step:[ \t]*{_NUMBER}")
_EXPECTED = (
    "max_tokens, orders, system, question and examples, and each example an answer and what fills the question; "
    "max_tokens and orders are numbers, examples is a list, the rest are texts"
)
_TAGS = ("instruction", "input", "output")

Rows = Callable[[], Iterator[tuple[int, Instruction]]]


@dataclass(frozen=True)
class Prompt:
    """A loaded prompt file; `digest` names its content."""

    system: str
    question: str
    orders: tuple[tuple[Message, ...], ...]
    max_tokens: int
    digest: str

    def messages(self, number: int, row: Instruction) -> tuple[Message, ...]:
        """What the judge is sent about row `number`."""
        output = row.output if row.output.strip() else "(there is none)"
        texts = dict(zip(_TAGS, (row.instruction, row.input, output), strict=True))
        question = fill(self.question, {name: within_tags(text, _TAGS) for name, text in texts.items()})
        return (
            {"role": "system", "content": self.system},
            *order_for(number, self.orders),
            {"role": "user", "content": question.strip()},
        )


@dataclass(frozen=True)
class Asking:
    """How the judge is asked.

    Attributes:
        engine, options: who judges.
        votes: how often each row is graded.
        attempts: how often one vote is asked for before it counts as unreadable.
        sampling: of the first vote; each vote and attempt has a seed of its own.
    """

    engine: str
    options: list[str]
    prompt: Prompt
    votes: int
    attempts: int
    sampling: Sampling
    prices: Prices


@dataclass(frozen=True)
class Graded:
    """What the votes on a row say: [difficulty, step] of each readable one, {"reason", "answer"} of each other one."""

    votes: list[list[float]]
    unreadable: list[dict[str, str]]

    @property
    def score(self) -> float:
        """The mean over both dimensions and all readable votes."""
        return sum(map(sum, self.votes)) / (2 * len(self.votes))


def read_answer(text: str) -> dict[str, float]:
    """The two grades of an answer, `difficulty` and `step`.

    Raises:
        BadAnswer: it is not just two lines, or a grade is not from 1 to 5.
    """
    found = _ANSWER.fullmatch(text.strip())
    if found is None:
        raise BadAnswer("the answer is not two lines, Difficulty: N and Step: N")
    grades = {"difficulty": float(found[1]), "step": float(found[2])}
    for name, grade in grades.items():
        if not LOWEST <= grade <= HIGHEST:
            raise BadAnswer(f"{name} is not from {LOWEST:g} to {HIGHEST:g}")
    return grades


def load_prompt(path: Path) -> Prompt:
    """A prompt file.

    Raises:
        UserError: no such file, or it is no prompt for grading.
    """
    return read_prompt_file(path, _build, _EXPECTED, f"copy {PROMPT} and change what you need")


def grade(rows: Rows, count: int, folder: Path, asking: Asking, about: dict[str, Any]) -> Iterator[Graded]:
    """Ask for every vote that the journals in `folder` do not hold yet, then give each row's votes in order.

    More votes later cost only the new ones.

    Args:
        rows: starts a pass over the rows.
        count: rows of a pass.
        about: what the grades depend on beside the judge: the rows.

    Raises:
        UserError: the engine cannot be opened or fails for all, or a journal is about other rows or another judge.
    """
    judge = identity(asking.engine, asking.options)
    about = {"step": STEP, **about, "prompt": asking.prompt.digest, "engine": judge, **_drawn(asking.sampling)}
    with ExitStack() as opened:
        journals = [
            opened.enter_context(Journal(folder / f"vote-{vote}.journal.jsonl", {**about, "vote": vote}))
            for vote in range(1, asking.votes + 1)
        ]
        if any(len(journal) < count for journal in journals):
            engine = open_engine(asking.engine, asking.options)
            opened.callback(engine.close)
            for vote, journal in enumerate(journals):
                sampling = replace(asking.sampling, seed=asking.sampling.seed + vote * asking.attempts)
                label = STEP if asking.votes == 1 else f"{STEP}, vote {vote + 1} of {asking.votes}"
                step = _Step(STEP, asking.prompt)
                ask(step, rows, count, journal, engine, sampling, asking.attempts, label, asking.prices, again=AGAIN)
        for number in range(count):
            yield _graded([journal.get(number) for journal in journals])


def _graded(results: list[dict[str, Any]]) -> Graded:
    """What the journals hold of a row. Grades are read again: the reader may have become stricter since."""
    votes, unreadable = [], []
    for one in results:
        try:
            if "failed" in one:
                raise BadAnswer(one["failed"])
            votes.append(list(read_answer(one["text"]).values()))
        except BadAnswer as reason:
            unreadable.append({"reason": str(reason), "answer": one.get("answer", one.get("text", ""))})
    return Graded(votes, unreadable)


def planned(rows: Rows, asking: Asking) -> Spent:
    """What grading all rows would ask: requests, tokens in, tokens out; an answer is as long as the longest example."""
    answer = answer_tokens(asking.prompt.orders[0], asking.prompt.max_tokens)
    requests = characters = 0
    for number, row in rows():
        requests += 1
        characters += sum(len(message["content"]) for message in asking.prompt.messages(number, row))
    requests, characters = requests * asking.votes, characters * asking.votes
    return Spent(requests, characters // CHARACTERS_A_TOKEN, requests * answer)


@dataclass(frozen=True)
class _Step:
    """See `open_instruct.core.asking.Step`. A journal keeps what the judge wrote; the engine `replay` reads it, too."""

    name: str
    prompt: Prompt

    def messages(self, number: int, row: Instruction) -> tuple[Message, ...]:
        return self.prompt.messages(number, row)

    def read(self, row: Instruction, text: str) -> dict[str, Any]:
        read_answer(text)
        return {"text": text}


def _build(content: Any, digest: str) -> Prompt:
    bare = Prompt(content["system"].strip(), content["question"], ((),), int(content["max_tokens"]), digest)
    turns = []
    for example in content["examples"]:
        try:
            read_answer(example["answer"])
        except BadAnswer as reason:  # it would teach the judge to write such
            raise ValueError(f"the answer of an example cannot be read: {reason}") from reason
        row = Instruction(example["instruction"], example["input"], example["output"])
        turns.append((bare.messages(0, row)[-1], {"role": "assistant", "content": example["answer"].strip()}))
    return replace(bare, orders=orders(turns, int(content["orders"])))


def _drawn(sampling: Sampling) -> dict[str, Any]:
    return {"temperature": sampling.temperature, "seed": sampling.seed}
