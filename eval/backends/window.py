"""Prompts and answers beyond the model's window: made to fit in one way for all backends, and counted.

A prompt loses its beginning until the longest answer that its task allows has room, as in lm-evaluation-harness; an
answer may be no longer than half the window. How many prompts that were stands in metrics.json.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

SPARE = (
    2  # tokens of the window left free: vLLM scores a text only where one more token has room, transformers needs none
)


@dataclass(frozen=True)
class Cut:
    """What did not fit.

    Attributes:
        prompts: those that lost their beginning.
        of: prompts there were.
        window: tokens that prompt and answer may have together.
        answer_tokens: the longest answer allowed, where the task asked for a longer one; else 0.
    """

    prompts: int = 0
    of: int = 0
    window: int = 0
    answer_tokens: int = 0

    def __add__(self, other: "Cut") -> "Cut":
        tokens = [one.answer_tokens for one in (self, other) if one.answer_tokens]
        return Cut(
            self.prompts + other.prompts, self.of + other.of, max(self.window, other.window), min(tokens, default=0)
        )

    @property
    def any(self) -> bool:
        """Whether something did not fit."""
        return bool(self.prompts or self.answer_tokens)


def told(cuts: dict[str, Cut]) -> str:
    """For the person who reads the figures: what did not fit in which benchmark; "" where all did."""
    window = max((cut.window for cut in cuts.values()), default=0)
    prompts = [f"{title} ({cut.prompts:,} of {cut.of:,})" for title, cut in cuts.items() if cut.prompts]
    answers: dict[int, list[str]] = {}
    for title, cut in cuts.items():
        if cut.answer_tokens:
            answers.setdefault(cut.answer_tokens, []).append(title)
    lines = [f"Prompts lost their beginning, the model's window is {window:,} tokens: {', '.join(prompts)}"]
    lines = lines if prompts else []
    for tokens, titles in answers.items():
        lines.append(f"Answers got at most {tokens:,} tokens, fewer than the task allows: {', '.join(titles)}")
    return "\n".join(textwrap.fill(line, 80) for line in lines)


@dataclass(frozen=True)
class Fitted:
    """A request whose answer may be only so long; `args` as in lm_eval's `Instance`."""

    args: tuple[Any, ...]


def fit(model: Any, kind: str, requests: list[Any]) -> tuple[list[Any], Cut]:
    """The requests, with no answer longer than half the window, and what did not fit.

    Args:
        model: has `max_length` (tokens; None where nobody knows) and `tok_encode`.
        kind: "generate_until", "loglikelihood" or "loglikelihood_rolling" (which is read in windows, never cut).
        requests: lm_eval's; `args` is (prompt, settings of generation) or (prompt, answer).
    """
    window = getattr(model, "max_length", None)
    if not window or kind == "loglikelihood_rolling":
        return requests, Cut()
    cut = Cut(of=len(requests), window=window)
    if kind == "loglikelihood":
        return requests, replace(cut, prompts=_longer(model, (("".join(one.args), window + 1) for one in requests)))
    fitted, lowered = [], 0
    for one in requests:
        prompt, settings = one.args
        name, wanted = longest_answer(settings, model)
        if wanted > (window + SPARE) // 2:
            lowered = (window + SPARE) // 2
            one = Fitted((prompt, {**settings, name: lowered}))
        fitted.append(one)
    lengths = ((one.args[0], window - longest_answer(one.args[1], model)[1]) for one in fitted)
    return fitted, replace(cut, prompts=_longer(model, lengths), answer_tokens=lowered)


def longest_answer(settings: dict[str, Any], model: Any) -> tuple[str, int]:
    """Under which name the settings of a generation hold the longest answer, and how many tokens that is."""
    name = next((name for name in _NAMES if settings.get(name) is not None), _NAMES[0])
    return name, int(settings.get(name) or getattr(model, "max_gen_toks", 256))


def _longer(model: Any, texts: Iterable[tuple[str, int]]) -> int:
    """How many of the texts have more tokens than they may have. A token is at least a byte: most need no counting."""
    return sum(
        len(text.encode(errors="replace")) >= most and len(model.tok_encode(text)) > most for text, most in texts
    )


_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")  # in lm_eval's order
