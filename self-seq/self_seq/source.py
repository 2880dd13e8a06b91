"""The input of stage 1: which of its rows a run is about, each checked once.

A million rows take some seconds to read and check, so the folder remembers which input was found whole and how many
rows it has: a run that goes on does not read it twice before it starts.
"""

import hashlib
import json
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction, read_rows, write_json
from self_seq.settings import Settings
from self_seq.steps import NumberedRows

CHECKED = "input.json"


class Source:
    """The rows of `settings.input_file` up to `max_rows`, or `sample_rows` of these, drawn by the seed.

    Attributes:
        digest: names the file's content.
        count: rows of the run.

    Raises:
        UserError: the file cannot be read again and again, or a row is no instruction record.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.input_file
        if Path(self._path).is_fifo():
            raise UserError(f"{self._path}: is a pipe, but every step reads the rows anew; write them to a file first.")
        self._limit = None if settings.max_rows < 0 else settings.max_rows
        self._sample: set[int] | None = None
        self.settings = {
            "max_rows": settings.max_rows,
            "sample_rows": settings.sample_rows,
            "near_duplicates": settings.near_duplicates,
        }
        self.digest = digest(self._path) if Path(self._path).is_file() else ""
        remembered = Path(settings.output_dir) / CHECKED
        about = {"digest": self.digest, "max_rows": settings.max_rows}
        found = _read(remembered)
        if found.get("about") == about and isinstance(found.get("rows"), int):
            self.count = found["rows"]
        else:
            self.count = sum(1 for _ in self.rows())
            if not settings.dry_run:
                write_json(remembered, {"about": about, "rows": self.count})
        if 0 < settings.sample_rows < self.count:
            self._sample = set(Random(settings.seed).sample(range(self.count), settings.sample_rows))
            self.count = settings.sample_rows

    def rows(self) -> NumberedRows:
        """The rows with their numbers in the file."""
        for number, (where, content) in enumerate(islice(read_rows(self._path), self._limit)):
            if self._sample is None or number in self._sample:
                yield number, Instruction.from_json(content, where)


def digest(path: str) -> str:
    """Names a file's content, so that a journal never mixes the answers of two inputs."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
