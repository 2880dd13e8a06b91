"""What `scripts/prepare_eval_data.sh` has to fetch, and what came of it.

    python -m eval.data files gsm mmlu      # a line a file, fields between tabs; without names: every set
    python -m eval.data report gsm mmlu     # what each set is, its licence, the rows that are there

Fields of a file: set, file name, address, bytes, SHA-256, page; "-" where one is not known. The facts are in data.yaml.
"""

import csv
import gzip
import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from eval import local_data
from open_instruct.core.command import guarded
from open_instruct.core.errors import UserError


@dataclass(frozen=True)
class File:
    """A file of a set; `bytes`, `rows` and `sha256` are None where nobody has checked."""

    name: str
    url: str
    bytes: int | None
    rows: int | None
    sha256: str | None


@dataclass(frozen=True)
class DataSet:
    """The data of a benchmark, below a folder of its name."""

    name: str
    about: str
    licence: str
    page: str
    files: tuple[File, ...]


@cache
def sets() -> dict[str, DataSet]:
    """All sets, by name."""
    raw = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return {
        name: DataSet(
            name,
            one["about"],
            one["licence"],
            one["page"],
            tuple(_file(line, part["at"]) for part in one["parts"] for line in part["files"].splitlines()),
        )
        for name, one in raw.items()
    }


def chosen(names: list[str]) -> list[DataSet]:
    """The sets of these names; all, without names.

    Raises:
        UserError: there is none of that name.
    """
    for name in names:
        if name not in sets():
            raise UserError(f"no evaluation data named {name!r}; there are: {', '.join(sets())}")
    return [sets()[name] for name in dict.fromkeys(names)] or list(sets().values())


def rows_in(path: Path) -> int:
    """Rows of a file, told by its name's end: lines, items of an array, questions of SQuAD's format, rows of a table.

    Raises:
        UserError: the file is damaged.
    """
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return sum(bool(line.strip()) for line in file)
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                return sum(1 for row in csv.reader(file) if row and row[-1] != "answer" and row[0] != "Type")
        if path.suffix == ".json":
            return _items(json.loads(path.read_bytes()))
        with path.open(encoding="utf-8") as file:
            return sum(bool(line.strip()) for line in file)
    except (OSError, ValueError, EOFError, csv.Error) as error:
        raise UserError(f"{path}: cut off or damaged ({error}). Delete it, and fetch it again") from error


def _items(found: list | dict) -> int:
    if isinstance(found, dict) and isinstance(found.get("data"), list):  # SQuAD's format
        return sum(len(paragraph["qas"]) for article in found["data"] for paragraph in article["paragraphs"])
    return len(found.get("examples", found) if isinstance(found, dict) else found)


def _file(line: str, at: str) -> File:
    name, size, rows, sha256, *there = line.split()
    return File(
        name=name,
        url=at + (there[0] if there else name),
        bytes=None if size == "-" else int(size),
        rows=None if rows == "-" else int(rows),
        sha256=None if sha256 == "-" else sha256,
    )


def _print_files(names: list[str]) -> None:
    for one in chosen(names):
        for file in one.files:
            print("\t".join((one.name, file.name, file.url, str(file.bytes or "-"), file.sha256 or "-", one.page)))


def _print_report(names: list[str]) -> None:
    for one in chosen(names):
        folder = local_data.folder() / one.name
        there = [file for file in one.files if (folder / file.name).is_file()]
        found = sum(rows_in(folder / file.name) for file in there)
        expected = sum(file.rows or 0 for file in one.files)
        missing = [file.name for file in one.files if file not in there]
        print(f"  {one.about}. Licence: {one.licence}")
        print(f"  {found:,} of {expected:,} rows, {len(there)} of {len(one.files)} files")
        if missing:
            print(f"  not there: {', '.join(missing[:4])}{f' and {len(missing) - 4} more' if missing[4:] else ''}")


def _main(arguments: list[str]) -> None:
    jobs = {"files": _print_files, "report": _print_report}
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        return
    if not arguments or arguments[0] not in jobs:
        raise UserError("give `files` or `report`, and names of sets")
    jobs[arguments[0]](arguments[1:])


if __name__ == "__main__":
    guarded(_main, sys.argv[1:])
