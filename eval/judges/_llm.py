"""A kind of judge that asks a language model: from items to verdicts in a journal, and from these to figures.

A kind (`seqeval.py`, `pairwise.py`) says what one request shows, and what its verdicts mean; everything else, from the
engine to the files, is here. Any engine of `open_instruct/engines` judges.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval import local_data, results
from eval.judges import _figures, _items
from eval.judges._items import Item
from eval.judges._prompt import Prompt, load
from eval.results import Metric
from open_instruct.core import checkpoint
from open_instruct.core.asking import AGAIN, BadAnswer, Step, ask
from open_instruct.core.errors import UserError
from open_instruct.core.journal import Journal
from open_instruct.core.progress import Prices
from open_instruct.core.prompt_file import within_tags
from open_instruct.core.records import encode_json, read_rows
from open_instruct.engines import check_options, identity, names, open_engine
from open_instruct.engines.base import Message, Sampling

_TAGS = ("instruction", "response", "first_response", "second_response", "question", "known_answers")  # of prompts
ATTEMPTS = 3  # of a request whose verdict cannot be read
Verdict = dict[str, Any]


@dataclass(frozen=True)
class Asking:
    """How a judge is asked.

    Attributes:
        engine, options: who judges.
        prompt: the prompt file's name; "" for the kind's own.
        prompts: folder of prompt files; "" for `eval/judges/prompts`.
        attempts: how often a request is asked before it counts as unreadable.
        seed: of the first attempt, which is greedy; each further one adds 1, and is drawn.
        prices: of the engine's tokens.
    """

    engine: str
    options: list[str] = field(default_factory=list)
    prompt: str = ""
    prompts: str = ""
    attempts: int = ATTEMPTS
    seed: int = 0
    prices: Prices = Prices()


@dataclass(frozen=True)
class Outcome:
    """What the verdicts on all items say.

    Attributes:
        figures: of the benchmark, the leading one first.
        items: the metrics of each item.
        verdicts: what a reader is shown of each item: fields of its line in verdicts.jsonl.
        facts: counts, for metrics.json.
    """

    figures: dict[str, Metric]
    items: list[dict[str, float]]
    verdicts: list[Verdict]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of judge.

    Attributes:
        name: of its file, of its prompt file and of `Request.step`.
        title, about: of the results, where stored outputs are judged.
        shown: what fills the prompt's question, a dictionary for each request about an item.
        outcome: what the verdicts mean: for each item the verdicts on it, in the order of `shown`; in the place of one
            that cannot be read, the reason.
        compares: whether a reference model's answers are needed.
        usual_reference: the file of the data folder that is taken where no reference is named; "" where one must be.
        verdicts: which verdicts a prompt of this kind may ask for (names of `_verdicts.READERS`); () for any.
    """

    name: str
    title: str
    about: str
    shown: Callable[[Item], list[dict[str, str]]]
    outcome: Callable[[list[Item], list[list[Verdict | str]]], Outcome]
    compares: bool = False
    usual_reference: str = ""
    verdicts: tuple[str, ...] = ()

    def check(self, engine: str, options: list[str], reference: str) -> None:
        """See `eval.judges.check`."""
        if not engine:
            raise UserError(f"no judge is named for the kind {self.name}; engines that can judge: {', '.join(names())}")
        check_options(engine, options)
        self.prompt(Asking(engine))
        if self.compares:
            self.reference(reference)
        path = next((option.partition("=")[2] for option in options if option.startswith("path=")), None)
        if path is not None:  # a model of our own: loaded when it is needed, and not for a look
            checkpoint.check(Path(path))
        else:
            open_engine(engine, options).close()

    def reference(self, named: str) -> Path:
        """The file or folder of the reference's answers.

        Raises:
            UserError: none is named where one must be, or it is not there.
        """
        if not named and not self.usual_reference:
            raise UserError(f"the judge {self.name} compares with a reference model: name its answers (docs/judges.md)")
        path = Path(named) if named else local_data.folder() / self.usual_reference
        if not path.exists():
            raise UserError(f"{path}: no such file or folder of a reference model's answers")
        return path

    def prompt(self, asking: Asking) -> Any:
        """The prompt to ask with.

        Raises:
            UserError: it is not there, or its verdict is not one of this kind.
        """
        found = load(asking.prompt or self.name, asking.prompts)
        if self.verdicts and found.verdict not in self.verdicts:
            raise UserError(
                f"the prompt {asking.prompt or self.name} asks for the verdict {found.verdict}; the judge {self.name} "
                f"needs {' or '.join(self.verdicts)}"
            )
        return found

    def judge(self, folder: Path, engine: str, options: list[str], reference: str) -> None:
        """See `eval.judges.judge`."""
        self.check(engine, options, reference)
        items = _items.read(folder / results.PREDICTIONS_FILE)
        if self.compares:
            items = self.compared(items, reference, _figures.read_metrics(folder)["benchmark"])
        self.judge_items(items, folder, Asking(engine, options))

    def compared(self, items: list[Item], reference: str, benchmark: str, *fields: str) -> list[Item]:
        """The items with the reference's answers; `fields` are those of `_items.read`."""
        file = _items.reference_file(self.reference(reference), benchmark)
        return _items.with_reference(items, _items.read(file, *fields), str(file))

    def judge_items(self, items: list[Item], folder: Path, asking: Asking) -> dict[str, Any]:
        """Judge `items`, which are the predictions in `folder`; what is journaled is not asked again.

        Returns:
            Counts and costs, as they stand in metrics.json under "judges".
        """
        prompt = self.prompt(asking)
        requests = list(self._requests(items))
        about = {"input": _items.digest(items), "prompt": prompt.digest}
        asked = collect(_Step(self.name, prompt), requests, prompt.max_tokens, folder, asking, about)
        each = len(requests) // len(items)
        verdicts = [_read(prompt, answer) for answer in asked.answers]
        outcome = self.outcome(items, [verdicts[at : at + each] for at in range(0, len(verdicts), each)])
        name = f"{asking.prompt or self.name} {prompt.digest}"
        facts = {**outcome.facts, **asked.facts(asking, name, sum(isinstance(one, str) for one in verdicts))}
        if self.compares:
            facts["reference"] = _items.reference_digest(items)
        lines = [{"id": item.id, **said} for item, said in zip(items, outcome.verdicts, strict=True)]
        _figures.join(folder, self.name, outcome.figures, outcome.items, lines, facts)
        return facts

    def _requests(self, items: list[Item]) -> Iterator[dict[str, str]]:
        for item in items:
            for shown in self.shown(item):
                yield {name: within_tags(text, _TAGS) for name, text in shown.items()}

    def plan(self, items: list[Item], asking: Asking) -> tuple[list[tuple[Message, ...]], int]:
        """What would be asked, were nothing asked before, and about how many tokens an answer has."""
        prompt = self.prompt(asking)
        return [
            prompt.messages(number, shown) for number, shown in enumerate(self._requests(items))
        ], prompt.answer_tokens()


@dataclass(frozen=True)
class Asked:
    """What a judge answered: what the journal holds of each request, the journal's file, and who judged."""

    answers: list[dict[str, Any]]
    journal: Path
    judge: dict[str, str]

    def facts(self, asking: Asking, prompt: str, unreadable: int) -> dict[str, Any]:
        """What was asked, and what it cost, for metrics.json."""
        tokens_in, tokens_out = (sum(answer["tokens"][place] for answer in self.answers) for place in (0, 1))
        return {
            "engine": self.judge,
            "prompt": prompt,
            "requests": len(self.answers),
            "unreadable_requests": unreadable,
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "cost": round(asking.prices.cost(tokens_in, tokens_out), 4) if asking.prices else None,
            "journal": self.journal.name,
        }


def collect(
    step: Step, requests: list[Any], max_tokens: int, folder: Path, asking: Asking, about: dict[str, Any]
) -> Asked:
    """Ask the judge about every request that its journal does not hold yet.

    The journal's name says what it depends on: verdicts on other answers, or of another judge, stay beside it. What an
    earlier journal of the same judge and prompt holds of equal requests (of a run with `--limit`) is taken over.

    Args:
        step: how a request is shown, and how its answer is read.
        max_tokens: of the longest answer.
        folder: where the journal lies.
        about: what the verdicts depend on beside the judge: the items, and the prompt.

    Raises:
        UserError: the engine cannot be opened or fails for all, or nothing that the judge wrote can be read.
    """
    judge = identity(asking.engine, asking.options)
    about = {"step": step.name, **about, "engine": judge, "seed": asking.seed}
    digest = hashlib.sha256(encode_json(about)).hexdigest()[:12]
    with Journal(folder / f"judge-{step.name}-{digest}.journal.jsonl", about) as journal:
        if len(journal) < len(requests):
            known = _answered_before(folder, about)
            for number, request in enumerate(requests):
                if number not in journal and (value := known.get(request_digest(request))):
                    journal.add(number, value)
        if len(journal) < len(requests):
            engine = open_engine(asking.engine, asking.options)
            try:
                ask(
                    step,
                    lambda: enumerate(requests),
                    len(requests),
                    journal,
                    engine,
                    Sampling(max_tokens=max_tokens, seed=asking.seed),
                    asking.attempts,
                    step.name,
                    asking.prices,
                    again=AGAIN,
                )
            finally:
                engine.close()
        answers = [journal.get(number) for number in range(len(requests))]
        path = Path(journal.path)
    _refuse_silence(answers, step.name, path)
    return Asked(answers, path, judge)


def request_digest(request: Any) -> str:
    """Names what a request shows, so that its answer is known again among other requests."""
    return hashlib.sha256(encode_json(request)).hexdigest()[:16]


def _answered_before(folder: Path, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The readable answers of this judge to other sets of requests, by the digest of the request."""
    found: dict[str, dict[str, Any]] = {}
    same = {name: value for name, value in about.items() if name != "input"}
    for path in sorted(folder.glob(f"judge-{about['step']}-*.journal.jsonl")):
        with suppress(UserError, KeyError, TypeError):  # a torn last line, of a run that was killed: the rest counts
            for _, line in read_rows(path):
                if "journal" in line and {n: value for n, value in line["about"].items() if n != "input"} != same:
                    break
                if "row" in line and "asked" in line["value"]:
                    found[line["value"]["asked"]] = line["value"]
    return found


@dataclass(frozen=True)
class _Step:
    """See `open_instruct.core.asking.Step`. A journal keeps what the judge wrote: it is read again for each report."""

    name: str
    prompt: Prompt

    def messages(self, number: int, row: dict[str, str]) -> tuple[Message, ...]:
        return self.prompt.messages(number, row)

    def read(self, row: dict[str, str], text: str) -> dict[str, Any]:
        self.prompt.read(text)
        return {"text": text, "asked": request_digest(row)}


def shown_text(text: str) -> str:
    """A response as a judge sees it: an empty one says so."""
    return text if text.strip() else "(the response is empty)"


def _read(prompt: Prompt, answer: dict[str, Any]) -> Verdict | str:
    """The verdict, or why there is none."""
    if "failed" in answer:
        return answer["failed"]
    try:
        return prompt.read(answer["text"])
    except BadAnswer as reason:  # the reader has become stricter since
        return str(reason)


def _refuse_silence(answers: list[dict[str, Any]], kind: str, path: Path) -> None:
    """A judge of whom nothing can be read gives no figures: the settings are wrong, and not the answers."""
    reasons = [answer["failed"] for answer in answers if "failed" in answer]
    if len(reasons) == len(answers):
        first = reasons[0].partition("\n")[0]
        raise UserError(
            f"{path}: none of the {len(answers):,} verdicts of the judge {kind} can be read, the first because: "
            f"{first}. Mend the engine or the prompt, and delete the file to ask again"
        )
