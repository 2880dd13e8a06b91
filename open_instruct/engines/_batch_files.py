"""The files of the Batch API, one JSON object a line: what goes up, and what comes down.

A request's name (`custom_id`) is a digest of what is sent, and its key.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from open_instruct.core.errors import disk_error
from open_instruct.engines._batch_state import BatchState

ENDPOINT = "/v1/chat/completions"

_NAME = re.compile(r"[0-9a-f]{32}-(-?\d{1,30})")


def name_of(body: bytes, key: int) -> str:
    """The name of the request that sends `body`."""
    return f"{hashlib.sha256(body).hexdigest()[:32]}-{key}"


class Chunk:
    """The requests of the next batch: written to the disk as they come.

    Attributes:
        names: how often each request was asked.
        size: bytes.
    """

    def __init__(self, state: BatchState) -> None:
        self._path = state.folder / "next.part"
        self._file: BinaryIO | None = None
        self.names: Counter[str] = Counter()
        self.size = 0

    def add(self, name: str, line: bytes) -> None:
        self.names[name] += 1
        if self.names[name] > 1:
            return
        try:
            if self._file is None:
                self._file = self._path.open("wb")
            self._file.write(line)
        except OSError as error:
            raise disk_error(error, self._path) from error
        self.size += len(line)

    def whole(self) -> Path:
        """The file with all of them."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise disk_error(error, self._path) from error
        return self._path

    def empty(self) -> None:
        self._file, self.names, self.size = None, Counter(), 0

    def discard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._path.unlink(missing_ok=True)


def line_of(name: str, body: bytes) -> bytes:
    return b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}\n' % (name.encode(), ENDPOINT.encode(), body)


def lines_of(state: BatchState, number: int, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Those of a chunk's lines that ask these requests."""
    wanted = set(names)
    if not wanted or not state.chunk(number).is_file():
        return
    with state.chunk(number).open("rb") as file:
        for line in file:
            name = line.split(b'"', 4)[3].decode()
            if name in wanted:
                yield name, line


def read_line(line: bytes) -> tuple[str, int, dict[str, Any]] | None:
    """A line of an output or error file: the request's name, its key, and the line; None if it cannot be read."""
    try:
        told = json.loads(line)
        return told["custom_id"], int(_NAME.fullmatch(told["custom_id"])[1]), told
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
