"""Files of training rows, whatever their format, as conversations.

A file holds one kind of row, told by the first: conversations (`messages`), instructions with their answers
(`instruction`, `input`, `output`), or rows as the sequential-instruction paper's code publishes them. Several files may
be read, each in part, whole or several times.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from open_instruct.core.errors import UserError
from open_instruct.core.records import Conversation, Instruction, read_rows

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Source:
    """A file, and how much of it is trained on.

    Attributes:
        path: of the file.
        rows: so many of its rows, drawn without replacement; over the file's own number, the whole file as often as it
            goes and the rest drawn. None: see `times`.
        times: the whole file so many times; the last part of it drawn.
    """

    path: str
    rows: int | None = None
    times: float = 1.0

    @property
    def whole(self) -> bool:
        """Whether each row is taken once."""
        return self.rows is None and self.times == 1


def sources(files: Sequence[str]) -> list[Source]:
    """What `FILE`, `FILE=20000` (rows) and `FILE=0.5x` (times the whole file) mean, as for `open_instruct.mix`.

    Raises:
        UserError: what stands after the last `=` is neither, and there is no file of the whole name.
    """
    return [_source(text) for text in files]


def _source(text: str) -> Source:
    path, _, amount = text.rpartition("=")
    if not path or Path(text).exists():
        return Source(text)
    if re.fullmatch(r"[0-9]+", amount) and int(amount):
        return Source(path, rows=int(amount))
    if re.fullmatch(r"[0-9]*\.?[0-9]+x", amount) and float(amount[:-1]):
        return Source(path, times=float(amount[:-1]))
    raise UserError(f"{text}: {amount!r} is no amount; expected FILE, FILE=20000 (rows) or FILE=0.5x (times the file)")


def conversations(source: Source, seed: int) -> Iterator[tuple[Messages | None, int]]:
    """The rows of a file in its order: its messages, or None where nothing is answered, and how often it is taken.

    Args:
        source: the file; of a part of it, rows that are not drawn come with 0.
        seed: of the draw.

    Raises:
        UserError: a row is of no known kind or of another kind than those before it; it is named.
    """
    taken = None if source.whole else _draw(source, seed)
    read: Callable[[dict, str], Messages | None] | None = None
    kind = ""
    for number, (where, row) in enumerate(_rows(source.path)):
        own = _kind(row, where)
        if own != kind:
            if kind:
                raise UserError(
                    f"{where}: this row is {_KINDS[own][0]}, those before it are {_KINDS[kind][0]}; one kind of row a "
                    "file: split it, and give all parts to --train_file"
                )
            kind, read = own, _KINDS[own][1]
        yield read(row, where), 1 if taken is None else taken[number]


def _draw(source: Source, seed: int) -> Counter[int]:
    number = sum(1 for _ in _rows(source.path))
    if not number:
        return Counter()
    wanted = source.rows if source.rows is not None else round(number * source.times)
    whole, part = divmod(wanted, number)
    taken = Counter(dict.fromkeys(range(number), whole))
    taken.update(random.Random(f"{seed} {Path(source.path).name}").sample(range(number), part))
    return taken


def _rows(path: str) -> Iterator[tuple[str, dict]]:
    return _parquet_rows(path) if path.endswith(".parquet") else read_rows(path)


def _parquet_rows(path: str) -> Iterator[tuple[str, dict]]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(1000):
                for row in batch.to_pylist():
                    number += 1
                    # A column that a row does not have is null there.
                    yield f"{path}: row {number}", {name: value for name, value in row.items() if value is not None}
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())}") from error
    if not number:
        raise UserError(f"{path}: the file has no rows. Was it written to its end?")


def _kind(row: dict[str, Any], where: str) -> str:
    if "messages" in row:
        both = [name for name in ("instruction", "output") if name in row]
        if both:
            raise UserError(
                f"{where}: the row has 'messages' and {both[0]!r} too, so there is no telling which is meant; "
                "leave one of them out"
            )
        return "messages"
    return "published" if "output" not in row and _PUBLISHED & row.keys() else "instruction"


def _of_messages(row: dict[str, Any], where: str) -> Messages:
    # Where a conversation comes from is nothing that training asks for.
    return Conversation.from_json({"dataset": "", "id": "", "messages": row["messages"]}, where).messages


def _of_instruction(row: dict[str, Any], where: str) -> Messages | None:
    record = Instruction.from_json(row, where)
    if not record.output.strip():
        return None
    return _messages(record.system, record.prompt, record.output)


def _of_published(row: dict[str, Any], where: str) -> Messages | None:
    """A row of the published pipeline's `-response` and `-final` files.

    The instruction that was answered is the refined one where there is one, else the extracted one, else the original;
    option D keeps the original. Instruction and input were answered together.
    """
    record = Instruction.from_json({**row, "input": row.get("input") or "", "output": ""}, where)
    refined = _quoted_text(row.get("extracted_refined_instruction"))
    answer = _text(row.get("final_refined_instruction_reponse"))  # the field's name is spelt so in the release
    instruction = refined
    if not (refined and answer):
        answer = _text(row.get("final_instruction_response"))
        instruction = _quoted_text(row.get("extracted_instruction")) or record.instruction
    if not answer:
        return None
    if record.input and record.input not in instruction:
        instruction = f"{instruction}\n{record.input}"
    return _messages(record.system, instruction, answer)


def _messages(system: str, prompt: str, answer: str) -> Messages:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _quoted_text(value: Any) -> str:
    """The text without the quotation marks that generators put around an instruction, and not around words in it."""
    text = _text(value)
    if re.fullmatch(r'["“][^"“”]+["”]', text):
        return text[1:-1].strip()
    return text


_PUBLISHED = frozenset(
    "completions new_instruction extracted_instruction extracted_refined_instruction final_instruction "
    "final_instruction_response final_refined_instruction_reponse".split()
)
# What a kind is called, and what makes messages of its rows.
_KINDS: dict[str, tuple[str, Callable[[dict, str], Messages | None]]] = {
    "messages": ("a conversation ('messages')", _of_messages),
    "instruction": ("an instruction ('instruction', 'output')", _of_instruction),
    "published": ("a published SeqIns row ('final_instruction', ...)", _of_published),
}
