"""The engine that answers from stored completions: generation without the generator, and benches without a model.

`open_engine("replay", ["files=A.jsonl,B.jsonl"])`. A request gets the answer stored for its `key` and `step`, once:
asked again (another seed, after an unreadable answer), the request fails and says so. Two kinds of rows are read:

- those of published generation runs, where `idx` is the key and one row holds the answers to several steps: see
  `PUBLISHED_FIELDS`. In the files that there are, `idx` is 0..n-1, in any order;
- our own: `{"key": 5, "step": "rewrite", "text": "...", "finish_reason": "stop"}`, with `"error"` for a failed one.

Memory does not depend on the answers' length: only where a row begins in its file is kept, 8 bytes a key and step.
"""

import json
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from open_instruct.core.command import help_field
from open_instruct.core.errors import UserError
from open_instruct.core.records import encode_json, read_rows
from open_instruct.engines.base import Completion, Request

# The steps and the fields that hold their answers in published runs; of several, the first that a row has.
PUBLISHED_FIELDS = {
    "classify": ("completions",),
    "rewrite": ("new_instruction",),
    "refine": ("refine_instruction",),
    "respond_sit": ("final_refined_instruction_reponse", "final_instruction_response"),  # sic
    "respond_it": ("direct_response", "response"),
}
MAX_KEY = 100_000_000  # keys are row numbers; one far beyond would cost 8 bytes for each number below it

_NOT_STORED, _GIVEN = -1, -2
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
        paths = [path.strip() for path in settings.files.split(",") if path.strip()]
        if not paths:
            raise UserError("engine replay: files is empty; name one or more files of stored completions")
        self._files: list[BinaryIO] = []
        self._index: dict[str, array] = {}
        for path in paths:
            self._add(path)

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield the stored answers in the order of the requests; word counts stand for token counts."""
        for request in requests:
            prompt_words = sum(len(message["content"].split()) for message in request.messages)
            text, finish_reason, error = self._answer(request.key, request.step)
            yield Completion(request.key, text, finish_reason, prompt_words, len(text.split()), error)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def _answer(self, key: int, step: str) -> tuple[str, str, str]:
        """Text, finish reason and error; from now on the answer is given."""
        entries = self._index.get(step, ())
        entry = entries[key] if 0 <= key < len(entries) else _NOT_STORED
        if entry == _NOT_STORED:
            return "", "error", f"replay: no stored answer for this row in step {step!r}"
        if entry == _GIVEN:
            return "", "error", f"replay: this row's one stored answer in step {step!r} was already given"
        entries[key] = _GIVEN
        return self._stored(entry, step)

    def _add(self, path: str) -> None:
        """Index a file."""
        number = len(self._files)
        found = False
        for where, offset, row in self._rows(path):
            key = _key(row, where)
            for step, text in _texts(row, where).items():
                found = True
                entries = self._index.setdefault(step, array("q"))
                if key >= len(entries):
                    entries.extend([_NOT_STORED] * (max(key + 1, len(entries) * 9 // 8) - len(entries)))
                if entries[key] == _NOT_STORED:
                    entries[key] = number << _FILE_BITS | offset
                elif self._stored(entries[key], step)[0] != text:  # the files of one run repeat its earlier answers
                    raise UserError(
                        f"{where}: row {key} has another answer in step {step!r} than before; give only files of one "
                        "and the same run"
                    )
        if not found:
            raise UserError(f"{path}:1: holds no stored answer; expected {_EXPECTED}")

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
        file = self._files[entry >> _FILE_BITS]
        file.seek(entry & ((1 << _FILE_BITS) - 1))
        row = json.loads(file.readline().decode("utf-8-sig"))
        if "key" not in row:
            return _texts(row, "")[step], "stop", ""
        if row.get("finish_reason") == "error":
            return "", "error", str(row.get("error") or "replay: the stored answer is an error without a reason")
        return row["text"], row.get("finish_reason", "stop"), ""


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
