"""Tests of the replay engine: what it answers, what it refuses, and that it keeps no texts in memory."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from open_instruct.core.errors import UserError
from open_instruct.engines import identity, open_engine
from open_instruct.engines.base import Completion, Engine, Request
from open_instruct.engines.replay import MAX_KEY

MESSAGES = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a river."})
PUBLISHED = [
    {"idx": 1, "instruction": "Sing it.", "completions": "So the option is: D.", "option": "D"},
    {
        "idx": 0,
        "instruction": "Name a river.",
        "completions": "So the option is: B.###",
        "option": "B",
        "new_instruction": "#New Instruction#: É, then name a river.###",
        "extracted_instruction": "É, then name a river.",
        "refine_instruction": "No",
        "extracted_refined_instruction": "“Sing, then name a river.\n\nThen rest.”###\nThis has three tasks.",
        "final_refined_instruction_reponse": "Both done.",
    },
]
OWN = [
    {"key": 0, "step": "classify", "text": "So the option is: B.", "finish_reason": "stop"},
    {"key": 0, "step": "respond_it", "text": "One two", "finish_reason": "length"},
    {"key": 3, "step": "classify", "text": "", "finish_reason": "error", "error": "refused"},
    {"key": 2, "step": "classify", "text": "C"},
]


def write(file: Path, rows: Iterable[dict]) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return file


def replay(*files: Path) -> Engine:
    return open_engine("replay", ["files=" + ",".join(map(str, files))])


def ask(engine: Engine, *requests: tuple[int, str]) -> list[Completion]:
    """The answers to requests of (key, step)."""
    return list(engine.complete(Request(key, MESSAGES, step=step) for key, step in requests))


def show(engine: Engine, *requests: tuple[int, str, str]) -> list[Completion]:
    """The answers to requests of (key, step, text of the last message)."""
    return list(
        engine.complete(Request(k, ({"role": "user", "content": text},), step=step) for k, step, text in requests)
    )


def test_a_published_row_answers_every_step_it_holds(tmp_path: Path):
    engine = replay(write(tmp_path / "run.jsonl", PUBLISHED))
    asked = [(0, step, "#Original Instruction#: Name a river.\nWhich?") for step in ("classify", "rewrite", "refine")]
    asked += [(0, "respond_sit", "Sing, then name a river.\n\nThen rest."), (1, "classify", "Prompt: Sing it.")]
    assert [completion.text for completion in show(engine, *asked)] == [
        "So the option is: B.###",
        "#New Instruction#: É, then name a river.###",
        "No",
        "Both done.",
        "So the option is: D.",
    ]


def test_the_row_is_found_by_what_the_request_shows_in_any_order(tmp_path: Path):
    texts = ["Name a river.", "Name a river. Then sing.", "Name it.", "Name it.", "..."]
    inputs = ["", "", "Rhine", "Elbe", "Oder"]
    rows = [
        {"idx": n, "instruction": text, "input": given, "completions": f"of row {n}"}
        for n, (text, given) in enumerate(zip(texts, inputs, strict=True))
    ]
    engine = replay(write(tmp_path / "run.jsonl", rows))
    shown = [
        (n, "classify", f"#Instruction#: {texts[row]}\n#Input#: {inputs[row]}") for n, row in enumerate((3, 0, 1, 2))
    ]
    assert [completion.text for completion in show(engine, *shown)] == [f"of row {row}" for row in (3, 0, 1, 2)]
    assert (
        show(engine, (4, "classify", "(...) Oder"))[0].text == "of row 4"
    )  # no words to look for, but the key is right


def test_of_equal_rows_the_key_decides(tmp_path: Path):
    rows = [{"idx": n, "instruction": "Name a river.", "completions": f"of row {n}"} for n in range(3)]
    engine = replay(write(tmp_path / "run.jsonl", rows))
    assert [completion.text for completion in ask(engine, *((n, "classify") for n in (2, 0, 1)))] == [
        f"of row {n}" for n in (2, 0, 1)
    ]


@pytest.mark.parametrize("step", ["classify", "respond_sit"])
def test_a_request_about_something_else_is_an_error_that_names_both(tmp_path: Path, step: str):
    (completion,) = show(replay(write(tmp_path / "run.jsonl", PUBLISHED)), (0, step, "Paint a lake."))
    assert (completion.text, completion.finish_reason) == ("", "error")
    assert "no stored row fits" in completion.error and "Paint a lake." in completion.error
    assert ("Name a river." if step == "classify" else "Sing, then name a river.") in completion.error


@pytest.mark.parametrize(
    "shown", ["Sing", "Sing, then name a river.", "Sing, then name a river.\n\nThen rest. Then paint.", "Name a river."]
)
def test_a_response_is_not_given_to_a_part_of_what_was_answered_nor_to_more(tmp_path: Path, shown: str):
    (completion,) = show(replay(write(tmp_path / "run.jsonl", PUBLISHED)), (0, "respond_sit", shown))
    assert completion.finish_reason == "error"


def test_the_files_are_part_of_the_identity(tmp_path: Path):
    options = [f"files={write(tmp_path / 'run.jsonl', PUBLISHED)}"]
    before = identity("replay", options)
    assert identity("replay", options) == before
    write(tmp_path / "run.jsonl", PUBLISHED[:1])
    assert identity("replay", options) != before


@pytest.mark.parametrize(
    ("step", "field"),
    [("respond_sit", "final_instruction_response"), ("respond_it", "direct_response"), ("respond_it", "response")],
)
def test_the_other_names_of_the_responses(tmp_path: Path, step: str, field: str):
    (completion,) = ask(replay(write(tmp_path / "run.jsonl", [{"idx": 0, field: "Rhine"}])), (0, step))
    assert (completion.text, completion.finish_reason) == ("Rhine", "stop")


def test_answers_come_in_the_order_of_the_requests_with_words_for_tokens(tmp_path: Path):
    engine = replay(write(tmp_path / "own.jsonl", OWN))
    assert ask(engine, (2, "classify"), (0, "respond_it")) == [
        Completion(2, "C", "stop", prompt_tokens=5, completion_tokens=1),
        Completion(0, "One two", "length", prompt_tokens=5, completion_tokens=2),
    ]


def test_nothing_stored_is_an_error_that_names_the_step(tmp_path: Path):
    engine = replay(write(tmp_path / "own.jsonl", OWN))
    asked = [(1, "classify"), (9, "classify"), (-1, "classify"), (0, "rewrite"), (0, "")]
    for completion, (_, step) in zip(ask(engine, *asked), asked, strict=True):
        assert (completion.text, completion.finish_reason) == ("", "error")
        assert completion.error == f"replay: no stored answer for this row in step {step!r}"


def test_an_answer_is_given_once(tmp_path: Path):
    engine = replay(write(tmp_path / "own.jsonl", OWN))
    first, again = ask(engine, (0, "classify"), (0, "classify"))
    assert first.finish_reason == "stop"
    assert (again.finish_reason, again.text) == ("error", "")
    assert again.error == "replay: this row's one stored answer in step 'classify' was already given"


def test_a_stored_error_is_an_error(tmp_path: Path):
    (completion,) = ask(replay(write(tmp_path / "own.jsonl", OWN)), (3, "classify"))
    assert (completion.text, completion.finish_reason, completion.error) == ("", "error", "refused")


def test_files_of_one_run_complete_each_other(tmp_path: Path):
    earlier = write(tmp_path / "a.jsonl", [{"idx": n, "completions": f"{n}"} for n in range(3)])
    later = write(
        tmp_path / "b.jsonl", [{"idx": n, "completions": f"{n}", "new_instruction": f"new {n}"} for n in (2, 0)]
    )
    engine = replay(earlier, later)
    texts = [completion.text for completion in ask(engine, (1, "classify"), (2, "rewrite"), (1, "rewrite"))]
    assert texts == ["1", "new 2", ""]


def test_files_of_two_runs_are_refused(tmp_path: Path):
    first = write(tmp_path / "a.jsonl", [{"idx": 0, "completions": "A"}])
    second = write(tmp_path / "b.jsonl", [{"idx": 1, "completions": "A"}, {"idx": 0, "completions": "B"}])
    with pytest.raises(UserError, match=r"b\.jsonl:2: row 0 has another answer in step 'classify'"):
        replay(first, second)
    third = write(tmp_path / "c.jsonl", [{"idx": 0, "instruction": "a", "completions": "A"}])
    fourth = write(tmp_path / "d.jsonl", [{"idx": 0, "instruction": "b", "refine_instruction": "Yes"}])
    with pytest.raises(UserError, match=r"d\.jsonl:1: row 0 has another instruction than before"):
        replay(third, fourth)


@pytest.mark.parametrize("form", ["array", "gzip", "byte order mark", "blank lines"])
def test_every_form_of_a_file_is_read(tmp_path: Path, form: str):
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in PUBLISHED).encode()
    content = {
        "array": json.dumps(PUBLISHED, indent=1).encode(),
        "gzip": gzip.compress(lines),
        "byte order mark": b"\xef\xbb\xbf" + lines,
        "blank lines": b"\n\n" + lines.replace(b"\n", b"\r\n\n"),
    }[form]
    (tmp_path / "run").write_bytes(content)
    engine = replay(tmp_path / "run")
    asked = [
        (0, "rewrite", "Name a river."),
        (1, "classify", "Sing it."),
        (0, "respond_sit", "Sing, then name a river.\n\nThen rest."),
    ]
    texts = [completion.text for completion in show(engine, *asked)]
    assert texts == ["#New Instruction#: É, then name a river.###", "So the option is: D.", "Both done."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "run.jsonl:1: the file has no rows"),
        ('{"idx": 0, "completions": "A"}\nnot JSON\n', "run.jsonl:2: not JSON"),
        ('{"completions": "A"}\n', "run.jsonl:1: neither 'key' nor 'idx' is there; expected the number of a row"),
        ('{"idx": "0", "completions": "A"}\n', "run.jsonl:1: 'idx' is \"0\"; expected the number of a row"),
        ('{"idx": true, "completions": "A"}\n', "run.jsonl:1: 'idx' is true; expected the number of a row"),
        (
            f'{{"idx": {MAX_KEY + 1}, "completions": "A"}}\n',
            "run.jsonl:1: 'idx' is 100000001; expected the number of a row",
        ),
        ('{"idx": 0, "completions": 5}\n', "run.jsonl:1: field 'completions' is 5, not text"),
        ('{"idx": 0, "instruction": "Sing."}\n', "run.jsonl:1: holds no stored answer"),
        ('{"key": 0, "text": "A"}\n', "run.jsonl:1: field 'step' is missing"),
        (
            '{"key": 0, "step": "classify", "text": "A", "finish_reason": "done"}\n',
            'run.jsonl:1: finish_reason "done" is unknown',
        ),
    ],
    ids=[
        "empty",
        "not JSON",
        "no key",
        "text key",
        "true",
        "huge key",
        "no text",
        "no answer",
        "no step",
        "finish reason",
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, content: str, message: str):
    (tmp_path / "run.jsonl").write_text(content)
    with pytest.raises(UserError) as caught:
        replay(tmp_path / "run.jsonl")
    assert str(caught.value).startswith(str(tmp_path / message))


def test_a_missing_file_and_no_file_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no such file"):
        replay(tmp_path / "nowhere.jsonl")
    with pytest.raises(UserError, match="name one or more files"):
        open_engine("replay", ["files= , "])


def test_requests_are_taken_one_at_a_time(tmp_path: Path):
    engine = replay(write(tmp_path / "own.jsonl", OWN))
    taken = []

    def requests():
        for key in range(4):
            taken.append(key)
            yield Request(key, MESSAGES, step="classify")

    next(engine.complete(requests()))
    assert taken == [0]


MEMORY = """
import resource, sys
from open_instruct.engines import open_engine
from open_instruct.engines.base import Request

def peak():  # MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak()
engine = open_engine("replay", ["files=" + sys.argv[1]])
count = int(sys.argv[2])
requests = (Request(key, ({"role": "user", "content": "x"},), step="classify") for key in range(count))
right = sum(completion.text.startswith(f"{completion.key} ") for completion in engine.complete(requests))
print(right, peak() - before)
"""


def test_no_text_stays_in_memory(tmp_path: Path):
    """40,000 answers of 2 KB, 80 MB in all, cost less than a tenth of that."""
    count = 40_000
    write(tmp_path / "own.jsonl", ({"key": n, "step": "classify", "text": f"{n} " + "x" * 2000} for n in range(count)))
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "own.jsonl"), str(count)]
    right, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(right) == count
    assert float(grown) < 8


def test_real_runs_replay_whole(shared: Path):
    """All five files of a run, in which the rows stand in different orders."""
    stem = "data/generation/alpaca/alpaca-cleaned-c4ai-command-r-plus"
    endings = ("", "-generate_instruct", "-generate_instruct-refine", "-generate_instruct-refine-response-final")
    files = [shared / f"{stem}{ending}.jsonl" for ending in endings]
    engine = replay(*files)
    last = {row["idx"]: row for row in map(json.loads, files[-1].read_text().splitlines())}

    def shown(number: int, step: str) -> str:
        row = last[number]
        text = row.get("extracted_refined_instruction") if step == "respond_sit" else None
        return f"{text or row['instruction']}\n{row['input']}"

    answered = {
        step: sum(
            completion.finish_reason == "stop"
            for completion in show(engine, *((99 - n, step, shown(n, step)) for n in range(100)))
        )
        for step in ("classify", "rewrite", "refine", "respond_sit", "respond_it")
    }
    assert answered == {"classify": 100, "rewrite": 100, "refine": 57, "respond_sit": 38, "respond_it": 0}


def test_files_of_the_two_real_command_r_runs_are_told_apart(shared: Path):
    """The stored FLAN CoT files of Command R+ are of two runs: only two of the five belong to the second."""
    stem = "data/generation/flancot/flancot_filtered_15k-c4ai-command-r-plus"
    with pytest.raises(UserError, match="another answer"):
        replay(shared / f"{stem}.jsonl", shared / f"{stem}-generate_instruct-refine-response-final.jsonl")
