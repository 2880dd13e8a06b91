"""One pass over the files that stage 1 wrote: everything the report and the dataset card tell about the rows.

Called by `facts.py`. Memory does not grow with the rows: what is kept of them are counters, lengths (as a count of each
length) and samples of a fixed size, drawn evenly with a fixed seed. Knows nothing of pages.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Generic, TypeVar

from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows
from self_seq.report.verbs import root_verb

PAIRS = 20
VERB_ROWS = 5_000  # so many give each share within 1.4 percent points (95 %); a million would take 20 minutes to tag
EXAMPLES = 3  # of each reason for a rejection
SEED = 0

_NO_LIMIT = 1 << 40  # the files are our own: a row of theirs is as long as it is
_LONGEST = 10_000  # words; longer texts are counted as so long in the histogram
_MOST_REASONS = 200  # an engine may put its own words into a reason; beyond so many they are counted together
_OTHER = "other reasons"
_VERB_TEXT = 400  # characters kept of an instruction for its verb; `root_verb` reads no more
_T = TypeVar("_T")


class Sample(Generic[_T]):
    """An even sample of a stream of unknown length (Vitter's algorithm R)."""

    def __init__(self, size: int) -> None:
        self.kept: list[_T] = []
        self.seen = 0
        self._size = size
        self._random = random.Random(SEED)

    def place(self) -> int | None:
        """Where the next of the stream belongs; None if it is not drawn. Ask before what would be kept is made."""
        self.seen += 1
        if len(self.kept) < self._size:
            return len(self.kept)
        place = self._random.randrange(self.seen)
        return place if place < self._size else None

    def put(self, place: int, one: _T) -> None:
        """Keep `one` where `place` said."""
        self.kept[place : place + 1] = [one]


@dataclass
class Lengths:
    """Of texts, in words between spaces."""

    counts: Counter[int] = field(default_factory=Counter)
    total: int = 0
    longest: int = 0

    @property
    def texts(self) -> int:
        return self.counts.total()

    @property
    def mean(self) -> float:
        return self.total / max(self.texts, 1)

    def add(self, text: str) -> None:
        words = len(text.split())
        self.counts[min(words, _LONGEST)] += 1
        self.total += words
        self.longest = max(self.longest, words)

    def quantile(self, share: float) -> int:
        """The length that `share` of the texts do not exceed."""
        reached = 0
        for words in sorted(self.counts):
            reached += self.counts[words]
            if reached >= share * self.texts:
                return words
        return 0


@dataclass(frozen=True)
class Pair:
    """One row before and after; `it_answer` is None where it.jsonl does not hold the row."""

    id: str
    options: list[str]
    before: str
    after: str
    input: str
    it_answer: str | None
    sit_answer: str


@dataclass
class Verbs:
    """Root verbs and their objects in a sample of instructions."""

    instructions: int = 0
    with_verb: int = 0
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, found: tuple[str, str | None] | None) -> None:
        self.instructions += 1
        if found:
            self.with_verb += 1
            if found[1]:
                self.pairs[found[0], found[1]] += 1


@dataclass
class Rejections:
    """Rows of rejected.jsonl that failed for one reason."""

    rows: int = 0
    dropped: int = 0
    examples: Sample[dict[str, Any]] = field(default_factory=lambda: Sample(EXAMPLES))


@dataclass
class Survey:
    """What the files hold.

    Attributes:
        sit_rows, it_rows: rows of the two training files; it_rows is None without an it.jsonl.
        rewritten: rows of sit.jsonl whose instruction is another than the original one.
        iterations: options chosen among the written rows, by iteration; a row at D counts as D ever after.
        original, sequential, it_answers, sit_answers: lengths.
        pairs: rows whose instruction was rewritten, drawn evenly.
        verbs_before, verbs_after: of the same sample of rows.
        rejected: by "step: reason".
        rejected_rows, dropped_rows: of rejected.jsonl, and those of them that were not written.
        faults: what does not fit together, for the reader.
        example: the first row of sit.jsonl whose instruction was rewritten, else its first row.
        fields: names of the fields of each file's rows.
    """

    sit_rows: int = 0
    it_rows: int | None = None
    rewritten: int = 0
    iterations: list[Counter[str]] = field(default_factory=list)
    original: Lengths = field(default_factory=Lengths)
    sequential: Lengths = field(default_factory=Lengths)
    it_answers: Lengths = field(default_factory=Lengths)
    sit_answers: Lengths = field(default_factory=Lengths)
    pairs: list[Pair] = field(default_factory=list)
    verbs_before: Verbs = field(default_factory=Verbs)
    verbs_after: Verbs = field(default_factory=Verbs)
    rejected: dict[str, Rejections] = field(default_factory=dict)
    rejected_rows: int = 0
    dropped_rows: int = 0
    faults: list[str] = field(default_factory=list)
    example: dict[str, Any] | None = None
    fields: dict[str, list[str]] = field(default_factory=dict)


def survey(folder: Path) -> Survey:
    """Read sit.jsonl, it.jsonl and rejected.jsonl of `folder`.

    Raises:
        UserError: there is no sit.jsonl, or a file is damaged.
    """
    if not (folder / "sit.jsonl").is_file():
        raise UserError(f"{folder}: no sit.jsonl here. Give the folder that self_seq.generate wrote to its end.")
    found = Survey()
    _read_training(folder, found)
    _read_rejected(folder / "rejected.jsonl", found)
    return found


def _read_training(folder: Path, found: Survey) -> None:
    pairs: Sample[Pair] = Sample(PAIRS)
    for_verbs: Sample[tuple[str, str]] = Sample(VERB_ROWS)
    chosen: Counter[tuple[str, ...]] = Counter()
    fields: dict[str, dict[str, None]] = {"sit": {}}
    together = True
    if has_it := (folder / "it.jsonl").is_file():
        found.it_rows, fields["it"] = 0, {}
    for sit, it in zip_longest(_rows(folder / "sit.jsonl"), _rows(folder / "it.jsonl") if has_it else ()):
        if it is not None:
            found.it_rows += 1
            found.it_answers.add(_text(it, "output"))
            fields["it"] |= dict.fromkeys(it)
        if has_it and (sit is None or it is None or sit.get("id") != it.get("id")):
            together = False
        if sit is None:
            continue
        found.sit_rows += 1
        fields["sit"] |= dict.fromkeys(sit)
        after = _text(sit, "instruction")
        before = _text(sit, "original_instruction") or after
        found.original.add(before)
        found.sequential.add(after)
        found.sit_answers.add(_text(sit, "output"))
        options = sit.get("options")
        chosen[tuple(map(str, options)) if isinstance(options, list) else ()] += 1
        if (place := for_verbs.place()) is not None:
            for_verbs.put(place, (before[:_VERB_TEXT], after[:_VERB_TEXT]))
        if before != after:
            found.rewritten += 1
            if (place := pairs.place()) is not None:
                pairs.put(place, _pair(sit, it if together else None, before, after))
            if found.rewritten == 1:
                found.example = sit
        found.example = found.example or sit
    if not together:
        found.faults.append("it.jsonl and sit.jsonl do not hold the same rows in the same order.")
    found.pairs, found.iterations = pairs.kept, _by_iteration(chosen)
    found.fields = {name: list(names) for name, names in fields.items()}
    for before, after in for_verbs.kept:
        verb = root_verb(before)
        found.verbs_before.add(verb)
        found.verbs_after.add(verb if after == before else root_verb(after))


def _read_rejected(path: Path, found: Survey) -> None:
    if not path.is_file():
        found.faults.append("There is no rejected.jsonl: what failed is not known.")
        return
    for row in _rows(path):
        found.rejected_rows += 1
        found.dropped_rows += row.get("dropped") is True
        failures = [one for one in row.get("failures") or [] if isinstance(one, dict)]
        for failure in failures or [{"step": "", "reason": row.get("reason", "no reason given")}]:
            first_line = _text(failure, "reason").partition("\n")[0]  # what follows is about this row alone
            reason = f"{failure['step']}: {first_line}" if failure.get("step") else first_line
            if reason not in found.rejected and len(found.rejected) >= _MOST_REASONS:
                reason = _OTHER
            told = found.rejected.setdefault(reason, Rejections())
            told.rows += 1
            told.dropped += row.get("dropped") is True
            if (place := told.examples.place()) is not None:
                told.examples.put(place, {"id": str(row.get("id", "")), **_texts(row, failure)})
    found.rejected = dict(sorted(found.rejected.items(), key=lambda one: -one[1].rows))


def _rows(path: Path) -> Iterator[dict]:
    for _, row in read_rows(path, _NO_LIMIT, may_be_empty=True):
        yield row


def _text(row: dict, name: str) -> str:
    """A field that should be text; whatever an older file holds there instead is no reason to stop."""
    value = row.get(name, "")
    return value if isinstance(value, str) else "" if value is None else str(value)


def _pair(sit: dict, it: dict | None, before: str, after: str) -> Pair:
    return Pair(
        id=str(sit.get("id", "")),
        options=[str(one) for one in sit.get("options") or []],
        before=before,
        after=after,
        input=_text(sit, "input"),
        it_answer=None if it is None else _text(it, "output"),
        sit_answer=_text(sit, "output"),
    )


def _texts(row: dict, failure: dict) -> dict[str, str]:
    return {
        "instruction": _text(row, "instruction")[:2000],
        "reason": _text(failure, "reason")[:2000],
        "answer": _text(failure, "answer")[:2000],
    }


def _by_iteration(chosen: Counter[tuple[str, ...]]) -> list[Counter[str]]:
    longest = max(map(len, chosen), default=0)
    found: list[Counter[str]] = [Counter() for _ in range(longest)]
    for options, rows in chosen.items():
        for iteration, counts in enumerate(found):
            counts[options[iteration] if iteration < len(options) else "D"] += rows
    return found
