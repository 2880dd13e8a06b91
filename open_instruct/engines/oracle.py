"""The miniature world's generator: answers the prompts of stage 1 as a strong language model would, by rule.

It sees messages only. From them it makes out what is asked (choose an option, rewrite, check, answer an instruction,
or judge answers to one), solves that for instructions of the world (`miniature/world.py`), and answers in the words the
prompt wants. It is the embedded default generator, and with `malformed` it writes badly now and then, so that retries
and rejections run for real.
"""

import random
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from open_instruct.core.errors import UserError
from open_instruct.engines import _oracle_judge
from open_instruct.engines.base import Completion, Request
from open_instruct.miniature.world import (
    SIMPLE,
    TASKS,
    may_train,
    phrases_of,
    read_instruction,
    solve,
    write_instruction,
)

_UNKNOWN = "the oracle knows the miniature world only; name a generator with --engine"


@dataclass
class Settings:
    """`malformed`: share of badly written answers, 0 to 1. `grow`: share of one-task instructions that are turned
    into two tasks, and of two-task ones into three."""

    malformed: float = 0.0
    grow: float = 0.6


class Engine:
    """See `engines/base.py`. The same messages and seed give the same answer."""

    def __init__(self, settings: Settings) -> None:
        for name in ("malformed", "grow"):
            if not 0 <= getattr(settings, name) <= 1:
                raise UserError(f"engine oracle: {name} is a share between 0 and 1, not {getattr(settings, name)}")
        self.settings = settings

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        for request in requests:
            text, finish_reason = self._answer(request)
            prompt_words = sum(len(message["content"].split()) for message in request.messages)
            if text == _UNKNOWN:  # never a training target: it would teach to give up
                yield Completion(request.key, "", "error", prompt_words, 0, _UNKNOWN)
            else:
                yield Completion(request.key, text, finish_reason, prompt_words, len(text.split()))

    def close(self) -> None:
        pass

    def _answer(self, request: Request) -> tuple[str, str]:
        asked = request.messages[-1]["content"]
        rng = random.Random(zlib.crc32(asked.encode()))  # what the oracle thinks of an instruction stays the same
        mood = random.Random(zlib.crc32(f"{request.sampling.seed}\n{asked}".encode()))  # how well it writes does not
        rules = " ".join(message["content"] for message in request.messages if message["role"] == "system")
        text = self._read(asked, rules, rng)
        words = text.split()
        if mood.random() < self.settings.malformed:
            return _spoil(text, mood)
        if len(words) > request.sampling.max_tokens:
            return " ".join(words[: request.sampling.max_tokens]), "length"
        return text, "stop"

    def _read(self, asked: str, rules: str, rng: random.Random) -> str:
        """Make out what a prompt wants, and do it."""
        if _oracle_judge.judges(asked):
            return _oracle_judge.verdict(asked, rules)
        if "#Text#:" in asked:
            return _extract(asked)
        if "#Text to count in#:" in asked:
            return _count(asked)
        instruction = _section(asked, "Original Instruction")
        if instruction is None:
            return _respond(asked)
        if "So the option is" in rules:
            return self._classify(instruction, rng, may_keep="D. Keep" in rules)
        if "with Yes or No" in rules:
            return "Yes"
        for way in ("decompose", "prefix", "suffix"):
            if way in rules:
                return _rewrite(instruction, way, rng)
        return "I do not understand what I should do with this instruction."

    def _classify(self, instruction: str, rng: random.Random, may_keep: bool) -> str:
        chain = read_instruction(instruction)
        options = [way for way in ("decompose", "prefix", "suffix") if chain and _extended(chain, way)]
        if not options or (may_keep and rng.random() >= self.settings.grow):
            return "Any change would spoil this instruction, so it is kept.\nSo the option is: D."
        # What can be decomposed is decomposed: its two halves are better evidence than a task from elsewhere.
        way = "decompose" if "decompose" in options else rng.choice(options)
        reasons = {
            "decompose": ("The instruction hides two steps whose results are both worth seeing.", "A"),
            "prefix": ("A task before it gives a result of its own.", "B"),
            "suffix": ("A task after it gives a result of its own.", "C"),
        }
        reason, option = reasons[way]
        return f"{reason}\nSo the option is: {option}."


def _extended(chain: tuple[str, ...], way: str) -> list[tuple[str, ...]]:
    """The chains that an instruction can be rewritten into that way, without what training may not show."""
    if way == "decompose":
        longer = [chain[:i] + TASKS[name].parts + chain[i + 1 :] for i, name in enumerate(chain) if TASKS[name].parts]
    elif way == "prefix":
        longer = [(name, *chain) for name in SIMPLE]
    else:
        longer = [(*chain, name) for name in SIMPLE]
    return [candidate for candidate in longer if may_train(candidate)]


def _rewrite(instruction: str, way: str, rng: random.Random) -> str:
    chain = read_instruction(instruction)
    choices = _extended(chain, way) if chain else []
    if not choices:
        return f"Nothing fits here.\n#New Instruction#: {instruction}###"
    new = rng.choice(choices)
    old = dict(zip(chain, phrases_of(instruction), strict=True))
    phrases = [old.get(name) or rng.choice(TASKS[name].phrasings) for name in new]
    return f"The tasks follow each other well.\n#New Instruction#: {write_instruction(phrases)}###"


def _respond(asked: str) -> str:
    instruction, _, words = asked.partition("\n")
    if read_instruction(instruction) is None:  # the list may stand above
        words, _, instruction = asked.strip().rpartition("\n")
    answers = solve(instruction, words.split()) if words.strip() else None
    return _UNKNOWN if answers is None else "\n".join(answers)


def _extract(asked: str) -> str:
    """The instruction is what ends with a full stop; the words around it are its input."""
    text = asked.partition("#Text#:")[2].rpartition("\n")[0].strip()
    found = re.search(r"[A-Z][^.\n]*\.", text)
    given_input = (text[: found.start()] + text[found.end() :]).strip() if found else ""
    instruction = found[0] if found else text
    return f"#Instruction#: {instruction}\n#Input#: {given_input or 'none'}###"


def _count(asked: str) -> str:
    """The tasks of an instruction of the world; of another, the sentences."""
    text = asked.partition("#Text to count in#:")[2].strip()
    instruction = text.partition("\n")[0]
    chain = read_instruction(instruction) or [part for part in instruction.split(".") if part.strip()]
    tasks = [f"{place}. {task}" for place, task in enumerate(chain, start=1)]
    return "\n".join([*tasks, f"Number of tasks: {len(chain)}"])


def _section(text: str, name: str) -> str | None:
    """What stands behind `#name#:` up to the next section or line."""
    found = re.search(rf"#{name}#:(.*?)(?:\n|$)", text)
    return found[1].strip() if found else None


def _spoil(text: str, mood: random.Random) -> tuple[str, str]:
    """A badly written answer of the kinds that real generators give: empty, cut off, or without what was asked for."""
    marked = text.replace("So the option is:", "I lean to").replace("#New Instruction#:", "New:")
    kind = mood.randrange(3 if marked != text else 2)
    if kind == 0:
        return "", "stop"
    if kind == 1:
        return text[: len(text) // 2], "length"
    return marked, "stop"
