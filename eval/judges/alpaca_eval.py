"""AlpacaEval through the `alpaca_eval` package, with any engine as judge, in place of the package's own clients.

Prompt, order of the two responses, parsing and win rate are the package's. `--prompt` names one of its annotators that
answers in plain text (by default `alpaca_eval_gpt4`, AlpacaEval 1's); those that read token probabilities or call
functions cannot be judged by every engine, and are refused. The length-controlled win rate needs files from a model hub
and is left out.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tqdm import tqdm

from eval.benchmarks import MetricInfo
from eval.judges import _figures, _items
from eval.judges._items import Item
from eval.judges._llm import Asking, Kind, Outcome, Verdict, collect, request_digest, shown_text
from open_instruct.core.asking import BadAnswer
from open_instruct.core.errors import UserError
from open_instruct.engines import identity
from open_instruct.engines.base import Message

ANNOTATOR = "alpaca_eval_gpt4"
_INFOS = [
    MetricInfo(
        name="win_rate_alpaca",
        title="Win rate by AlpacaEval",
        about="the judge prefers the response to the reference model's; a draw is one half",
    ),
    MetricInfo("characters", about="length of a response, which judges like", unit="count"),
    _figures.UNREADABLE,
]


@dataclass(frozen=True)
class _AlpacaEval(Kind):
    """See `eval.judges._llm.Kind`; the package makes the prompts, all at once."""

    def prompt(self, asking: Asking) -> Any:
        """See `Kind.prompt`; here it is one of the package's annotators."""
        return _annotator(asking.prompt or ANNOTATOR)

    def judge_items(self, items: list[Item], folder: Path, asking: Asking) -> dict[str, Any]:
        """See `Kind.judge_items`."""
        name = asking.prompt or ANNOTATOR
        max_tokens = _max_tokens(name)
        asked = []

        def complete(prompts: list[str], **_settings: Any) -> dict[str, list[Any]]:
            about = {"input": _items.digest(items), "prompt": name, "alpaca_eval": _package().__version__}
            step = _Step(self.name, _annotator(name).fn_completion_parser)
            asked.append(collect(step, prompts, max_tokens, folder, asking, about))
            texts = [answer.get("text", "") for answer in asked[0].answers]
            return {
                "completions": texts,
                "price_per_example": [0.0] * len(texts),
                "time_per_example": [0.0] * len(texts),
            }

        preferences = _preferences(name, items, complete)
        outcome = _outcome(items, preferences)
        unreadable = sum("failed" in answer for answer in asked[0].answers) if asked else 0
        facts = {**outcome.facts, **(asked[0].facts(asking, name, unreadable) if asked else _nothing_asked(asking))}
        facts["reference"] = _items.reference_digest(items)
        lines = [{"id": item.id, **said} for item, said in zip(items, outcome.verdicts, strict=True)]
        _figures.join(folder, self.name, outcome.figures, outcome.items, lines, facts)
        return facts

    def plan(self, items: list[Item], asking: Asking) -> tuple[list[tuple[Message, ...]], int]:
        """See `Kind.plan`."""
        name = asking.prompt or ANNOTATOR
        found: list[str] = []

        class Planned(Exception):
            pass

        def complete(prompts: list[str], **_settings: Any) -> dict[str, list[Any]]:
            found.extend(prompts)
            raise Planned

        with suppress(Planned):
            _preferences(name, items, complete)
        return [_messages(prompt) for prompt in found], _max_tokens(name)


def _nothing_asked(asking: Asking) -> dict[str, Any]:
    """Where every response equals the reference's."""
    judge = identity(asking.engine, asking.options)
    return {"engine": judge, "requests": 0, "unreadable_requests": 0, "tokens_in": 0, "tokens_out": 0, "cost": None}


@dataclass(frozen=True)
class _Step:
    """See `open_instruct.core.asking.Step`; a row is one of the package's prompts."""

    name: str
    parse: Any

    def messages(self, number: int, row: str) -> tuple[Message, ...]:
        return _messages(row)

    def read(self, row: str, text: str) -> dict[str, Any]:
        try:
            with _quiet():
                found = list(self.parse(text))
        except Exception as error:  # the package's parsers raise anything
            raise BadAnswer("the verdict is not of the annotator's form") from error
        if len(found) != 1 or found[0] not in (0, 1, 1.5, 2):
            raise BadAnswer("the verdict is not of the annotator's form")
        return {"text": text, "asked": request_digest(row)}


def _preferences(name: str, items: list[Item], complete: Any) -> list[float | None]:
    """What the package makes of a judge's answers: for each item 0 (the reference) to 1 (ours), None without one."""
    package = _package()
    with _quiet():
        annotator = package.annotators.PairwiseAnnotator(annotators_config=name, caching_path=None)
    (single,) = annotator.annotators.values()
    single.fn_completions = complete
    rows = [
        {
            "item": place,
            "instruction": item.question,
            "output_1": shown_text(item.reference),
            "output_2": shown_text(item.response),
        }
        for place, item in enumerate(items)
    ]
    found: dict[tuple[str, str, str], float] = {}
    with _quiet():
        annotated = annotator.annotate_pairs(rows, chunksize=None)  # all at once: our journal keeps what is done
    for one in annotated:
        preference = one["preference"]
        if preference is not None and preference == preference:
            key = (one["instruction"], one["output_1"], one["output_2"])
            found[key] = 0.5 if preference == 0 else float(preference) - 1
    return [found.get((row["instruction"], row["output_1"], row["output_2"])) for row in rows]


def _outcome(items: list[Item], preferences: Iterable[float | None]) -> Outcome:
    preferences = list(preferences)
    metrics = [
        {"judge_unreadable": 1.0}
        if preference is None
        else {"win_rate_alpaca": preference, "characters": float(len(item.response)), "judge_unreadable": 0.0}
        for item, preference in zip(items, preferences, strict=True)
    ]
    lines: list[Verdict] = [
        {"unreadable": "the package finds no verdict"} if one is None else {"preference": one} for one in preferences
    ]
    readable = [one for one in preferences if one is not None]
    figures = _figures.figures(_INFOS, metrics)
    facts = {
        "win": sum(one > 0.5 for one in readable),
        "tie": sum(one == 0.5 for one in readable),
        "lose": sum(one < 0.5 for one in readable),
        "unreadable": len(preferences) - len(readable),
        "n": len(readable),
        "items": len(preferences),
    }
    return Outcome(figures, metrics, lines, facts)


@cache
def _package() -> Any:
    """The package; imported here alone, as it takes seconds."""
    try:
        import alpaca_eval
        import alpaca_eval.annotators
        import alpaca_eval.utils
    except ImportError as error:
        raise UserError(
            f"the package alpaca_eval is missing ({error}): pip install -r requirements.txt in this environment"
        ) from error
    # Its bar would count one chunk, across our own line.
    alpaca_eval.utils.tqdm = SimpleNamespace(tqdm=partial(tqdm, disable=True))
    return alpaca_eval


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the package's log, which shows each answer that cannot be read with a traceback."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@cache
def _annotator(name: str) -> Any:
    """One of the package's annotators.

    Raises:
        UserError: there is none of that name, or its judge must do more than write text.
    """
    package = _package()
    folder = Path(package.__file__).parent / "evaluators_configs"
    if not (folder / name / "configs.yaml").is_file():
        raise UserError(f"alpaca_eval has no annotator named {name!r}; it has those of the folders in {folder}")
    with _quiet():
        annotator = package.annotators.PairwiseAnnotator(annotators_config=name, caching_path=None)
    (single,) = annotator.annotators.values()
    needs = sorted({"logprobs", "top_logprobs", "tools", "functions", "function_call"} & set(single.completions_kwargs))
    if needs or single.batch_size != 1 or single.completion_key != "completions":
        raise UserError(
            f"alpaca_eval's annotator {name} needs more of its judge than text ({', '.join(needs) or 'batches'}); take "
            f"one that reads text, such as {ANNOTATOR}"
        )
    return single


def _max_tokens(name: str) -> int:
    return int(_annotator(name).completions_kwargs.get("max_tokens", 300))


def _messages(prompt: str) -> tuple[Message, ...]:
    """The package's prompt as messages; it marks their roles in ChatML."""
    from alpaca_eval.utils import prompt_to_chatml

    return tuple({"role": one["role"], "content": one["content"]} for one in prompt_to_chatml(prompt.strip()))


KIND = _AlpacaEval(
    name="alpaca_eval",
    title="AlpacaEval",
    about="everyday instructions; a judge compares each response with the reference model's",
    shown=lambda item: [],
    outcome=lambda items, verdicts: Outcome({}, [], [], {}),
    compares=True,
    usual_reference="alpaca_eval/text_davinci_003.json",
)
check, judge = KIND.check, KIND.judge
