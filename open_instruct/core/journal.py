"""Results keyed by row number, one file a step, that survive a kill at any moment.

Stage 1 keeps one a step and iteration, evaluation one a benchmark: what a journal holds is done and never asked again.

The file is JSONL. Line 1 says what the results depend on: `{"journal":1,"about":{...}}`. Every other line is a result:
`{"row":7,"value":...}`, spelt just so: reopening reads the number and skips the value. A line is handed whole to
the operating system before `add` returns, so killing the process loses nothing, and is on the disk about `SYNC_SECONDS`
later, so a power cut loses no more than that. Only the last line can be torn; it is cut off on reopening.
"""

import fcntl
import json
import os
import shlex
import threading
from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from open_instruct.core.errors import UserError, disk_error
from open_instruct.core.only_run import NO_LOCKS_HERE, tell_no_locks
from open_instruct.core.records import encode_json, sync_folder

FORMAT = 1
SYNC_SECONDS = 1.0
MAX_ROW = 100_000_000 - 1  # the table of offsets takes 8 bytes a row: 800 MB for the highest

_HEADER_START = b'{"journal":'
_ROW_START = b'{"row":'
_VALUE_START = b',"value":'
_LINE_END = b"}\n"
_MAX_HEADER = 1 << 24  # so that a wrong file without line ends is not read whole


class Journal:
    """A file of results, open for reading and adding, by one thread; a context manager.

    Args:
        path: the file; made, with its folder, if missing.
        about: what the results depend on (step, settings, input), JSON-able. A file with results of something else is
            refused.

    Raises:
        UserError: the results are of something else (the message names what differs), is in use by another process, is
            damaged (FILE:LINE), is no journal, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike, about: dict[str, Any]) -> None:
        self.path = os.fspath(path)
        self._offsets = array("q")  # where the line of each row begins; 0, where the header stands, means not done
        self._count = 0
        self._end = 0  # length of the file up to its last whole line
        self._unsynced = False
        self._sync_error: OSError | None = None
        self._closing = threading.Event()
        self._sync_thread: threading.Thread | None = None
        try:
            os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise disk_error(error, self.path) from error
        try:
            self._lock()
            self._load(about)
        except OSError as error:
            os.close(self._file)
            raise disk_error(error, self.path) from error
        except BaseException:
            os.close(self._file)
            raise

    def add(self, row: int, value: Any) -> None:
        """Write the result of a row. When this returns, killing the process no longer loses it.

        Args:
            row: number of the input row, from 0 to `MAX_ROW`.
            value: anything that JSON can hold.

        Raises:
            ValueError: the row is done, or out of range, or the journal is closed, or `value` holds a NaN.
            UserError: the disk is full or fails; the file then ends with the last result that was added.
        """
        if self._file < 0:
            raise ValueError(f"{self.path} is closed")
        if not 0 <= row <= MAX_ROW:
            raise ValueError(f"row {row} is not within 0 and {MAX_ROW}")
        if row in self:
            raise ValueError(f"row {row} is already in {self.path}")
        if self._sync_error is not None:
            raise disk_error(self._sync_error, self.path) from self._sync_error
        line = b"%b%d%b%b%b" % (_ROW_START, row, _VALUE_START, encode_json(value), _LINE_END)
        end = self._end + len(line)
        self._make_room(row)
        try:
            _write(self._file, line, self._end)
        except BaseException as error:  # Ctrl-C too: half a line must not stay
            with suppress(OSError):  # if it stays all the same, the next line is written over it
                self._cut_off()
            if isinstance(error, OSError):
                raise disk_error(error, self.path) from error
            raise
        # No call between these: Ctrl-C then falls before or after all of them.
        self._offsets[row] = self._end
        self._end = end
        self._count += 1
        self._unsynced = True
        if self._sync_thread is None:
            self._sync_thread = threading.Thread(target=self._sync_now_and_then, daemon=True, name="journal sync")
            self._sync_thread.start()

    def get(self, row: int) -> Any:
        """The result of a row.

        Raises:
            KeyError: the row is not done.
            UserError: its line is damaged.
        """
        if self._file < 0:
            raise ValueError(f"{self.path} is closed")
        if row not in self:
            raise KeyError(row)
        start = self._offsets[row]
        line = self._line(start)
        try:
            return json.loads(line)["value"]
        except (ValueError, KeyError):
            raise self._damaged(1 + self._lines_before(start), line) from None

    def rows(self) -> Iterator[int]:
        """The rows that are done, in ascending order."""
        return (row for row, offset in enumerate(self._offsets) if offset)

    def __contains__(self, row: int) -> bool:
        return 0 <= row < len(self._offsets) and self._offsets[row] != 0

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Bring everything to the disk and let others open the file; may be called again.

        Raises:
            UserError: the disk failed, so the last seconds before a power cut could be lost.
        """
        if self._file < 0:
            return
        self._closing.set()
        if self._sync_thread is not None:
            self._sync_thread.join()
        self._sync()
        os.close(self._file)
        self._file = -1
        if self._sync_error is not None:
            raise disk_error(self._sync_error, self.path) from self._sync_error

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{self.path}: in use by {_holder(self._file)}; expected one run at a time. "
                "Wait for it to end or stop it, or name another output folder."
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS_HERE:
                raise
            tell_no_locks(self.path)

    def _load(self, about: dict[str, Any]) -> None:
        """Read the offsets of all rows; write the header if there is none; cut a torn last line off."""
        with open(self._file, "rb", buffering=1 << 20, closefd=False) as file:
            header = file.readline(_MAX_HEADER)
            if not header.endswith(b"\n"):
                self._start(header, about)
                return
            changes = self._changes(header, about)
            if changes and not file.peek(1):  # no result depends on the settings that stand there
                self._start(header, about)
                return
            if changes:
                raise UserError(
                    f"{self.path}:1: holds results of other settings: {'; '.join(changes)}. "
                    "Run with the old ones, name another output folder, or delete the file to begin anew."
                )
            self._end = len(header)
            for number, line in enumerate(file, start=2):
                if line[-1:] != b"\n":
                    break
                self._load_line(number, line)
        self._cut_off()

    def _load_line(self, number: int, line: bytes) -> None:
        middle = line.find(_VALUE_START, len(_ROW_START), 40)
        digits = line[len(_ROW_START) : middle]
        if middle < 0 or not line.startswith(_ROW_START) or not line.endswith(_LINE_END) or not digits.isdigit():
            raise self._damaged(number, line)
        row = int(digits)
        if row > MAX_ROW:
            raise self._damaged(number, line, f"row {row} is over {MAX_ROW}")
        if row in self:
            raise self._damaged(number, line, f"row {row} stands in an earlier line too")
        self._make_room(row)
        self._offsets[row] = self._end
        self._end += len(line)
        self._count += 1

    def _start(self, found: bytes, about: dict[str, Any]) -> None:
        """Write the header over nothing, over what a killed process left of one, or over one without results."""
        if not (found.startswith(_HEADER_START) or _HEADER_START.startswith(found.rstrip(b"\0"))):
            raise UserError(f"{self.path}:1: not a journal; expected a file made by this program. Name another file.")
        header = b'%b%d,"about":%b%b' % (_HEADER_START, FORMAT, encode_json(about), _LINE_END)
        os.ftruncate(self._file, 0)
        try:
            _write(self._file, header, 0)
        except OSError:
            os.ftruncate(self._file, 0)
            raise
        os.fsync(self._file)
        sync_folder(os.path.dirname(os.path.abspath(self.path)))
        self._end = len(header)

    def _changes(self, header: bytes, about: dict[str, Any]) -> list[str]:
        """In what the settings of the file differ from `about`."""
        try:
            found = json.loads(header)
            version, before = found["journal"], found["about"]
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{self.path}:1: not a journal's first line; expected {_HEADER_START.decode()}{FORMAT}, ...}}. "
                "Move the file away or name another."
            ) from None
        if version != FORMAT:
            raise UserError(f"{self.path}:1: journal format {version}; expected {FORMAT}. Move the file away.")
        return _differences(before, json.loads(encode_json(about)))

    def _damaged(self, number: int, line: bytes, problem: str = "") -> UserError:
        shown = problem or f"damaged line {line[:40]!r}"
        return UserError(
            f'{self.path}:{number}: {shown}; expected {{"row":N,"value":...}}, each row once. '
            f"Delete the line (sed -i {number}d {shlex.quote(self.path)}) and run again: only its row is asked again."
        )

    def _make_room(self, row: int) -> None:
        missing = row + 1 - len(self._offsets)
        if missing > 0:
            self._offsets.frombytes(bytes(self._offsets.itemsize * max(missing, len(self._offsets) // 8)))

    def _cut_off(self) -> None:
        """Remove what stands behind the last whole line."""
        if os.fstat(self._file).st_size > self._end:
            os.ftruncate(self._file, self._end)

    def _line(self, start: int) -> bytes:
        size = 4096
        while True:
            line, newline, _ = os.pread(self._file, size, start).partition(b"\n")
            if newline or start + size >= self._end:
                return line
            size *= 4

    def _lines_before(self, offset: int) -> int:
        with open(self.path, "rb") as file:
            return sum(file.read(min(1 << 20, offset - at)).count(b"\n") for at in range(0, offset, 1 << 20))

    def _sync_now_and_then(self) -> None:
        while not self._closing.wait(SYNC_SECONDS):
            self._sync()

    def _sync(self) -> None:
        if self._unsynced:
            self._unsynced = False  # before the call: what is added during it is for the next one
            try:
                os.fsync(self._file)
            except OSError as error:
                self._sync_error = error


def _write(file: int, data: bytes, offset: int) -> None:
    """Write all of `data`; a nearly full disk takes a part and then refuses."""
    written = os.pwrite(file, data, offset)
    while written < len(data):
        written += os.pwrite(file, data[written:], offset + written)


def _holder(file: int) -> str:
    """Who holds the lock on an open file, as far as the system tells (Linux does)."""
    inode = str(os.fstat(file).st_ino)
    try:
        with open("/proc/locks") as locks:  # 1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> 0 EOF
            for words in map(str.split, locks):
                if words[1] == "FLOCK" and words[5].split(":")[-1] == inode:
                    return f"process {words[4]}"
    except (OSError, IndexError):
        pass
    return "another process"


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """What changed between two JSON values: `settings.temperature was 1.0, is now 0.7`."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        missing = _Missing()
        return [
            change
            for key in keys
            for change in _differences(before.get(key, missing), now.get(key, missing), f"{name}.{key}".lstrip("."))
        ]
    if before == now:
        return []
    return [f"{name} was {_short(before)}, is now {_short(now)}"]


class _Missing:
    def __repr__(self) -> str:
        return "not there"


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, _Missing) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
