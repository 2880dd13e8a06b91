"""The contract of every engine: a stream of requests goes in, completions come out in the order they finish.

A new engine is one file in this folder with a dataclass `Settings` and a class `Engine(settings)` that has
`complete` and `close`; its file name is its name on the command line. Who asks must not know which engine answers.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": text}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn.

    Attributes:
        max_tokens: longest answer, in tokens of the engine's tokenizer.
        temperature: 0 is greedy.
        top_p: smallest set of tokens whose probability reaches this share; 1 keeps all.
        top_k: number of tokens kept; 0 keeps all.
        stop: texts that end the answer; they are not part of it.
        seed: makes a draw repeatable where the engine can.
    """

    max_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt.

    Attributes:
        key: the caller's (in stage 1: the row's number); it comes back with the answer.
        messages: the conversation so far; the last one is the user's.
        sampling: how the answer is drawn.
        step: what the answer is for ("classify", "rewrite", "refine", "respond_it", "respond_sit", ...); for progress
            lines and for `replay`, which has one stored answer a step. No other engine may look at it.
    """

    key: int
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    step: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.

    Attributes:
        key: the request's.
        text: the answer without its stop text; "" with `finish_reason="error"`.
        finish_reason: "stop" (the model ended), "length" (cut off at `max_tokens`), or "error" (no answer: see
            `error`).
        prompt_tokens, completion_tokens: as the engine's tokenizer counts; the oracle and replay count words.
        error: why there is no answer, for the person who reads `rejected.jsonl`.
    """

    key: int
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    error: str = ""


class Engine(Protocol):
    """What answers prompts. `complete` is called any number of times; `close` once, at the end.

    An engine that asks again by itself (a busy server, a dropped connection) counts these by kind in an attribute
    `troubles: Counter[str]`, for the progress line: {"429": 12, "timeout": 3}.
    """

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion a request, in the order they finish.

        `requests` may hold ten million prompts: an engine takes from it only what it can work on at once, and never
        waits for its end before it answers. A request that cannot be answered yields a completion with
        `finish_reason="error"`; only what stops every request (no such model, no key) is raised, as `UserError`.
        """
        ...

    def close(self) -> None:
        """Give back memory, processes and connections."""
        ...
