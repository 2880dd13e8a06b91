"""The contract of every source dataset: where it comes from, and what its rows become.

A source is one file in this folder; its file name is its name on the command line. It holds

    SOURCE = Source(...)                              what it is, where its files are, how many rows were published
    FORMS = (("instruction", "output"), ...)          the fields by which its rows are known; any form will do
    def examples(row, job): ...                       the conversations of one row

and, where its files are not plain rows (JSON, JSONL, .gz, .zip, Parquet), a function `rows(paths, job)` to read them.
It must not know who asks, write files, or print: what should be told goes to `job.note`.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Message = dict[str, str]  # {"role", "content"}
Row = tuple[str, dict]  # FILE:LINE where it begins, and its fields


@dataclass(frozen=True, slots=True)
class File:
    """One file of a source.

    Attributes:
        name: its name in the source's folder; a pattern (`*.jsonl`) where the number of files is not fixed.
        url: where it is downloaded from; "" where no address is known.
        bytes, sha256: what the download must be; 0 and "" where that is not known.
        draw: rows that the published recipe draws from it; 0 takes all.
        holds: what an archive holds, as a pattern; files unpacked by hand are then found too.
    """

    name: str
    url: str = ""
    bytes: int = 0
    sha256: str = ""
    draw: int = 0
    holds: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """What a source dataset is.

    Attributes:
        about: one line.
        page: its home page, for people; with what to do there when a file has no `url`.
        licence: as its authors state it.
        files: what is downloaded.
        published: how many conversations the published conversion has; 0 where nobody says.
        published_in: where that number stands.
        max_length: longer conversations are split at turn borders, in tokens; 0 leaves them whole.
    """

    about: str
    page: str
    licence: str
    files: tuple[File, ...]
    published: int = 0
    published_in: str = ""
    max_length: int = 0


@dataclass(slots=True)
class Example:
    """One conversation, not yet checked. `id` is its name within the dataset; by default the row's number."""

    messages: list[Message]
    id: str = ""


@dataclass(slots=True)
class Rejected:
    """What cannot become a conversation, and why. `where` (FILE:LINE) is filled in by the caller of `examples`."""

    reason: str
    where: str = ""


@dataclass(slots=True)
class Job:
    """What a source may use while it is converted.

    Attributes:
        random: its own stream, seeded by the run's seed and the source's name: no other source changes it.
        draw: rows that the user wants of each file (0: all); None for what the published recipe draws.
        notes: how often something happened that the user should know of.
        not_drawn: rows left out because they were not drawn.
    """

    random: random.Random
    draw: int | None = None
    notes: Counter[str] = field(default_factory=Counter)
    not_drawn: int = 0

    def note(self, text: str) -> None:
        """Count that `text` happened once more."""
        self.notes[text] += 1


class Module(Protocol):
    """A file of this folder, as Python sees it."""

    SOURCE: Source
    FORMS: tuple[tuple[str, ...], ...]

    def examples(self, row: dict, job: Job) -> Iterable[Example | Rejected]:
        """The conversations of a row; a part that cannot become one is yielded as `Rejected`, never left out."""
        ...

    def rows(self, paths: list[Path], job: Job) -> Iterator[Row]:
        """Optional: the rows of the source's files. Raises `UserError` with FILE:LINE for what cannot be read."""
        ...


def turns(prompt: str, answer: str, system: str = "") -> list[Message]:
    """The messages of one question and its answer; a blank system message is left out."""
    messages = [{"role": "system", "content": system}] if system.strip() else []
    return [*messages, {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
