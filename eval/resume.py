"""Finished requests survive a kill: a model of lm-evaluation-harness that keeps a journal of its answers.

Called by `eval.run`, one journal a benchmark. lm-evaluation-harness's own cache (`use_cache`) does not serve here: it
does not know which model its answers are of, and it never keeps sampled ones.
"""

import hashlib
import json
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.backends.window import Cut, fit
from open_instruct.core.journal import Journal


class ResumableModel:
    """Wraps a model; everything but its three ways of answering is passed on to it.

    Args:
        model: lm_eval's LM.
        depends_on: what the answers depend on beside the requests themselves (checkpoint, number format, seed).
    """

    def __init__(self, model: Any, depends_on: dict[str, Any]) -> None:
        self._model = model
        self._depends_on = depends_on
        self._folder = Path()
        self._title = ""
        self.cut = Cut()  # what did not fit the model's window, since `begin`
        self.seconds = 0.0  # that the model took, since `begin`

    def begin(self, folder: Path, title: str, chat: bool = True) -> None:
        """Keep the answers from here on in journals in `folder`.

        Args:
            title: stands before the progress bar.
            chat: whether a chat template makes the prompts, which then hold every special token that belongs there.
        """
        self._folder = folder
        self._title = title
        self._model.add_bos_token = False if chat else None  # None: as the tokenizer does by itself
        self.cut = Cut()
        self.seconds = 0.0

    def close(self) -> None:
        """Give the model's memory and processes back."""
        if hasattr(self._model, "close"):
            self._model.close()
        self._model = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate_until(self, requests: list[Any]) -> list[str]:
        return self._answer("generate_until", requests)

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        return [tuple(answer) for answer in self._answer("loglikelihood", requests)]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        return self._answer("loglikelihood_rolling", requests)

    def _answer(self, kind: str, requests: list[Any]) -> list[Any]:
        """The model's answers to all requests, in their order; only those that are not in the journal are asked."""
        from tqdm import tqdm  # here, so that `eval.run` can first set what tqdm reads on import

        requests, cut = fit(self._model, kind, requests)
        self.cut += cut
        with self._journal(kind, requests) as journal:
            answers = {row: journal.get(row) for row in journal.rows()}
            missing = [row for row in range(len(requests)) if row not in answers]
            with tqdm(
                total=len(requests), initial=len(answers), desc=self._title, unit="item", mininterval=0.5, disable=False
            ) as progress:

                def keep(row: int, answer: Any) -> None:
                    answers[row] = answer
                    if _fits_json(answer):
                        journal.add(row, answer)
                    progress.update(1)

                if missing:
                    began = time.monotonic()
                    self._ask(kind, requests, missing, keep)
                    self.seconds += time.monotonic() - began
        return [answers[row] for row in range(len(requests))]

    def _ask(self, kind: str, requests: list[Any], missing: list[int], keep: Callable[[int, Any], None]) -> None:
        """Put the missing requests to the model; `keep` gets each answer with its row, once."""
        asked = [requests[row] for row in missing]
        if hasattr(self._model, "answers"):
            draws = draws_of(requests)
            for place, answer in self._model.answers(kind, asked, [draws[row] for row in missing]):
                keep(missing[place], answer)
            return
        if len(missing) < len(requests):
            self._seed_anew(len(requests) - len(missing))
        kept: set[int] = set()

        def keep_once(row: int, answer: Any) -> None:
            kept.add(row)
            keep(row, answer)

        self._model.set_cache_hook(_Hook(kind, asked, missing, keep_once))
        found = getattr(self._model, kind)(asked, disable_tqdm=True)
        for row, answer in zip(missing, found, strict=True):
            if row not in kept:  # a model need not call its hook
                keep(row, answer)

    def _seed_anew(self, done: int) -> None:
        """A run that goes on, with `done` answers there: from the first seed it would draw the same ones once more.

        So many draws of one prompt would hold each twice, which pass@k takes for different ones.
        """
        import torch  # a model that draws has loaded it

        torch.manual_seed(int(_digest([self._depends_on, done])[:8], 16))

    def _journal(self, kind: str, requests: list[Any]) -> Journal:
        """The journal of these very requests to this very model; one of others is stale and goes."""
        about = {**self._depends_on, "kind": kind, "requests": _digest([request.args for request in requests])}
        path = self._folder / f"{kind}-{_digest(about)[:16]}.journal"
        for other in self._folder.glob(f"{kind}-*.journal"):
            if other != path:
                other.unlink()
        return Journal(path, about)


class _Hook:
    """What lm_eval's models call after each batch, with each request's arguments and answer."""

    def __init__(self, kind: str, requests: list[Any], rows: list[int], keep: Callable[[int, Any], None]) -> None:
        self._kind = kind
        self._keep = keep
        self._rows: dict[str, deque[int]] = defaultdict(deque)  # equal requests (n samples of one prompt) take turns
        for row, request in zip(rows, requests, strict=True):
            self._rows[_digest(request.args)].append(row)

    def add_partial(self, kind: str, arguments: Any, answer: Any) -> None:
        rows = self._rows.get(_digest(arguments))
        if kind == self._kind and rows:
            self._keep(rows.popleft(), answer)


def draws_of(requests: list[Any]) -> list[int]:
    """How often the same request stood before each: several answers to one prompt are different draws."""
    seen: dict[str, int] = {}
    draws = []
    for request in requests:
        name = _digest(request.args)
        draws.append(seen.get(name, 0))
        seen[name] = draws[-1] + 1
    return draws


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _fits_json(answer: Any) -> bool:
    """Whether the answer can be kept: the likelihood of a broken model is NaN, which is worked out again instead."""
    parts = answer if isinstance(answer, list | tuple) else [answer]
    return all(not isinstance(part, float) or math.isfinite(part) for part in parts)
