"""Tests of `self_seq.task_driven`: the forms, `repeat`, and the script that runs it."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from open_instruct.core.records import Instruction, read_rows
from self_seq.task_driven.forms import MARK, UNCHANGED, lower_first, sequential, unchanged
from self_seq.task_driven.training_set import kept, numbered, write_set

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    {"instruction": "Sort the words.", "input": "pear\nfig", "output": "fig\npear", "idx": 7},
    {"instruction": "Name a river.", "input": "", "output": "Rhine"},
    {"instruction": "Translate it.", "input": " \n", "output": "?"},
    {"instruction": "SQL: Count the rows in Berlin.", "input": "t(a)", "output": "3"},
]


def run(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "self_seq.task_driven", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def written(rows: list[dict], folder: Path) -> list[dict]:
    (folder / "in.json").write_text(json.dumps(rows))
    done = run("--input", "in.json", "--output", "out/sit.jsonl", folder=folder)
    assert done.returncode == 0, done.stderr
    return [row for _, row in read_rows(folder / "out/sit.jsonl")]


def test_a_row_with_an_input_gets_the_task_and_both_answers(tmp_path: Path):
    rows = written(ROWS, tmp_path)
    assert rows[0] == {
        "instruction": "First repeat the input, then sort the words.",
        "input": "pear\nfig",
        "output": "pear\nfig\nfig\npear",
        "idx": 7,
        MARK: "repeat",
    }


def test_rows_without_an_input_stay_and_the_order_is_kept(tmp_path: Path):
    rows = written(ROWS, tmp_path)
    assert [row[MARK] for row in rows] == ["repeat", UNCHANGED, UNCHANGED, "repeat"]
    assert rows[1:3] == [row | {MARK: UNCHANGED} for row in ROWS[1:3]]


def test_no_row_is_another_row_and_no_given_row_is_changed():
    """The published merge builder appends one and the same object again and again."""
    given = [Instruction("Sort it.", "b a", "a b", {"tags": ["x"]}), Instruction("Name it.", "", "it", {})]
    before = copy.deepcopy(given)
    made = [sequential(given[0], {"repeat": "b a"}), unchanged(given[1])]
    assert given == before
    assert len({id(row) for row in made + given}) == 4
    assert len({id(row.extra) for row in made + given}) == 4


def test_the_answer_is_never_lost(tmp_path: Path):
    """The published paraphrase builder loses answers."""
    rows = [{"instruction": f"Sort {n}.", "input": f"{n} b", "output": f"answer {n}"} for n in range(50)]
    assert [row["output"] for row in written(rows, tmp_path)] == [f"{n} b\nanswer {n}" for n in range(50)]


@pytest.mark.parametrize(
    ("instruction", "then"),
    [
        ("Write about Paris and NASA.", "write about Paris and NASA."),  # the published builder wrote "paris and nasa"
        ("A word is missing. Find it.", "a word is missing. Find it."),
        ("I need a name for it.", "I need a name for it."),
        ("I'm lost. Help.", "I'm lost. Help."),
        ("SQL: count the rows.", "SQL: count the rows."),
        ("JavaScript code follows. Explain it.", "JavaScript code follows. Explain it."),
        ("B is larger than C. Why?", "B is larger than C. Why?"),
        ("Paris is a city. Where is Paris?", "Paris is a city. Where is Paris?"),
        ("Re-write it.", "re-write it."),
        ("Übersetze es.", "übersetze es."),
        ("翻译。", "翻译。"),
        ('"Fly" means what?', '"Fly" means what?'),
        ("", ""),
    ],
)
def test_only_a_letter_that_need_not_be_large_becomes_small(instruction: str, then: str):
    assert lower_first(instruction, Instruction(instruction, "x", "y")) == then


def test_a_name_is_known_by_the_input_too():
    row = Instruction("Ada wrote it. Which sentence says so?", "It was in 1843 that Ada wrote it.", "The first.")
    assert lower_first(row.instruction, row) == row.instruction


def test_labels_name_every_answer_and_misspell_none():
    """The published builders wrote "Raraphrase:"."""
    row = Instruction("Sort it.", "b a", "a b")
    made = sequential(row, {"paraphrase": "bee, ay", "repeat": "b a"}, labels=True)
    assert made.instruction == "First paraphrase the input, then repeat the input, then sort it."
    assert made.output == "Paraphrase:\nbee, ay\nRepetition:\nb a\nResult: a b"
    assert made.extra[MARK] == "paraphrase-repeat"


def test_the_counts_add_up_and_run_json_stands_beside(tmp_path: Path):
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    done = run("--input", "in.jsonl", "--output", "out/sit.jsonl", folder=tmp_path)
    counts = {line.split()[0]: int(line.split()[1]) for line in done.stdout.replace("rows ", "").splitlines()}
    assert counts == {"read": 4, "rewritten": 2, "kept": 2, "written": 4}
    info = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (info["status"], info["settings"]["task"]) == ("finished", "repeat")


def test_rows_to_look_at_are_counted(tmp_path: Path):
    rows = [
        {"instruction": "Sort.", "input": "b a", "output": ""},
        {"instruction": "Sing.", "input": "<noinput>", "output": "la"},
    ]
    (tmp_path / "in.json").write_text(json.dumps(rows))
    done = run("--input", "in.json", "--output", "sit.jsonl", folder=tmp_path)
    assert "1  of the rewritten ones have no answer of their own" in done.stdout
    assert "1  of the rewritten ones have words for no input as their input" in done.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "in.json:1: the file has no rows"),
        (b"not JSON", "in.json:1: not JSON"),
        (b'{"input": "a", "output": "b"}', "in.json:1: field 'instruction' is missing"),
        (b'{"instruction": "Sort.", "input": ["a"]}', "in.json:1: field 'input' is an array, not text"),
        (b'{"instruction": "Sort."}\n{"instruction": "\xff"}', "in.json:2: byte 0xff is not UTF-8"),
    ],
    ids=["empty", "not JSON", "missing field", "wrong type", "not UTF-8"],
)
def test_a_bad_file_is_one_line_with_its_place_and_nothing_is_written(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "in.json").write_bytes(content)
    done = run("--input", "in.json", "--output", "out/sit.jsonl", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out" / "sit.jsonl").exists()


def test_the_input_is_not_written_over(tmp_path: Path):
    (tmp_path / "in.jsonl").write_text(json.dumps(ROWS[0]))
    done = run("--input", "in.jsonl", "--output", "./in.jsonl", folder=tmp_path)
    assert (done.returncode, json.loads((tmp_path / "in.jsonl").read_text())) == (1, ROWS[0])


def test_an_unknown_task_names_those_there_are(tmp_path: Path):
    (tmp_path / "in.jsonl").write_text(json.dumps(ROWS[0]))
    done = run("--input", "in.jsonl", "--output", "out.jsonl", "--task", "sing", folder=tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        "error: no task named 'sing'; there are: repeat, paraphrase, translate, merge\n",
    )


def test_the_script_on_real_alpaca_rows(shared: Path, tmp_path: Path):
    """9,229 rows, of which 3,666 have an input; the script stands where the user does."""
    source = shared / "data/train/alpaca/alpaca_random_9k.json"
    script = ROOT / "self-seq/scripts/generation_repeat.sh"
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", script, source, "sit.jsonl"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"SIT_ENV": "active", "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    pairs = list(zip(read_rows(source), read_rows(tmp_path / "sit.jsonl"), strict=True))
    assert len(pairs) == 9229
    rewritten = 0
    for (_, before), (_, after) in pairs:
        if after.pop(MARK) == UNCHANGED:
            assert after == before and not before["input"]
            continue
        rewritten += 1
        start, _, then = after["instruction"].partition(", then ")
        assert (start, then.lower()) == ("First repeat the input", before["instruction"].lower())
        assert then[1:] == before["instruction"][1:]
        assert after["input"] == before["input"]
        assert after["output"] == f"{before['input']}\n{before['output']}"
    assert rewritten == 3666


def test_a_row_that_a_task_forgets_ends_the_run_and_nothing_is_written(tmp_path: Path):
    source = tmp_path / "in.json"
    source.write_text(json.dumps(ROWS))
    made = [kept(row, "not drawn") for _, row in numbered(str(source))]
    for wrong in (made[1:], [*made, made[0]]):
        for seed in (None, 1):
            with pytest.raises(RuntimeError, match="4 rows are there, and [35] were dealt with"):
                write_set(tmp_path / "sit.jsonl", str(source), wrong, seed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.json"]
    assert write_set(tmp_path / "sit.jsonl", str(source), made)["rows_written"] == 4
