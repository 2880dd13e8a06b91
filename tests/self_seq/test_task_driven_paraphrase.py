"""Tests of `self_seq.task_driven` with an engine: `paraphrase` and `merge`.

The published builders' faults have tests here. The answers are stored ones, handed out by the engine `replay`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from open_instruct.core.records import Instruction, read_instructions, read_rows
from self_seq.prompts import FOLDER, load_prompt
from self_seq.task_driven.forms import MARK, UNCHANGED

ROOT = Path(__file__).resolve().parents[2]


def row(number: int, given_input: str | None = None) -> dict:
    """A row like no other; every third has no input."""
    text = ("" if number % 3 == 2 else f"text {number}") if given_input is None else given_input
    return {"instruction": f"Count the letters of {number}.", "input": text, "output": f"answer {number}"}


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answers(path: Path, rows: list[dict], **other: dict) -> Path:
    """Stored paraphrases; `other` replaces those of single rows: r4={"text": ""}."""
    lines = [
        {"key": n, "step": "paraphrase", "text": f"other words {n}"} | other.get(f"r{n}", {}) for n in range(len(rows))
    ]
    return write(path, lines)


def command(task: str, *flags: str | Path) -> list[str]:
    engine = ["--engine", "replay", "--engine_options", "files=answers.jsonl"]
    files = ["--task", task, "--input", "in.jsonl", "--output", "out/sit.jsonl"]
    return [sys.executable, "-m", "self_seq.task_driven", *files, *engine, *map(str, flags)]


def run(task: str, folder: Path, *flags: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(command(task, *flags), capture_output=True, text=True, cwd=folder)


def made(task: str, folder: Path, *flags: str | Path) -> list[dict]:
    done = run(task, folder, *flags)
    assert done.returncode == 0, done.stderr
    return [row for _, row in read_rows(folder / "out/sit.jsonl")]


def rejected(folder: Path) -> list[dict]:
    return [row for _, row in read_rows(folder / "out/sit.rejected.jsonl", may_be_empty=True)]


def test_the_target_is_the_paraphrase_and_then_the_answer(tmp_path: Path):
    rows = [row(n) for n in range(6)]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows)
    result = made("paraphrase", tmp_path)
    assert result[4] == {
        "instruction": "First paraphrase the input, then count the letters of 4.",
        "input": "text 4",
        "output": "other words 4\nanswer 4",
        MARK: "paraphrase",
    }
    assert [one[MARK] for one in result] == ["paraphrase", "paraphrase", UNCHANGED] * 2
    assert result[2] == rows[2] | {MARK: UNCHANGED}
    assert rejected(tmp_path) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"text": "  \n"}, "empty answer"),
        ({"text": '""'}, "empty answer"),
        ({"text": "Text  1\n"}, "the paraphrase equals the input"),
        ({"text": '"text 1"'}, "the paraphrase equals the input"),
        ({"text": "other wo", "finish_reason": "length"}, "cut off at the token limit"),
        ({"text": "", "finish_reason": "error", "error": "prompt too long"}, "prompt too long"),
    ],
    ids=["empty", "quotes around nothing", "equal", "equal but for quotes", "cut off", "error"],
)
def test_a_row_without_a_paraphrase_stays_and_is_listed(tmp_path: Path, answer: dict, reason: str):
    rows = [row(n) for n in range(6)]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows, r1=answer)
    result = made("paraphrase", tmp_path)
    assert result[1] == rows[1] | {MARK: UNCHANGED}
    (line,) = rejected(tmp_path)
    assert (line["row"], line["reason"], line["written"]) == (1, reason, True)
    assert (line["answer"], line["input"]) == (answer["text"], "text 1")
    counts = json.loads((tmp_path / "out/run.json").read_text())["results"]
    assert counts["rows_read"] == counts["rows_written"] == 6
    assert (counts["rewritten_paraphrase"], counts["rows_kept"], counts["rows_rejected"]) == (3, 3, 1)


def test_quotes_around_an_answer_go_unless_the_input_has_them(tmp_path: Path):
    rows = [row(0), row(1, '"text 1"')]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows, r0={"text": '"words"'}, r1={"text": '"words"'})
    assert [one["output"].split("\n")[0] for one in made("paraphrase", tmp_path)] == ["words", '"words"']


def test_so_many_rows_are_drawn_as_were_asked_for(tmp_path: Path):
    """The published builder counted from 1,000 down to 0 and took 1,001."""
    rows = [row(n) for n in range(60)]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows)
    ten = {n for n, one in enumerate(made("paraphrase", tmp_path, "--rows", 10)) if one[MARK] == "paraphrase"}
    assert len(ten) == 10
    journal = tmp_path / "out/sit.paraphrases.journal.jsonl"
    assert len(journal.read_text().splitlines()) == 11
    # Eleven are the ten and one more, so nothing is asked twice.
    eleven = {n for n, one in enumerate(made("paraphrase", tmp_path, "--rows", 11)) if one[MARK] == "paraphrase"}
    assert len(eleven) == 11 and ten < eleven
    assert len(journal.read_text().splitlines()) == 12


def test_a_refusal_is_no_paraphrase_but_a_refusal_may_be_paraphrased(tmp_path: Path):
    refusal = "I'm sorry, but I cannot help with that request."
    rows = [row(0), row(1, "I am sorry, but I can't assist with that.")]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows, r0={"text": refusal}, r1={"text": refusal})
    assert [one[MARK] for one in made("paraphrase", tmp_path)] == [UNCHANGED, "paraphrase"]
    (line,) = rejected(tmp_path)
    assert line["row"] == 0 and line["reason"].startswith("refuses to answer")


@pytest.mark.parametrize(("rows", "message"), [(0, "at least 1"), (3, "2 rows have an input"), (-2, "at least 1")])
def test_a_number_of_rows_that_cannot_be_is_refused(tmp_path: Path, rows: int, message: str):
    given = [row(n) for n in range(3)]
    write(tmp_path / "in.jsonl", given)
    answers(tmp_path / "answers.jsonl", given)
    done = run("paraphrase", tmp_path, "--rows", rows)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_words_for_no_input_are_not_paraphrased(tmp_path: Path):
    rows = [row(0), row(1, "<noinput>"), row(2, "N/A")]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows)
    assert [one[MARK] for one in made("paraphrase", tmp_path)] == ["paraphrase", UNCHANGED, UNCHANGED]


def test_a_run_without_a_single_paraphrase_fails(tmp_path: Path):
    rows = [row(n) for n in range(3)]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows, r0={"text": ""}, r1={"text": ""})
    done = run("paraphrase", tmp_path)
    assert done.returncode == 1
    assert "none of the 2 rows got a paraphrase; the most frequent reason, 2 times: empty answer" in done.stderr
    assert len(rejected(tmp_path)) == 2


def test_another_prompt_or_input_is_refused_and_nothing_is_written_over(tmp_path: Path):
    rows = [row(n) for n in range(6)]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows)
    before = made("paraphrase", tmp_path)
    write(tmp_path / "in.jsonl", rows[:5])
    done = run("paraphrase", tmp_path)
    assert done.returncode == 1 and "holds results of other settings: input was" in done.stderr
    assert [one for _, one in read_rows(tmp_path / "out/sit.jsonl")] == before
    assert json.loads((tmp_path / "out/run.json").read_text())["status"] == "finished"


def test_the_prompt_shows_the_input_alone_and_asks_for_nothing_else():
    prompt = load_prompt(FOLDER, "paraphrase")
    system, *examples, last = prompt.fill(0, Instruction.from_json(row(4, "Who {input} wrote it?"), "here:1"))
    assert (system["role"], last) == ("system", {"role": "user", "content": "Who {input} wrote it?"})
    assert len(examples) == 6
    assert all(one["content"].strip() for one in examples)


# --- merge

SIZES = ("--repeat_rows", 5, "--paraphrase_rows", 6, "--paraphrase_repeat_rows", 7, "--plain_rows", 12)


@pytest.fixture
def merged(tmp_path: Path) -> list[dict]:
    """60 rows, 40 with an input, merged."""
    rows = [row(n) for n in range(60)]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows)
    return made("merge", tmp_path, *SIZES)


def test_the_kinds_have_their_sizes_and_no_row_is_used_twice(merged: list[dict]):
    kinds = Counter(one[MARK] for one in merged)
    assert kinds == {"repeat": 5, "paraphrase": 6, "paraphrase-repeat": 7, "repeat-paraphrase": 22, UNCHANGED: 12}
    assert len({one["idx"] for one in merged}) == len(merged) == 52


def test_no_merged_row_is_the_last_one_again(merged: list[dict]):
    """The published builder appended one and the same dict in a loop: every row became the last one."""
    assert len({one["instruction"] for one in merged}) == len(merged)
    assert len({one["output"] for one in merged}) == len(merged)


def test_every_merged_row_holds_all_its_answers_in_their_order(merged: list[dict]):
    """The published builders lost answers."""
    for one in merged:
        n = one["idx"]
        parts = {"repeat": f"text {n}", "paraphrase": f"other words {n}"}
        names = [] if one[MARK] == UNCHANGED else one[MARK].split("-")
        assert one["output"] == "\n".join([*(parts[name] for name in names), f"answer {n}"])
        assert one["input"] == row(n)["input"]
    kinds = {one[MARK]: one["instruction"].rpartition(", then count")[0] for one in merged}
    assert kinds["repeat-paraphrase"] == "First repeat the input, then paraphrase the input"
    assert kinds["paraphrase-repeat"] == "First paraphrase the input, then repeat the input"


def test_plain_rows_over_the_number_are_listed(merged: list[dict], tmp_path: Path):
    left_out = rejected(tmp_path)
    assert len(left_out) == 8 and not any(one["written"] for one in left_out)
    assert {one["reason"] for one in left_out} == {"more plain rows than --plain_rows 12"}
    assert sorted([one["idx"] for one in merged] + [one["row"] for one in left_out]) == list(range(60))


def test_the_order_is_shuffled_by_the_seed(merged: list[dict], tmp_path: Path):
    again = tmp_path / "again"
    again.mkdir()
    write(again / "in.jsonl", [row(n) for n in range(60)])
    (again / "answers.jsonl").write_bytes((tmp_path / "answers.jsonl").read_bytes())
    assert made("merge", again, *SIZES) == merged
    assert [one["idx"] for one in merged] != sorted(one["idx"] for one in merged)
    (again / "out/sit.paraphrases.journal.jsonl").unlink()
    other = made("merge", again, *SIZES, "--seed", 7)
    assert [one["idx"] for one in other] != [one["idx"] for one in merged]


def test_a_merged_row_without_a_paraphrase_stays_and_is_counted(tmp_path: Path):
    rows = [row(n, f"text {n}") for n in range(20)]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows, **{f"r{n}": {"text": ""} for n in range(0, 20, 2)})
    result = made("merge", tmp_path, *SIZES)
    assert sorted(one["idx"] for one in result) == list(range(20))
    listed = {one["row"] for one in rejected(tmp_path)}
    assert listed == {one["idx"] for one in result if one[MARK] == UNCHANGED}
    assert listed and all(n % 2 == 0 for n in listed)
    assert sum(one[MARK] == "repeat" for one in result) == 5  # these need none


def test_too_few_rows_with_an_input_are_told(tmp_path: Path):
    rows = [row(n) for n in range(9)]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows)
    done = run("merge", tmp_path)
    assert done.returncode == 1
    assert "6 rows have an input, and --repeat_rows and --paraphrase_rows ask for 8,000" in done.stderr


def test_every_module_of_the_package_runs_without_an_undefined_name():
    """The published builders use `openai` and `data_para`, which no line defines."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "F", "--no-cache", ROOT / "self-seq/self_seq/task_driven"],
        capture_output=True,
        text=True,
    )
    if "No module named" in done.stderr:
        pytest.skip("needs ruff")
    assert done.returncode == 0, done.stdout


# --- real rows


def killed_in_the_middle(folder: Path, task: str, at_least: int, *flags: str | Path) -> int:
    """Start the run, kill it once its journal holds so many rows, and return how many it held."""
    journal = folder / "out/sit.paraphrases.journal.jsonl"
    with subprocess.Popen(
        command(task, *flags), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as one:
        while one.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > at_least):
            time.sleep(0.002)
        one.send_signal(signal.SIGKILL)
    return journal.read_bytes().count(b"\n") - 1


def test_a_kill_loses_nothing(shared: Path, tmp_path: Path):
    """Real Alpaca rows; killed three times, then let go on: the same files as of a run that nobody killed."""
    rows = [
        {"instruction": one.instruction, "input": one.input, "output": one.output}
        for one in read_instructions(shared / "data/train/alpaca/alpaca_random_9k.json")
    ]
    for name in ("calm", "killed"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "in.jsonl", rows)
        bad = {f"r{n}": {"text": ""} for n in range(0, len(rows), 10)}
        answers(tmp_path / name / "answers.jsonl", rows, **bad)
    flags = ("--repeat_rows", 900, "--paraphrase_rows", 900, "--paraphrase_repeat_rows", 900)
    calm = made("merge", tmp_path / "calm", *flags)
    held = [killed_in_the_middle(tmp_path / "killed", "merge", n, *flags) for n in (200, 800, 1600)]
    assert held == sorted(held) and held[0] < 2600, "no kill came in time"
    assert made("merge", tmp_path / "killed", *flags) == calm
    assert rejected(tmp_path / "killed") == rejected(tmp_path / "calm")
    counts = json.loads((tmp_path / "killed/out/run.json").read_text())["results"]
    assert counts["rows_read"] == counts["rows_written"] + counts["rows_left_out"] == len(rows)


def test_the_script_paraphrases_and_merges(tmp_path: Path):
    rows = [row(n) for n in range(30)]
    write(tmp_path / "in.jsonl", rows)
    answers(tmp_path / "answers.jsonl", rows)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for task, flags in (("paraphrase", ["--rows", "8"]), ("merge", ["--repeat_rows", "4", "--paraphrase_rows", "4"])):
        settings = {"TASK": task, "ENGINE": "replay", "ENGINE_OPTIONS": "files=answers.jsonl", "OUTPUT_DIR": task}
        done = subprocess.run(
            ["bash", ROOT / "self-seq/scripts/generation_task_driven.sh", *flags],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"SIT_ENV": "active", "PATH": path, "INPUT_FILE": "in.jsonl"} | settings,
        )
        assert done.returncode == 0, done.stderr
        kinds = Counter(one[MARK] for _, one in read_rows(tmp_path / task / "sit.jsonl"))
        assert kinds["paraphrase"] == int(flags[-1])
        assert sum(kinds.values()) == 30
