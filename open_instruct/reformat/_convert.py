"""Rows of a source, to checked conversations: forms are told apart, rows drawn, long conversations split, ids given.

The source's own file says what a row becomes; all that is the same for every source is here. Nothing is left out
without a `Rejected` that says why: rows read = rows not drawn + rows drawn, and each of those gives one result or more.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from open_instruct.core.errors import UserError
from open_instruct.core.records import Conversation
from open_instruct.reformat import _files
from open_instruct.reformat._split import parts, token_counter
from open_instruct.reformat.base import Example, Job, Module, Rejected, Row


@dataclass
class Counts:
    """What a conversion did. Rows are those of the files; examples are what the drawn rows hold."""

    rows: int = 0
    not_drawn: int = 0
    examples: int = 0
    written: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict:
        """For `run.json`."""
        return asdict(self)


def convert(
    name: str,
    module: Module,
    paths: list[Path],
    counts: Counts,
    seed: int = 42,
    draw: int | None = None,
    max_length: int = 0,
    tokens: Callable[[list[str]], list[int]] | None = None,
) -> Iterator[Conversation | Rejected]:
    """Yield the conversations of a source's files and what was rejected, in the files' order, a few rows in memory.

    Args:
        name: of the source; ids begin with it.
        module: the source.
        paths: its files.
        counts: filled in as it goes.
        seed: of the draws; equal seeds and files give equal conversations.
        draw: rows drawn of each file; 0 for all, None for what the published recipe draws.
        max_length: longest conversation, in what `tokens` counts; longer ones are split. 0 leaves them whole.
        tokens: counts the tokens of each of several texts; by default `token_counter("")`.

    Raises:
        UserError: a file cannot be read, is of another kind, or mixes kinds of rows.
    """
    job = Job(random.Random(f"{seed}/{name}"), draw, counts.notes)
    tokens = tokens or token_counter("")
    rows = module.rows(paths, job) if hasattr(module, "rows") else _plain_rows(module, paths, job)
    for number, (where, row) in enumerate(_of_one_form(name, module, rows)):
        counts.rows += 1
        found = False
        for result in _named(_examples(module, row, job), f"{name}_{number}", max_length, tokens, job):
            found = True
            result = _checked(name, result, where)
            _count(counts, result)
            yield result
        if not found:
            result = Rejected("the row holds no conversation", where)
            _count(counts, result)
            yield result
    counts.not_drawn = job.not_drawn
    counts.rows += job.not_drawn


def _plain_rows(module: Module, paths: list[Path], job: Job) -> Iterator[Row]:
    for path in paths:
        yield from _files.drawn_rows(module.SOURCE, path, job)


def _of_one_form(name: str, module: Module, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows; the first of another form than the source's, or than the rows before it in its file, ends the run."""
    first = ("", ())
    for where, row in rows:
        form = next((form for form in module.FORMS if all(key in row for key in form)), None)
        file = where.rpartition(":")[0]
        before = first[1] if first[0] == file else None
        if form is None or (before and form != before):
            forms = " or ".join("{" + ", ".join(form) + "}" for form in module.FORMS)
            fields = "{" + ", ".join(list(row)[:8]) + "}"
            if before:
                raise UserError(
                    f"{where}: mixed formats: the row has {fields}, the rows before it {{{', '.join(before)}}}; "
                    "expected one format a file. Split it"
                )
            raise UserError(
                f"{where}: no row of {name}: it has {fields}; expected {forms}. Name the --source that the file is of"
            )
        if not before:
            first = (file, form)
        yield where, row


def _examples(module: Module, row: dict, job: Job) -> Iterator[Example | Rejected]:
    """The source's examples of a row. Fields of a wrong kind end the row, not the run."""
    try:
        yield from module.examples(row, job)
    except (TypeError, AttributeError, KeyError, IndexError, ValueError) as error:
        yield Rejected(f"not built as rows of this source are ({type(error).__name__}: {error})")


def _named(
    examples: Iterable[Example | Rejected],
    row_id: str,
    max_length: int,
    tokens: Callable[[list[str]], list[int]],
    job: Job,
) -> Iterator[Example | Rejected]:
    """The examples with their ids, long ones in parts, none with a last question that nobody answers."""
    for number, example in enumerate(examples):
        if isinstance(example, Rejected):
            yield example
            continue
        name, messages = example.id or (f"{row_id}_{number}" if number else row_id), example.messages
        if max_length and all(isinstance(message["content"], str) for message in messages):
            if sum(message["role"] != "system" for message in messages) % 2:
                job.note(_UNANSWERED)
            for start, part in parts(messages, max_length, tokens):
                yield part if isinstance(part, Rejected) else Example(part, f"{name}_{start}")
            continue
        if len(messages) > 1 and messages[-1]["role"] == "user":
            job.note(_UNANSWERED)
            messages = messages[:-1]
        yield Example(messages, name)


_UNANSWERED = "last turn left out: nobody answers it"


def _checked(name: str, result: Example | Rejected, where: str) -> Conversation | Rejected:
    if isinstance(result, Rejected):
        return Rejected(result.reason, where)
    try:
        return Conversation.from_json({"dataset": name, "id": result.id, "messages": result.messages}, where)
    except UserError as error:  # the rules of a conversation have one home; here they end a row, not the run
        return Rejected(str(error).removeprefix(f"{where}: "), where)


def _count(counts: Counts, result: Conversation | Rejected) -> None:
    counts.examples += 1
    if isinstance(result, Rejected):
        counts.rejected += 1
        counts.reasons[result.reason.partition(";")[0][:80]] += 1
    else:
        counts.written += 1
