"""The files of a source: finding them in a folder, and reading their rows, one at a time."""

import fnmatch
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows
from open_instruct.reformat.base import File, Job, Row, Source

MAX_ROW_BYTES = 64_000_000  # a tree of OASST1 or a conversation of ShareGPT may be of several megabytes
_DATA = (".json", ".jsonl", ".gz", ".zip", ".parquet", ".tsv")
_OURS = ("run.json", "rejected.jsonl")  # of our own commands, should they write beside the data


def find(name: str, source: Source, place: Path) -> tuple[list[Path], str]:
    """The files of `source` at `place`: a file is taken as it is, a folder is searched for the published names.

    Returns:
        The files, in the source's order, and a note for the user, where other files than the published ones are taken.

    Raises:
        UserError: nothing is there, or only some of the files.
    """
    if not place.exists():
        raise UserError(
            f"{place}: no such file or folder; expected {_expected(source)}. Get it from {source.page}, "
            f"or run scripts/prepare_train_data.sh {name}"
        )
    if place.is_file():
        return [place], ""
    found = [_matches(file, place) for file in source.files]
    if all(found):
        return [path for paths in found for path in paths], ""
    missing = [file.name for file, paths in zip(source.files, found, strict=True) if not paths]
    if any(found):
        raise UserError(f"{place}: {', '.join(missing)} is missing; expected {_expected(source)}. Download it again")
    others = sorted(path for path in place.iterdir() if path.name.endswith(_DATA) and path.name not in _OURS)
    if not others:
        raise UserError(f"{place}: holds no data; expected {_expected(source)}. Get it from {source.page}")
    return others, f"{place} holds {_shown(others)} instead of the published {_expected(source)}"


def rows(path: Path) -> Iterator[Row]:
    """The rows of a JSON, JSONL, .gz, .zip or Parquet file, told by the name's end; a few of them in memory.

    Raises:
        UserError: the file is cut off, damaged or of another kind; the line says where.
    """
    if path.name.endswith(".zip"):
        return _zip_rows(path)
    if path.name.endswith(".parquet"):
        return _parquet_rows(path)
    if path.name.endswith(".tsv"):
        raise UserError(f"{path}: a table; expected JSON rows. This source has no tables")
    return read_rows(path, max_row_bytes=MAX_ROW_BYTES)


def drawn_rows(source: Source, path: Path, job: Job, read: Callable[[Path], Iterator[Row]] = rows) -> Iterator[Row]:
    """The rows of a file that are to be converted, in its order. Where rows are drawn it is read twice: once to count.

    Args:
        source: says how many rows the published recipe draws of the file.
        path: the file.
        job: its `draw` goes before the source's; its `not_drawn` grows.
        read: reads the file's rows.
    """
    file = _spec(source, path)
    wanted = (file.draw if file else 0) if job.draw is None else job.draw
    total = sum(1 for _ in read(path)) if wanted else 0
    if total <= wanted:
        yield from read(path)
        return
    job.not_drawn += total - wanted
    drawn = iter(sorted(job.random.sample(range(total), wanted)))
    following = next(drawn)
    for number, row in enumerate(read(path)):
        if number == following:
            yield row
            following = next(drawn, None)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open an archive.

    Raises:
        UserError: it is cut off or no archive.
    """
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{path}: cut off or no zip file ({error}). Delete it and download it again") from error


def read_member(path: Path, archive: zipfile.ZipFile, member: str) -> bytes:
    """One file of an archive, whole.

    Raises:
        UserError: it is damaged.
    """
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"{path}: {member} is damaged ({error}). Delete the archive and download it again") from error


def _zip_rows(path: Path) -> Iterator[Row]:
    with open_zip(path) as archive, tempfile.TemporaryDirectory() as folder:
        members = [member for member in archive.namelist() if member.endswith((".json", ".jsonl"))]
        members = [member for member in members if not member.startswith("__MACOSX")]
        if not members:
            raise UserError(f"{path}: holds no JSON or JSONL file; is it the right archive?")
        for member in members:
            unpacked = Path(folder) / "rows"
            try:
                with archive.open(member) as packed, unpacked.open("wb") as file:
                    shutil.copyfileobj(packed, file)
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise UserError(f"{path}: {member} is damaged ({error}). Download the archive again") from error
            try:
                for where, row in read_rows(unpacked, max_row_bytes=MAX_ROW_BYTES):
                    yield where.replace(str(unpacked), f"{path}/{member}", 1), row
            except UserError as error:
                raise UserError(str(error).replace(str(unpacked), f"{path}/{member}", 1)) from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowException, parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}:{number}", row
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cut off or no Parquet file ({reason}). Delete it and download it again") from error


def _matches(file: File, folder: Path) -> list[Path]:
    """The files of that name, or what the archive of that name holds, right in the folder or else anywhere below it."""
    for pattern in filter(None, (file.name, file.holds)):
        found = sorted(folder.glob(pattern)) or sorted(folder.rglob(pattern))
        found = [path for path in found if path.name not in _OURS]
        if len(found) > 1 and "*" not in pattern:
            raise UserError(f"{folder}: {pattern} is there {len(found)} times ({_shown(found)}); name one with --input")
        if found:
            return found
    return []


def _spec(source: Source, path: Path) -> File | None:
    """What the source says of a file: by its name, or because it has only this one; None for another."""
    for file in source.files:
        if fnmatch.fnmatchcase(path.name, file.name):
            return file
    return source.files[0] if len(source.files) == 1 and "*" not in source.files[0].name else None


def _expected(source: Source) -> str:
    return ", ".join(file.name for file in source.files)


def _shown(paths: list[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:3])
    return shown + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
