"""The live line of a step: rows done, tokens a second in and out, what went wrong, cost so far and in all, time left.

On a terminal two lines that stay in place; in a log (Slurm, a file) one whole line every `LOG_SECONDS`.
"""

import re
import sys
import time
from collections import Counter
from dataclasses import dataclass

from tqdm import tqdm

from open_instruct.engines.base import Completion

LOG_SECONDS = 30
_SCREEN_SECONDS = 0.5
_MOST_KINDS = 100  # of bad answers that are told apart


def kind_of(reason: str) -> str:
    """What of a reason is not about one row alone: its first line, without the row's own numbers."""
    return re.sub(r"\d[\d,.]*\b", "N", reason.partition("\n")[0])


@dataclass(frozen=True)
class Prices:
    """Of a million tokens, in the user's currency; 0 where nothing is to be paid."""

    per_million_in: float = 0.0
    per_million_out: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.per_million_in or self.per_million_out)

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        return (tokens_in * self.per_million_in + tokens_out * self.per_million_out) / 1e6


class Progress:
    """A context manager around a step.

    Args:
        label: of the step.
        total: rows of the step.
        done: rows that were done before, which cost nothing now.
        prices: of the engine's tokens.
        troubles: what the engine met and got over by itself, by kind; the engine goes on counting in it.

    Attributes:
        answers, tokens_in, tokens_out: of this process, bad answers too.
    """

    def __init__(self, label: str, total: int, done: int, prices: Prices, troubles: Counter[str]) -> None:
        self._label, self._total, self._done, self._prices = label, total, done, prices
        self._troubles, self._troubles_before = troubles, Counter(troubles)
        self._first = done
        self._bad: Counter[str] = Counter()
        self.answers = self.tokens_in = self.tokens_out = 0
        self._on_screen = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        self._start = self._shown = time.monotonic()
        if self._on_screen:
            self._bar = tqdm(
                total=self._total, initial=self._done, desc=self._label, unit=" rows", mininterval=_SCREEN_SECONDS
            )
            self._line = tqdm(total=0, position=1, bar_format="{desc}", leave=True)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._on_screen:
            self._line.set_description_str(self._figures())
            self._bar.close()
            self._line.close()
        elif self._done > self._first:
            print(self._log_line(), file=sys.stderr, flush=True)

    def answered(self, completion: Completion, bad: str = "") -> None:
        """A completion came; `bad` says why it cannot be used."""
        self.answers += 1
        self.tokens_in += completion.prompt_tokens
        self.tokens_out += completion.completion_tokens
        if bad:
            kind = kind_of(bad)
            self._bad[kind if kind in self._bad or len(self._bad) < _MOST_KINDS else "other"] += 1
        self._show()

    @property
    def seconds(self) -> float:
        """Since the step began."""
        return time.monotonic() - self._start

    def row_done(self) -> None:
        """A row has its result, or has been given up."""
        self._done += 1
        if self._on_screen:
            self._bar.update()

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown < (_SCREEN_SECONDS if self._on_screen else LOG_SECONDS):
            return
        self._shown = now
        if self._on_screen:
            self._line.set_description_str(self._figures())
        else:
            print(self._log_line(), file=sys.stderr, flush=True)

    def _log_line(self) -> str:
        seconds = self.seconds
        text = f"{self._label}: {self._done:,} of {self._total:,} rows, {duration(seconds)}"
        new = self._done - self._first
        if new and self._done < self._total:
            text += f", {duration(seconds / new * (self._total - self._done))} left"
        return f"{text}; {self._figures().strip()}"

    def _figures(self) -> str:
        seconds = max(self.seconds, 1e-9)
        parts = [
            f"  tokens/s {short(self.tokens_in / seconds)} in, {short(self.tokens_out / seconds)} out",
        ]
        if self._prices:
            cost, new = self._prices.cost(self.tokens_in, self.tokens_out), self._done - self._first
            projected = cost * (self._total - self._first) / new if new else 0.0
            parts.append(f"cost {cost:,.2f} of {projected:,.2f}")
        parts += [f"{kind} {count:,}" for kind, count in (self._troubles - self._troubles_before).most_common(3)]
        if self._bad:  # last: a terminal cuts off what does not fit
            kinds = "; ".join(f"{kind} {count:,}" for kind, count in self._bad.most_common(3))
            parts.append(f"bad answers {self._bad.total():,} ({kinds})")
        return ", ".join(parts)


def short(number: float) -> str:
    """A number in at most four signs: 950, 12k, 3.4M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            value = number / size
            return f"{value:.1f}{unit}" if value < 10 else f"{value:.0f}{unit}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s, 5 h 2 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600:,} h {seconds % 3600 // 60} min"
