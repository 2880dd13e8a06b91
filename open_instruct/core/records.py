"""What one row of our files is (an instruction, a conversation), and reading and writing files of rows.

Every stage reads its input and writes its results with it; the journal and `run.json` write their JSON with it.
A bad row ends the run with `FILE:LINE: what is wrong; what was expected`. Knows no stage and no model.
"""

import codecs
import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn

from open_instruct.core.errors import UserError, disk_error

MAX_ROW_BYTES = 1_000_000  # a row this long is a broken file far more often than data
MAX_ROW_BYTES_VARIABLE = "SIT_MAX_ROW_BYTES"
ROLES = ("system", "user", "assistant")

_ROLES_AFTER = {"start": ("system", "user"), "system": ("user",), "user": ("assistant",), "assistant": ("user",)}
_CHUNK = 1 << 16
_EXPECTED = "expected one JSON object a line, or one array of objects"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_AROUND_LINE = len(_BYTE_ORDER_MARK) + len(b"\r\n")
_SPACE = re.compile(r"[ \t\r\n]*")
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # an escape that is a character only together with a second one


@dataclass(slots=True)
class Instruction:
    """One instruction, perhaps with the text it works on, and its answer.

    Attributes:
        instruction: what is asked; never blank.
        input: the text it works on; "" without one.
        output: the answer; "" where there is none yet.
        extra: every other field of the row (idx, system_prompt, ...); none is named like the three above.
    """

    instruction: str
    input: str = ""
    output: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """What the model is shown: the instruction, and the input on a line of its own. Nothing else may join them."""
        return f"{self.instruction}\n{self.input}" if self.input else self.instruction

    @property
    def system(self) -> str:
        """The row's system message, where it brings one in `system_prompt`, as FLAN CoT rows do; "" otherwise."""
        system = self.extra.get("system_prompt")
        return system if isinstance(system, str) and system.strip() else ""

    @classmethod
    def from_json(cls, row: dict, where: str) -> "Instruction":
        """Check a row; `where` is its FILE:LINE.

        Raises:
            UserError: `instruction` is missing or blank, or one of the three fields is no text.
        """
        expected = 'expected {"instruction": text, "input": text, "output": text}'
        instruction = _text(row, "instruction", where, expected)
        if not instruction.strip():
            raise UserError(f"{where}: field 'instruction' is blank; {expected}")
        texts = [_text(row, name, where, expected, missing="") for name in ("input", "output")]
        return cls(instruction, *texts, {k: v for k, v in row.items() if k not in ("instruction", "input", "output")})

    def to_json(self) -> dict[str, Any]:
        """The row again, with every extra field."""
        return {"instruction": self.instruction, "input": self.input, "output": self.output, **self.extra}


@dataclass(slots=True)
class Conversation:
    """One training example.

    Attributes:
        dataset: where it comes from; mixes count by it.
        id: its name within the dataset.
        messages: `{"role", "content"}` each: perhaps one system message, then user and assistant by turns.
    """

    dataset: str
    id: str
    messages: list[dict[str, str]]

    @classmethod
    def from_json(cls, row: dict, where: str) -> "Conversation":
        """Check a row; `where` is its FILE:LINE. Fields beside the three are left out.

        Raises:
            UserError: a field is missing or of a wrong type, a role is unknown or out of turn, or nothing is answered.
        """
        expected = 'expected {"dataset": text, "id": text, "messages": [{"role": text, "content": text}, ...]}'
        dataset, name = (_text(row, key, where, expected) for key in ("dataset", "id"))
        messages = row.get("messages")
        if not isinstance(messages, list):
            problem = f"is {_kind(messages)}" if "messages" in row else "is missing"
            raise UserError(f"{where}: field 'messages' {problem}; {expected}")
        return cls(dataset, name, _checked_messages(messages, where))

    def to_json(self) -> dict[str, Any]:
        """The row again."""
        return {"dataset": self.dataset, "id": self.id, "messages": self.messages}


def read_instructions(path: str | os.PathLike) -> Iterator[Instruction]:
    """The instruction records of a file, checked, one at a time; see `read_rows`."""
    for where, row in read_rows(path):
        yield Instruction.from_json(row, where)


def read_conversations(path: str | os.PathLike) -> Iterator[Conversation]:
    """The conversations of a file, checked, one at a time; see `read_rows`."""
    for where, row in read_rows(path):
        yield Conversation.from_json(row, where)


def read_rows(
    path: str | os.PathLike, max_row_bytes: int | None = None, may_be_empty: bool = False
) -> Iterator[tuple[str, dict]]:
    """Stream the JSON objects of a file: one a line, or the elements of one array, plain or gzip (told by content).

    Memory stays at a few rows however long the file, its lines or its array.

    Args:
        path: the file.
        max_row_bytes: rows this long are refused; by default `SIT_MAX_ROW_BYTES`, or else `MAX_ROW_BYTES`.
        may_be_empty: no rows are no fault (a list of rejections).

    Yields:
        FILE:LINE where the row begins, and the row.

    Raises:
        UserError: the file cannot be read, is cut off, or holds something else; the line says where and what to do.
    """
    limit = max_row_bytes or _row_limit()
    empty = True
    with _Source(os.fspath(path)) as source:
        head = source.first_line(limit)
        rows = _array_rows if head.lstrip().startswith(b"[") else _line_rows
        for line, row in rows(source, head, limit):
            if not isinstance(row, dict):
                source.refuse(line, f"the row is {_kind(row)}; {_EXPECTED}")
            empty = False
            yield f"{source.path}:{line}", row
    if empty and not may_be_empty:
        raise UserError(f"{source.path}:1: the file has no rows; {_EXPECTED}. Was it written to its end?")


def write_rows(path: str | os.PathLike, rows: Iterable[dict]) -> int:
    """Write one row a line; a name in `.json` makes it an array, `.gz` compresses. All or nothing: see `replacing`.

    Returns:
        The number of rows.

    Raises:
        UserError: the disk is full or the path cannot be written.
        ValueError, TypeError: a row is not JSON (NaN, a set, ...): the caller's fault.
    """
    count = 0
    array = os.fspath(path).removesuffix(".gz").endswith(".json")
    with replacing(path) as write:
        for count, row in enumerate(rows, start=1):
            if array:
                write(b"[\n" if count == 1 else b",\n")
            write(encode_json(row))
            if not array:
                write(b"\n")
        if array:
            write(b"\n]\n" if count else b"[]\n")
    return count


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write one JSON value, indented for people to read; raises as `write_rows`."""
    with replacing(path) as write:
        write(encode_json(value, indent=2) + b"\n")


def encode_json(value: Any, indent: int | None = None) -> bytes:
    """UTF-8 JSON that `read_rows` takes: half a character, as servers pass on from models, becomes U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        return text.encode()
    except UnicodeEncodeError:  # by UTF-16, where two halves that stand together are the character that they make
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Callable[[bytes], object]]:
    """A function that writes bytes; they become `path` when the block ends well, else `path` stays as it was.

    They go to a temporary file in the same folder (made if missing), to the disk, and then under the name. `.gz` names
    are compressed, with equal bytes for equal content.

    Raises:
        UserError: the disk is full or the path cannot be written.
    """
    target = os.path.realpath(path)  # a link keeps pointing where it points
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.part")
    with ExitStack() as files:
        files.callback(_remove, temporary)
        with _disk(path):
            os.makedirs(folder, exist_ok=True)
            raw = file = open(temporary, "wb")
            files.callback(_close, raw)
            if name.endswith(".gz"):
                file = gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0)

        def write(data: bytes) -> None:
            with _disk(path):  # and not around the block: an error of the caller's is no error of this file
                file.write(data)

        yield write
        with _disk(path):
            if file is not raw:
                file.close()
            raw.flush()
            os.fsync(raw.fileno())
            os.replace(temporary, target)
            sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Make a new name in `folder` last through a power cut."""
    descriptor = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Source:
    """The bytes of a plain or gzip file. What goes wrong in reading becomes a `UserError` with the line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.line = 0  # number of the line that `readline` returned last

    def __enter__(self) -> "_Source":
        if os.path.isdir(self.path):
            raise UserError(
                f"{self.path}: is a folder; expected a file of rows (JSONL or a JSON array). Name a file in it."
            )
        try:
            self._raw = open(self.path, "rb")
            packed = self._raw.peek(2)[:2] == b"\x1f\x8b"
        except FileNotFoundError:
            raise UserError(f"{self.path}: no such file; expected a file of rows (JSONL or a JSON array).") from None
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be read: {error.strerror}. Check the path and its permissions."
            ) from error
        self._file = gzip.GzipFile(fileobj=self._raw, mode="rb") if packed else self._raw
        return self

    def __exit__(self, *exception: object) -> None:
        self._raw.close()

    def first_line(self, limit: int) -> bytes:
        """The first line that is not blank, without the byte order mark; of an array in one line, its beginning."""
        line = self._line_or_beginning(limit).removeprefix(_BYTE_ORDER_MARK)
        while line and not line.strip():
            if len(line) > limit:
                self.refuse_length(self.line, limit)
            line = self._line_or_beginning(limit)
        return line

    def _line_or_beginning(self, limit: int) -> bytes:
        line = self.readline(min(limit, _CHUNK))
        if not line.endswith(b"\n") and not line.removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"["):
            line += self._read(self._file.readline, max(0, limit + _AROUND_LINE - len(line)))
        return line

    def readline(self, limit: int) -> bytes:
        """The next line with its end, cut off once it is longer than `limit`; b"" at the end of the file."""
        self.line += 1
        return self._read(self._file.readline, limit + _AROUND_LINE)

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; b"" at the end of the file."""
        return self._read(self._file.read1, size)

    def _read(self, read, size: int) -> bytes:
        try:
            return read(size)
        except EOFError:
            self.refuse(self.line, "the gzip file ends here, cut off; expected its end. Copy or download it again")
        except (gzip.BadGzipFile, zlib.error) as error:
            self.refuse(self.line, f"the gzip file is damaged ({error}). Copy or download it again")
        except OSError as error:
            self.refuse(self.line, f"cannot be read on: {error.strerror}")

    def refuse(self, line: int, problem: str) -> NoReturn:
        raise UserError(f"{self.path}:{max(line, 1)}: {problem}.")

    def refuse_length(self, line: int, limit: int) -> NoReturn:
        self.refuse(
            line,
            f"the row is {limit:,} bytes or longer; expected less. Shorten it, or allow longer ones with "
            f"{MAX_ROW_BYTES_VARIABLE}={limit * 10}",
        )

    def refuse_encoding(self, line: int, error: UnicodeDecodeError) -> NoReturn:
        byte = error.object[error.start]
        self.refuse(line, f"byte 0x{byte:02x} is not UTF-8; expected UTF-8 text. Convert the file (iconv -t UTF-8)")

    def refuse_json(self, line: int, problem: str) -> NoReturn:
        self.refuse(line, f"not JSON ({problem}); {_EXPECTED}")


def _line_rows(source: _Source, line: bytes, limit: int) -> Iterator[tuple[int, Any]]:
    """(line number, value) of each line that is not blank, from `line` on."""
    while line:
        if len(line.rstrip(b"\r\n")) >= limit:
            source.refuse_length(source.line, limit)
        if not line.isspace():
            yield source.line, _line_value(source, line)
        line = source.readline(limit)


def _line_value(source: _Source, line: bytes) -> Any:
    try:
        text = line.decode()
        value = _DECODER.decode(text)
        _check_characters(text, value)
        return value
    except UnicodeDecodeError as error:
        source.refuse_encoding(source.line, error)
    except json.JSONDecodeError as error:
        source.refuse_json(source.line, f"{error.msg} at column {error.pos + 1}")
    except (ValueError, RecursionError) as error:
        source.refuse_json(source.line, _reason(error))


def _array_rows(source: _Source, head: bytes, limit: int) -> Iterator[tuple[int, Any]]:
    """(line number, value) of each element of the array that begins in `head`."""
    array = _ArrayText(source, head, limit)
    array.step()  # over the "["
    while (mark := array.mark()) != "]":
        yield array.value()
        mark = array.mark()
        if mark == ",":
            array.step()
            if array.mark() == "]":
                source.refuse_json(array.line, "no row after the comma")
        elif mark != "]":
            found = repr(mark) if mark else "the end of the file"
            source.refuse_json(array.line, f"{found} after a row, where ',' or ']' must stand")
    array.step()
    if array.mark():
        source.refuse_json(array.line, "text after the end of the array")


class _ArrayText:
    """A window on the text of an array: where we stand, in which line, and as much text as one row needs."""

    def __init__(self, source: _Source, head: bytes, limit: int) -> None:
        self.line = source.line
        self._source = source
        self._limit = limit
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._text = ""
        self._position = 0
        self._append(head)

    def step(self) -> None:
        """Go past the mark that `mark` returned."""
        mark = self.mark()  # which goes over the spaces before it
        self._position += len(mark)

    def mark(self) -> str:
        """The next character that is no space, which is then where we stand; "" at the end of the file."""
        while True:
            end = _SPACE.match(self._text, self._position).end()
            self.line += self._text.count("\n", self._position, end)
            self._position = end
            if end < len(self._text):
                return self._text[end]
            if not self._more():
                return ""

    def value(self) -> tuple[int, Any]:
        """The value that begins where we stand, with its line; we then stand behind it."""
        line = self.line
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
                break
            except json.JSONDecodeError as error:
                # A mistake well before the end of the text we have is one; nearer, the rest of the row may be missing.
                cut_off = error.msg.startswith("Unterminated") or error.pos > len(self._text) - len("\\ud800\\udc00")
                if cut_off and len(self._text) - self._position >= self._limit:
                    self._source.refuse_length(line, self._limit)
                if not (cut_off and self._more()):
                    self._source.refuse_json(line + self._text.count("\n", self._position, error.pos), error.msg)
            except (ValueError, RecursionError) as error:
                self._source.refuse_json(line, _reason(error))
        text = self._text[self._position : end]
        if len(text) * 4 >= self._limit and len(text.encode()) >= self._limit:
            self._source.refuse_length(line, self._limit)
        try:
            _check_characters(text, value)
        except ValueError as error:
            self._source.refuse_json(line, _reason(error))
        self.line += text.count("\n")
        self._position = end
        return line, value

    def _more(self) -> bool:
        """Read on; False at the end of the file."""
        rest = len(self._text) - self._position  # reading as much again keeps a long row's cost linear
        chunk = self._source.read(max(_CHUNK, rest))
        self._append(chunk)
        return bool(chunk)

    def _append(self, chunk: bytes) -> None:
        self._text = self._text[self._position :]
        self._position = 0
        try:
            self._text += self._decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            lines = self._text.count("\n") + error.object.count(b"\n", 0, error.start)
            self._source.refuse_encoding(self.line + lines, error)
        self._source.line = self.line + self._text.count("\n")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _check_characters(text: str, value: Any) -> None:
    """Refuse a value with half a character: no tokenizer and no UTF-8 file takes it."""
    if _HALF_CHARACTER.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"\\u{ord(error.object[error.start]):04x} is half a character") from None


def _reason(error: ValueError | RecursionError) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).split(";")[0]


def _row_limit() -> int:
    text = os.environ.get(MAX_ROW_BYTES_VARIABLE, "")
    if not text:
        return MAX_ROW_BYTES
    if not text.isdecimal() or int(text) == 0:
        raise UserError(f"{MAX_ROW_BYTES_VARIABLE}={text!r} is no number of bytes; expected for example 16000000")
    return int(text)


def _kind(value: Any) -> str:
    """What a JSON value is called."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return {dict: "an object", list: "an array", str: "text"}.get(type(value), "a number")


def _text(row: dict, name: str, where: str, expected: str, missing: str | None = None) -> str:
    if name not in row and missing is not None:
        return missing
    if name not in row:
        raise UserError(f"{where}: field {name!r} is missing; {expected}")
    if not isinstance(row[name], str):
        raise UserError(f"{where}: field {name!r} is {_kind(row[name])}, not text; {expected}")
    return row[name]


def _checked_messages(messages: list, where: str) -> list[dict[str, str]]:
    checked = []
    expected = 'expected {"role": text, "content": text}'
    for number, message in enumerate(messages, start=1):
        place = f"{where}: message {number}"
        if not isinstance(message, dict):
            raise UserError(f"{place} is {_kind(message)}; {expected}")
        role, content = _text(message, "role", place, expected), _text(message, "content", place, expected)
        if role not in ROLES:
            raise UserError(f"{place} has role {role!r}; expected one of {', '.join(ROLES)}")
        previous = checked[-1]["role"] if checked else "start"
        allowed = _ROLES_AFTER[previous]
        if role not in allowed:
            after = "as the first" if previous == "start" else f"after {previous!r}"
            raise UserError(f"{place} has role {role!r} {after}; expected {' or '.join(map(repr, allowed))}")
        checked.append({"role": role, "content": content})
    if not any(message["role"] == "assistant" and message["content"].strip() for message in checked):
        raise UserError(f"{where}: no assistant message with text; expected at least one, or there is nothing to learn")
    return checked


@contextmanager
def _disk(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error


def _close(file: BinaryIO) -> None:
    try:
        file.close()
    except OSError:
        pass  # it could not write what it still held, and we know: the error that brought us here says so


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # it has its final name, was never made, or the folder is gone
