"""How well our parsers read what generators have answered before: prints one JSON line for the files given.

    python -m self_seq.check_completions FILE... [--differences FILE.jsonl]

The files hold what a published run stored: the raw answers `completions` (classify) and perhaps `new_instruction`
(rewrite), and `option` and `extracted_instruction`, which that run's own parser made of them. Run it after changing a
parser: each row that we read otherwise, or cannot read, is listed on standard error with the reason.

- `rows`: rows in the files.
- `readable`: rows whose stored answers we can all read; the others would be asked again.
- `option_agreement`: share of the choices we read that equal the stored `option`; null where no file has any.
- `instruction_agreement`: share of the stored new instructions that we read as stored, but for quotes around the whole
  and for a tail (the published parser kept whatever followed the instruction). A stored text that holds the marker
  `#New Instruction#` again is no single instruction: its row is listed and not counted.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from open_instruct.core.command import guarded
from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows, write_rows
from self_seq.parse import OPTIONS, Reading, read_option, read_rewrite, without_wrapping_quotes


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored answer that we read otherwise than the run that stored it.

    Attributes:
        file, idx: which row.
        field: "option" or "instruction".
        stored, read: what each made of the answer; None where nothing was read.
        reason: why they differ.
        counted: whether it lowers the agreement.
    """

    file: str
    idx: int
    field: str
    stored: str | None
    read: str | None
    reason: str
    counted: bool


@dataclass(slots=True)
class Tally:
    """Counts over one or more files.

    Attributes:
        options_compared, options_agreed: choices that we read, and those of them that equal the stored one.
        equal, equal_but_tail, other: stored new instructions by how ours compares; "other" also where we read none.
        no_instruction: stored texts that are no single instruction.
    """

    rows: int = 0
    readable: int = 0
    options_compared: int = 0
    options_agreed: int = 0
    equal: int = 0
    equal_but_tail: int = 0
    other: int = 0
    no_instruction: int = 0

    def add(self, other: "Tally") -> None:
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)

    def to_json(self) -> dict[str, int | float | None]:
        agreed = self.equal + self.equal_but_tail
        return {
            "rows": self.rows,
            "readable": self.readable,
            "option_agreement": _share(self.options_agreed, self.options_compared),
            "instruction_agreement": _share(agreed, agreed + self.other),
        }


def main(files: list[str], differences_file: str | None) -> None:
    """Compare all files, list what differs, print the line."""
    total = Tally()
    differences = []
    for file in files:
        tally = Tally()
        for found in compare(file, tally):
            print(_line(found), file=sys.stderr)
            differences.append(asdict(found))
        print(f"{file}: {json.dumps(asdict(tally))}", file=sys.stderr)
        total.add(tally)
    if differences_file:
        write_rows(differences_file, differences)
    print(json.dumps(total.to_json()))


def compare(file: str, tally: Tally) -> Iterator[Difference]:
    """Read every stored answer of `file` anew, count in `tally`, and yield the differences.

    Raises:
        UserError: the file cannot be read, or a row lacks a field or has an unknown option.
    """
    for where, row in read_rows(file):
        tally.rows += 1
        idx = row.get("idx", tally.rows - 1)
        readings = []
        if "completions" in row:
            stored, reading = _stored_option(row, where), read_option(_text(row, "completions", where))
            readings.append(reading)
            tally.options_compared += reading.value is not None
            tally.options_agreed += reading.value == stored
            if reading.value != stored:
                reason = reading.reason or _why_another_option(row["completions"], stored, reading.value)
                yield Difference(file, idx, "option", stored, reading.value, reason, counted=reading.value is not None)
        if "extracted_instruction" in row:
            stored = None if row["extracted_instruction"] is None else _text(row, "extracted_instruction", where)
            original = _text(row, "instruction", where)
            reading = read_rewrite(_text(row, "new_instruction", where), original)
            readings.append(reading)
            kind, reason = _compare(stored, reading)
            setattr(tally, kind, getattr(tally, kind) + 1)
            if reason:
                yield Difference(file, idx, "instruction", stored, reading.value, reason, counted=kind == "other")
        if not readings:
            raise UserError(
                f"{where}: no stored answer; expected 'completions' with 'option', or 'new_instruction' with "
                "'extracted_instruction'"
            )
        tally.readable += all(reading.value is not None for reading in readings)


def _stored_option(row: dict, where: str) -> str:
    option = _text(row, "option", where)
    if option not in OPTIONS:
        raise UserError(f"{where}: option {option!r} is unknown; expected one of {', '.join(OPTIONS)}")
    return option


def _text(row: dict, name: str, where: str) -> str:
    if not isinstance(row.get(name), str):
        problem = f"is {json.dumps(row[name])[:40]}, not text" if name in row else "is missing"
        raise UserError(f"{where}: field {name!r} {problem}; expected the rows of a published generation run")
    return row[name]


def _why_another_option(text: str, stored: str, read: str) -> str:
    if re.search(rf"\b[Oo]ption {stored}\b", text):
        return f"the text states {read}; the stored {stored} is named in passing"
    return f"the text states {read}, and {stored} nowhere"


_MARKER_LEFT = re.compile(r"#+\s*new\s+instruction\s*#*|^[\s*_>]*new\s+instruction\s*:", re.IGNORECASE | re.MULTILINE)
_TAIL = re.compile(r"[\s\"”'’]*(?:$|#{3,}|\n[ \t]*\n)")  # its closing quote, then the end mark or another paragraph


def _compare(stored: str | None, reading: Reading) -> tuple[str, str]:
    """What kind of row this is (a count in `Tally`) and why the two differ ("" when they do not)."""
    unreadable = f"unreadable: {reading.reason}" if reading.value is None else ""
    if stored is None:
        return ("no_instruction", "") if unreadable else ("other", "the stored run read nothing")
    if markers := len(_MARKER_LEFT.findall(stored)):
        again = (
            f"the stored text is no single instruction: it holds the marker {markers} more time{'s' * (markers > 1)}"
        )
        return "no_instruction", f"{unreadable}; {again}" if unreadable else again
    if unreadable:
        return "other", unreadable
    if without_wrapping_quotes(stored) == reading.value:
        return "equal", ""
    start = stored.find(reading.value)
    if start >= 0 and not stored[:start].strip(" \n\"“'‘") and _TAIL.match(stored, start + len(reading.value)):
        return "equal_but_tail", ""
    return "other", "another text"


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _line(found: Difference) -> str:
    def short(text: str | None) -> str:
        return "nothing" if text is None else repr(text if len(text) <= 70 else f"{text[:67]}...")

    kind = "" if found.counted else " (not counted)"
    return (
        f"{found.file}: idx {found.idx}: {found.field}: stored {short(found.stored)}, read {short(found.read)}: "
        f"{found.reason}{kind}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m self_seq.check_completions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="stored completions")
    parser.add_argument("--differences", metavar="FILE", help="also write the rows that differ to this JSONL file")
    given = parser.parse_args()
    guarded(main, given.files, given.differences)
