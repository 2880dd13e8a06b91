"""TruthfulQA: is what a response says true, and does it tell anything? Figures: both, truthful, informative.

Two kinds of judges:

- any engine, which gives both verdicts at once; its prompt is `prompts/truthfulness.yaml`, and it is shown the answers
  that TruthfulQA knows to be true and false;
- two local models that were tuned for this and see question and response alone (`_yes_no.py`), as published:

      --judge_options truthfulness.truth=FOLDER truthfulness.info=FOLDER

As in Tulu v1, "A:" in front of a response is taken off, and so is a further question ("Q:") with all that follows.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eval.benchmarks import MetricInfo
from eval.judges import _figures, _items, _yes_no
from eval.judges._items import Item
from eval.judges._llm import Asking, Kind, Outcome, Verdict, shown_text
from open_instruct.engines.base import Message

INSTEAD_OF_ENGINE = ("truth", "info")  # options that name judges, so that no engine is needed
_CUES = {"truth": "True:", "info": "Helpful:"}  # what the published judges answer with yes or no
_INFOS = [
    MetricInfo(
        "truthful_informative",
        title="True and informative",
        about="the judge finds nothing false in the response, and finds that it tells something",
    ),
    MetricInfo("truthful", title="True", about="the judge finds nothing false in the response"),
    MetricInfo("informative", title="Informative", about="the judge finds that the response tells something"),
    _figures.UNREADABLE,
]
_NEXT_QUESTION = re.compile(r"\bQ:")


@dataclass(frozen=True)
class _Truthfulness(Kind):
    """See `eval.judges._llm.Kind`; two models may judge in the place of an engine."""

    def check(self, engine: str, options: list[str], reference: str) -> None:
        """See `Kind.check`."""
        if _are_models(options):
            _yes_no.judges(self.name, options, _CUES)
        else:
            super().check(engine, options, reference)

    def judge_items(self, items: list[Item], folder: Path, asking: Asking) -> dict[str, Any]:
        """See `Kind.judge_items`."""
        items = [_with_known(item) for item in items]
        if not _are_models(asking.options):
            return super().judge_items(items, folder, asking)
        judges = _yes_no.judges(self.name, asking.options, _CUES)
        asked = _yes_no.ask(self.name, judges, _pairs(items), folder, _items.digest(items))
        outcome = _outcome(items, [[_joined(*both)] for both in zip(*asked.verdicts, strict=True)])
        facts = {**outcome.facts, **asked.facts}
        lines = [{"id": item.id, **said} for item, said in zip(items, outcome.verdicts, strict=True)]
        _figures.join(folder, self.name, outcome.figures, outcome.items, lines, facts)
        return facts

    def plan(self, items: list[Item], asking: Asking) -> tuple[list[tuple[Message, ...]], int]:
        """See `Kind.plan`."""
        items = [_with_known(item) for item in items]
        if not _are_models(asking.options):
            return super().plan(items, asking)
        prompts = [_yes_no.prompt(*pair, cue) for cue in _CUES.values() for pair in _pairs(items)]
        return [({"role": "user", "content": prompt},) for prompt in prompts], 1


def _are_models(options: list[str]) -> bool:
    return any(option.startswith(tuple(f"{name}=" for name in INSTEAD_OF_ENGINE)) for option in options)


def _with_known(item: Item) -> Item:
    """The item with the known answers as its reference, which verdicts then depend on, and the answer alone."""
    return replace(item, response=_answer(item.response), reference=str(item.row.get("target") or ""))


def _answer(response: str) -> str:
    answer = response.strip().removeprefix("A:")
    return _NEXT_QUESTION.split(answer)[0].strip()


def _pairs(items: list[Item]) -> list[tuple[str, str]]:
    return [(item.question.strip(), item.response) for item in items]


def _shown(item: Item) -> list[dict[str, str]]:
    known = item.reference or "(none are given)"
    return [{"question": item.question, "known": known, "response": shown_text(item.response)}]


def _joined(truth: bool | str, info: bool | str) -> Verdict | str:
    """The verdict of both models; in its place the reason where one of them gave none."""
    reasons = [one for one in (truth, info) if isinstance(one, str)]
    return "; ".join(reasons) if reasons else {"truthful": truth, "informative": info}


def _outcome(items: list[Item], verdicts: list[list[Verdict | str]]) -> Outcome:
    said = [one for (one,) in verdicts]
    metrics = [_metrics(one) for one in said]
    unreadable = sum(isinstance(one, str) for one in said)
    return Outcome(
        figures=_figures.figures(_INFOS, metrics),
        items=metrics,
        verdicts=[{"unreadable": one} if isinstance(one, str) else one for one in said],
        facts={"n": len(said) - unreadable, "unreadable": unreadable},
    )


def _metrics(verdict: Verdict | str) -> dict[str, float]:
    if isinstance(verdict, str):
        return {"judge_unreadable": 1.0}
    truthful, informative = verdict["truthful"], verdict["informative"]
    return {
        "truthful_informative": float(truthful and informative),
        "truthful": float(truthful),
        "informative": float(informative),
        "judge_unreadable": 0.0,
    }


KIND = _Truthfulness(
    name="truthfulness",
    title="TruthfulQA",
    about="questions that many people answer wrongly; a judge says which answers are true and informative",
    shown=_shown,
    outcome=_outcome,
    verdicts=("truthful_informative",),
)
check, judge = KIND.check, KIND.judge
