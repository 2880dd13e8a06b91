"""What `openai_batch` remembers on the disk: which request is in which batch, and the answers fetched so far.

One SQLite file in the folder, so that a kill at any moment leaves a whole state, and ten million requests take no
memory. Beside it lie the chunks (`NUMBER.jsonl`): the requests of the batches that have not ended. One process at a
time has it.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from open_instruct.core.errors import UserError, disk_error

_TABLES = """
CREATE TABLE IF NOT EXISTS batch (number INTEGER PRIMARY KEY, file_id TEXT, batch_id TEXT, ended INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS request (
    name TEXT PRIMARY KEY, batch INTEGER, tries INTEGER NOT NULL, answer TEXT, given TEXT
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Known:
    """A request that was asked before.

    Attributes:
        batch: the number of the batch that it is waiting in; None if it waits in none.
        answer: what was fetched for it; None if nothing was.
        given: the run that it was last given out in.
        tries: batches that ended without an answer to it.
    """

    batch: int | None
    answer: str | None
    given: str | None
    tries: int


class BatchState:
    """Args:
        folder: made if missing.

    Raises:
        UserError: another process has it, or it cannot be written.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, folder) from error
        self._path = self.folder / "state.sqlite"
        try:
            self._base = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            self._base.execute("PRAGMA locking_mode=EXCLUSIVE")  # held until the process ends, however it ends
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("BEGIN EXCLUSIVE")
            for table in _TABLES.split(";"):
                self._base.execute(table)
            self._base.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._error(error) from error
        self._tidy()

    def close(self) -> None:
        self._base.close()

    def find(self, name: str) -> Known | None:
        """What is known of a request; None if it is new."""
        row = self._base.execute("SELECT batch, answer, given, tries FROM request WHERE name = ?", [name]).fetchone()
        return None if row is None else Known(*row)

    def chunk(self, number: int) -> Path:
        """The file with the requests of a batch."""
        return self.folder / f"{number}.jsonl"

    def add_batch(self, chunk: Path, names: Iterable[str]) -> int:
        """A new batch with these requests; its number. `chunk` gets its name for good."""
        with self._change():
            number = self._base.execute("INSERT INTO batch (ended) VALUES (0)").lastrowid
            self._base.executemany(
                "INSERT INTO request (name, batch, tries) VALUES (?, ?, 0) "
                "ON CONFLICT (name) DO UPDATE SET batch = excluded.batch, answer = NULL, given = NULL",
                ((name, number) for name in names),
            )
            os.replace(chunk, self.chunk(number))
        return number

    def ids(self, number: int) -> tuple[str | None, str | None]:
        """The server's ids of a batch: of its file and its own, as far as they are known."""
        return self._base.execute("SELECT file_id, batch_id FROM batch WHERE number = ?", [number]).fetchone()

    def names(self, number: int) -> set[str]:
        """The requests that wait in a batch."""
        return {name for (name,) in self._base.execute("SELECT name FROM request WHERE batch = ?", [number])}

    def set_file(self, number: int, file_id: str | None) -> None:
        with self._change():
            self._base.execute("UPDATE batch SET file_id = ? WHERE number = ?", [file_id, number])

    def set_batch(self, number: int, batch_id: str) -> None:
        with self._change():
            self._base.execute("UPDATE batch SET batch_id = ? WHERE number = ?", [batch_id, number])

    def end(self, number: int, answers: dict[str, str], counts: bool) -> list[str]:
        """Keep what a batch brought.

        Args:
            answers: by the requests' names.
            counts: whether it was a try for those that got none.

        Returns:
            The names of the requests that got none.
        """
        with self._change():
            self._base.executemany(
                "UPDATE request SET answer = ?, batch = NULL WHERE name = ? AND batch = ?",
                ((answer, name, number) for name, answer in answers.items()),
            )
            rest = [name for (name,) in self._base.execute("SELECT name FROM request WHERE batch = ?", [number])]
            self._base.executemany(
                "UPDATE request SET batch = NULL, tries = tries + ? WHERE name = ?",
                ((int(counts), name) for name in rest),
            )
            self._base.execute("UPDATE batch SET ended = 1 WHERE number = ?", [number])
        return rest

    def give(self, names: Iterable[str], run: str) -> None:
        """The answers to these requests, or the news that there is none, were given out in this run."""
        with self._change():
            self._base.executemany(
                "UPDATE request SET given = ?, tries = 0 WHERE name = ?", ((run, name) for name in names)
            )

    def drop_chunk(self, number: int) -> None:
        """The requests of an ended batch are not needed any more."""
        self.chunk(number).unlink(missing_ok=True)

    def _tidy(self) -> None:
        """Remove what a killed process left: chunks that were never whole, and those of ended batches."""
        needed = {f"{n}.jsonl" for (n,) in self._base.execute("SELECT number FROM batch WHERE ended = 0")}
        for chunk in [*self.folder.glob("*.part"), *self.folder.glob("*.jsonl")]:
            if chunk.name not in needed:
                chunk.unlink(missing_ok=True)

    @contextmanager
    def _change(self) -> Iterator[None]:
        """All of it or nothing."""
        try:
            self._base.execute("BEGIN")
            yield
            self._base.execute("COMMIT")
        except BaseException as error:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self._error(error) from error
            raise

    def _error(self, error: sqlite3.Error) -> UserError:
        if "locked" in str(error):
            return UserError(f"{self.folder}: another process works with this state. Wait for it, or name another one")
        if "full" in str(error):
            return UserError(
                f"{self._path}: the disk is full. What is finished is kept; make room and run the same command again."
            )
        return UserError(
            f"{self._path}: cannot be used: {error}. Check its permissions; if it is damaged, remove the folder: "
            "batches that are on their way are then asked and paid again"
        )
