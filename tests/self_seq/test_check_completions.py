"""Tests of `self_seq.check_completions`: its figures on real files, its list of differences, and bad files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from self_seq.check_completions import Tally, compare

GOOD = {"idx": 0, "instruction": "Name a river.", "completions": "So the option is: B.###", "option": "B"}
REWRITE = {
    "new_instruction": "#New Instruction#: Think, then name a river.###",
    "extracted_instruction": "Think, then name a river.",
}


def write(folder: Path, *rows: dict) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def check(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "self_seq.check_completions", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_prints_one_json_line_over_all_files(tmp_path: Path):
    first = write(tmp_path, GOOD | REWRITE, GOOD | {"idx": 1, "option": "C"}, GOOD | {"idx": 2, "completions": "Hm."})
    second = tmp_path / "second.json"
    second.write_text(json.dumps([GOOD | {"option": "B"}]))
    done = check(first, second, folder=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "rows": 4,
        "readable": 3,
        "option_agreement": round(2 / 3, 6),
        "instruction_agreement": 1.0,
    }
    assert done.stdout.count("\n") == 1


def test_lists_each_difference_with_its_reason(tmp_path: Path):
    several = "first###\n\n#New Instruction#: second"
    file = write(
        tmp_path,
        GOOD | {"idx": 10, "completions": "This (Option C) helps.\nSo the option is: B.", "option": "C"},
        GOOD | {"idx": 11, "completions": "I would pick A or D.", "option": "A"},
        GOOD | {"idx": 12} | REWRITE | {"extracted_instruction": "Name a lake."},
        GOOD | {"idx": 13} | REWRITE | {"extracted_instruction": several},
        GOOD | {"idx": 14} | REWRITE | {"new_instruction": "No."},
    )
    done = check(file, "--differences", tmp_path / "differences.jsonl", folder=tmp_path)
    listed = [json.loads(line) for line in (tmp_path / "differences.jsonl").read_text().splitlines()]
    assert [(row["idx"], row["field"], row["stored"], row["read"], row["counted"]) for row in listed] == [
        (10, "option", "C", "B", True),
        (11, "option", "A", None, False),
        (12, "instruction", "Name a lake.", "Think, then name a river.", True),
        (13, "instruction", several, "Think, then name a river.", False),
        (14, "instruction", "Think, then name a river.", None, True),
    ]
    for row in listed:
        assert f"idx {row['idx']}: " in done.stderr
        assert row["reason"] in done.stderr
    assert listed[0]["reason"] == "the text states B; the stored C is named in passing"
    assert listed[1]["reason"] == "names several choices: A, D"
    assert listed[4]["reason"] == "unreadable: holds no new instruction"
    assert json.loads(done.stdout)["instruction_agreement"] == 0.0


@pytest.mark.parametrize(
    "stored",
    [
        "“Think, then name a river.”",
        "“Think, then name a river.”###\n\nExplanation: It has two tasks.",
        '"Think, then name a river."\n\nHere\'s the step-by-step thought process:\n\n1. Think.',
    ],
)
def test_quotes_and_what_follows_the_instruction_do_not_make_a_difference(tmp_path: Path, stored: str):
    tally = Tally()
    assert list(compare(str(write(tmp_path, GOOD | REWRITE | {"extracted_instruction": stored})), tally)) == []
    assert tally.to_json()["instruction_agreement"] == 1.0


@pytest.mark.parametrize(
    "stored", ["Think, then name a river. Then, its source.", "Think", "First. Think, then name a river."]
)
def test_more_or_less_of_the_instruction_is_a_difference(tmp_path: Path, stored: str):
    (found,) = compare(str(write(tmp_path, GOOD | REWRITE | {"extracted_instruction": stored})), Tally())
    assert found.reason == "another text"


def test_shares_are_null_where_no_file_has_the_field(tmp_path: Path):
    done = check(write(tmp_path, GOOD), folder=tmp_path)
    assert json.loads(done.stdout)["instruction_agreement"] is None


def test_reads_what_real_generators_wrote(shared: Path):
    """At least 99 % of the choices and 97 % of the new instructions, on every file there is."""
    files = sorted((shared / "data" / "generation").glob("*/*.jsonl"))
    assert len(files) == 30
    for file in files:
        tally = Tally()
        for found in compare(str(file), tally):
            assert found.reason
        figures = tally.to_json()
        assert figures["rows"] == 100
        assert figures["readable"] >= 96, file
        assert figures["option_agreement"] >= 0.99, file
        assert figures["instruction_agreement"] is None or figures["instruction_agreement"] >= 0.97, file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "rows.jsonl:1: the file has no rows"),
        (b"So the option is: B.", "rows.jsonl:1: not JSON"),
        (b'{"instruction": "\xff"}\n', "rows.jsonl:1: byte 0xff is not UTF-8"),
        (json.dumps(GOOD).encode() + b'\n{"idx": 1}\n', "rows.jsonl:2: no stored answer"),
        (
            json.dumps(GOOD | {"option": "E"}).encode(),
            "rows.jsonl:1: option 'E' is unknown; expected one of A, B, C, D",
        ),
        (json.dumps(GOOD | {"completions": None}).encode(), "rows.jsonl:1: field 'completions' is null, not text"),
        (b'{"completions": "B"}', "rows.jsonl:1: field 'option' is missing"),
        (b'{"extracted_instruction": "Do it."}', "rows.jsonl:1: field 'instruction' is missing"),
    ],
    ids=["empty", "not JSON", "not UTF-8", "no answer", "unknown option", "null", "no option", "no instruction"],
)
def test_a_bad_file_is_one_line_with_its_place(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "rows.jsonl").write_bytes(content)
    done = check("rows.jsonl", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def test_a_missing_file_is_one_line(tmp_path: Path):
    done = check("nowhere.jsonl", folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: nowhere.jsonl: no such file")
