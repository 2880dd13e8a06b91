"""The engine that answers from stored completions: generation without the generator, and benches without a model.

`open_engine("replay", ["files=A.jsonl,B.jsonl"])`. A request gets its one stored answer once: asked again (another
seed, after an unreadable answer), it fails and says so. Two kinds of rows are read:

- those of published generation runs, where one row, named by `idx`, holds the answers to several steps: see
  `PUBLISHED_FIELDS`. The row for a request is found by what the request's last message shows, so the order of either
  file does not matter; of equal rows, it is the one whose `idx` is the request's key. Where no row fits, the request
  fails and says what the row of that `idx` is about. (Rows that do not say what they answer are taken by `idx` alone.)
- our own, taken by their key: `{"key": 5, "step": "rewrite", "text": "...", "finish_reason": "stop"}`, with `"error"`
  for a failed one; and the journals of judges (`eval/judges`, `open_instruct/phased`), whose answers are read as rows
  of that kind.

Memory does not depend on the texts' length: where a row begins in its file is kept, 8 bytes a key and step, and for
published rows a number for their first words, some 300 bytes.
"""

import hashlib
import json
import os
import re
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from open_instruct.core.command import help_field
from open_instruct.core.errors import UserError
from open_instruct.core.records import encode_json, read_rows
from open_instruct.engines.base import Completion, Request

# For each step the fields that hold its answer in published runs (the first that a row has), and the field with the
# instruction that was answered.
PUBLISHED_FIELDS = {
    "classify": {"completions": "instruction"},
    "rewrite": {"new_instruction": "instruction"},
    "refine": {"refine_instruction": "instruction"},
    "respond_sit": {
        "final_refined_instruction_reponse": "extracted_refined_instruction",  # sic
        "final_instruction_response": "extracted_instruction",
    },
    "respond_it": {"direct_response": "instruction", "response": "instruction"},
}
MAX_KEY = 100_000_000  # keys are row numbers; one far beyond would cost 8 bytes for each number below it

_NOT_STORED = -1
_ORIGINAL = "(the row)"  # in the place of a step: the instruction a row began with, whatever answers it holds
_START_WORDS = 8  # an instruction is looked for by so many of its first words, then compared whole
_EXPECTED = "rows of a published generation run (see PUBLISHED_FIELDS), or {'key', 'step', 'text', 'finish_reason'}"
_FILE_BITS = 48  # an entry of the index is the number of the file and, in the lower bits, the row's first byte


@dataclass
class Settings:
    files: str = help_field("files of stored completions, separated by commas")


class Engine:
    """Answers requests in the order they come, from the files of `settings`.

    Raises:
        UserError: a file cannot be read or holds no answer, a row has no key, or two rows answer a request differently.
    """

    def __init__(self, settings: Settings) -> None:
        paths = _paths(settings.files)
        if not paths:
            raise UserError("engine replay: files is empty; name one or more files of stored completions")
        self._files: list[BinaryIO] = []
        self._steps: dict[int, str] = {}  # what the answers in a file are for, where the file is a journal
        self._index: dict[str, array] = {}  # by step: for each key, where the row with its answer is
        self._starts: dict[str, dict[int, list[int]]] = {}  # _ORIGINAL or "respond_sit": keys by first words
        self._given: dict[str, bytearray] = {}  # by step: 1 for each request that had its answer
        for path in paths:
            self._add(path)

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield the stored answers in the order of the requests; word counts stand for token counts."""
        for request in requests:
            prompt_words = sum(len(message["content"].split()) for message in request.messages)
            text, finish_reason, error = self._answer(request.key, request.step, request.messages[-1]["content"])
            yield Completion(request.key, text, finish_reason, prompt_words, len(text.split()), error)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def _answer(self, key: int, step: str, message: str) -> tuple[str, str, str]:
        """Text, finish reason and error; from now on the answer is given."""
        given = self._given.setdefault(step, bytearray())
        if 0 <= key < len(given) and given[key]:
            return "", "error", f"replay: this row's one stored answer in step {step!r} was already given"
        row = self._row_for(key, step, message)
        if row is None:
            about = self._about(key, _kind(step))
            if about is not None:
                error = f"it shows {_short(message)}, but the stored row {key} is about {_short(about[0])}"
                return "", "error", f"replay: no stored row fits the request\n{error}"
        entry = _NOT_STORED if row is None else self._entry(row, step)
        if entry == _NOT_STORED:
            return "", "error", f"replay: no stored answer for this row in step {step!r}"
        given.extend(bytes(max(0, key + 1 - len(given))))
        given[key] = 1
        return self._stored(entry, step)

    def _row_for(self, key: int, step: str, message: str) -> int | None:
        """The row that a request is about: of those that its message shows, the one with the longest text."""
        kind = _kind(step)
        starts = self._starts.get(kind, {})
        words = _words(message)
        places = range(1 if step.startswith("respond") else len(words))
        found = [
            row
            for place in places
            for count in range(1, _START_WORDS + 1)
            for row in starts.get(hash(tuple(words[place : place + count])), ())
        ]
        best, longest = None, -1
        for row in dict.fromkeys([key, *found]):
            about = self._about(row, kind)
            if about is None or not _shows(message, *about, whole=step.startswith("respond")):
                continue
            if (length := sum(map(len, about))) > longest:
                best, longest = row, length
        if best is None and self._entry(key, _ORIGINAL) == _NOT_STORED:
            return key  # our own rows, and published ones without an instruction: nothing to compare with
        return best

    def _about(self, key: int, kind: str) -> tuple[str, str] | None:
        """Instruction and input that the stored row `key` is about; None if it does not say."""
        entry = self._entry(key, kind)
        return None if entry == _NOT_STORED else _about(self._row(entry), kind)

    def _entry(self, key: int, step: str) -> int:
        entries = self._index.get(step, ())
        return entries[key] if 0 <= key < len(entries) else _NOT_STORED

    def _add(self, path: str) -> None:
        """Index a file."""
        number = len(self._files)
        found = False
        step = ""  # of a journal
        for where, offset, row in self._rows(path):
            if "journal" in row:
                step = self._steps[number] = _journal_step(row, where)
                continue
            row = _of_journal(row, step)
            key = _key(row, where)
            for step, text in _texts(row, where).items():
                found = True
                if self._entry(key, step) == _NOT_STORED:
                    self._remember(key, step, number << _FILE_BITS | offset, row)
                elif self._stored(self._entry(key, step), step)[0] != text:  # a run's files repeat its earlier answers
                    raise UserError(
                        f"{where}: row {key} has another answer in step {step!r} than before; give only files of one "
                        "and the same run"
                    )
            if (about := _about(row, _ORIGINAL)) is None:
                continue
            if self._entry(key, _ORIGINAL) == _NOT_STORED:
                self._remember(key, _ORIGINAL, number << _FILE_BITS | offset, row)
            elif self._about(key, _ORIGINAL) != about:
                raise UserError(
                    f"{where}: row {key} has another instruction than before; give only files of one and the same run"
                )
        if not found:
            raise UserError(f"{path}:1: holds no stored answer; expected {_EXPECTED}")

    def _remember(self, key: int, step: str, entry: int, row: dict) -> None:
        entries = self._index.setdefault(step, array("q"))
        if key >= len(entries):
            entries.extend([_NOT_STORED] * (max(key + 1, len(entries) * 9 // 8) - len(entries)))
        entries[key] = entry
        if step == _kind(step) and (about := _about(row, step)):
            start = hash(tuple(_words(about[0])[:_START_WORDS]))
            self._starts.setdefault(step, {}).setdefault(start, []).append(key)

    def _rows(self, path: str) -> Iterator[tuple[str, int, dict]]:
        """FILE:LINE, first byte and content of each row; the file is open from now on.

        What is no plain JSONL (gzip, an array) is copied to a temporary file of lines.
        """
        if not _is_lines(path):
            file = tempfile.TemporaryFile()
            self._files.append(file)
            for where, row in read_rows(path):
                offset = file.seek(0, os.SEEK_END)
                file.write(encode_json(row) + b"\n")
                yield where, offset, row
            return
        self._files.append(open(path, "rb"))
        with open(path, "rb") as lines:
            line_number, offset, length = 0, 0, 0
            for where, row in read_rows(path):
                row_line = int(where.rpartition(":")[2])
                while line_number < row_line:
                    line_number, offset, length = line_number + 1, offset + length, len(lines.readline())
                yield where, offset, row

    def _stored(self, entry: int, step: str) -> tuple[str, str, str]:
        """Text, finish reason and error of the answer that an entry of the index points to."""
        row = self._row(entry)
        if "key" not in row:
            return _texts(row, "")[step], "stop", ""
        if row.get("finish_reason") == "error":
            return "", "error", str(row.get("error") or "replay: the stored answer is an error without a reason")
        return row["text"], row.get("finish_reason", "stop"), ""

    def _row(self, entry: int) -> dict:
        number = entry >> _FILE_BITS
        file = self._files[number]
        file.seek(entry & ((1 << _FILE_BITS) - 1))
        return _of_journal(json.loads(file.readline().decode("utf-8-sig")), self._steps.get(number, ""))


def _journal_step(row: dict, where: str) -> str:
    """What the answers in a journal are for, from its first line."""
    about = row.get("about")
    if not isinstance(about, dict) or not isinstance(about.get("step"), str):
        raise UserError(f"{where}: a journal that does not say of which step it is; expected {_EXPECTED}")
    return about["step"]


def _of_journal(row: dict, step: str) -> dict:
    """A line of a journal as a row of our own; any other row as it is."""
    if not step or "row" not in row:
        return row
    value = row["value"]
    text = value.get("text", value.get("answer", "")) if isinstance(value, dict) else ""
    failed = {} if text or not isinstance(value, dict) else {"finish_reason": "error", "error": value.get("failed", "")}
    return {"key": row["row"], "step": step, "text": text, **failed}


def content(options: dict[str, str]) -> str:
    """Names the content of the files, so that a journal never mixes the answers of two versions of them."""
    digest = hashlib.sha256()
    for path in _paths(options.get("files", "")):
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _kind(step: str) -> str:
    """What a row of this step is found by: the sequential instruction answered, or the original one."""
    return "respond_sit" if step == "respond_sit" else _ORIGINAL


def _about(row: dict, kind: str) -> tuple[str, str] | None:
    """Instruction and input that a published row is about, or its answer to a step is; None if it does not say."""
    name = "instruction"
    if kind != _ORIGINAL:
        name = next((asked for field, asked in PUBLISHED_FIELDS[kind].items() if row.get(field) is not None), "")
    text, given_input = row.get(name), row.get("input")
    if "key" in row or not isinstance(text, str) or not text.strip():
        return None
    return text.strip(), given_input.strip() if isinstance(given_input, str) else ""


def _shows(message: str, instruction: str, given_input: str, whole: bool) -> bool:
    """Whether a request's message holds the stored instruction and its input; `whole`: and nothing less or more."""
    if not whole:
        return instruction in message and given_input in message
    shown = message.strip()
    if given_input and not shown.endswith(given_input):
        return False
    shown = shown.removesuffix(given_input).strip()
    start = instruction.find(shown)
    unquoted = not instruction[: max(start, 0)].strip(" \n\"“'‘")
    return bool(shown) and start >= 0 and unquoted and _END.match(instruction, start + len(shown)) is not None


_END = re.compile(r"[\s\"”'’]*(?:$|#{3,})")  # published runs kept the quotes around an instruction, and its end mark


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _paths(files: str) -> list[str]:
    return [path.strip() for path in files.split(",") if path.strip()]


def _is_lines(path: str) -> bool:
    """Whether the file is plain JSONL; one that cannot be read is left to `read_rows` to report."""
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    return not start.startswith(b"\x1f\x8b") and not start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _key(row: dict, where: str) -> int:
    """The row number that a row belongs to."""
    name = "key" if "key" in row else "idx"
    key = row.get(name)
    if type(key) is not int or not 0 <= key <= MAX_KEY:
        problem = f"{name!r} is {json.dumps(key)[:40]}" if name in row else "neither 'key' nor 'idx' is there"
        raise UserError(f"{where}: {problem}; expected the number of a row, 0 to {MAX_KEY:,}")
    return key


def _texts(row: dict, where: str) -> dict[str, str]:
    """The answers of a row by step.

    Raises:
        UserError: an answer is no text, or a row of our own format lacks a field or has an unknown `finish_reason`.
    """
    if "key" in row:
        reason = row.get("finish_reason", "stop")
        if reason not in ("stop", "length", "error"):
            raise UserError(f"{where}: finish_reason {json.dumps(reason)} is unknown; expected stop, length or error")
        return {_text(row, "step", where): _text(row, "text", where)}
    texts = {}
    for step, fields in PUBLISHED_FIELDS.items():
        for field in fields:
            if row.get(field) is not None:  # the runs stored null where there was nothing to extract
                texts[step] = _text(row, field, where)
                break
    return texts


def _text(row: dict, name: str, where: str) -> str:
    if not isinstance(row.get(name), str):
        problem = f"is {json.dumps(row[name])[:40]}, not text" if name in row else "is missing"
        raise UserError(f"{where}: field {name!r} {problem}; expected {_EXPECTED}")
    return row[name]
