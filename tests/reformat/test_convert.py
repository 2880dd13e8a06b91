"""What is the same for every source: draws, counts, wrong files, splitting, and the command with its files."""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from open_instruct import reformat
from open_instruct.core.errors import UserError
from open_instruct.core.records import read_conversations
from open_instruct.reformat import _encode
from open_instruct.reformat._convert import Counts, convert
from open_instruct.reformat._files import find
from open_instruct.reformat._split import TURN_TOKENS, parts, token_counter
from open_instruct.reformat.base import Job, Rejected

ROOT = Path(__file__).resolve().parents[2]
ALPACA = {"instruction": "Name a colour.", "input": "", "output": "Red."}


# Sources whose rows are read as they stand in a file.
PLAIN = [name for name in reformat.names() if name not in ("super_ni", "alpaca_multilingual")]


def results(name, path, **options):
    counts = Counts()
    return list(convert(name, reformat.module(name), [path], counts, **options)), counts


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "open_instruct.reformat", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )


# --- draws and counts


def test_a_draw_takes_so_many_rows_of_each_file_without_repeats_and_by_the_seed(tmp_path):
    path = jsonl(tmp_path / "rows.jsonl", *({**ALPACA, "output": f"word{n}"} for n in range(500)))
    drawn, counts = results("stanford_alpaca", path, draw=100)
    answers = [one.messages[1]["content"].strip() for one in drawn]
    assert (counts.rows, counts.not_drawn, counts.written, len(set(answers))) == (500, 400, 100, 100)
    assert sum(int(answer[4:]) >= 250 for answer in answers) in range(25, 76)  # of the whole file, not of its beginning
    assert results("stanford_alpaca", path, draw=100)[0] == drawn
    assert results("stanford_alpaca", path, draw=100, seed=1)[0] != drawn


def test_cot_draws_50_000_of_each_of_its_files(tmp_path):
    line = json.dumps({"inputs": "Why?", "targets": "So."}) + "\n"
    (tmp_path / "cot_zsopt.jsonl").write_text(line * 50_003)
    (tmp_path / "cot_fsopt.jsonl").write_text(line * 20)
    module = reformat.module("cot")
    paths, note = find("cot", module.SOURCE, tmp_path)
    counts = Counts()
    written = sum(1 for _ in convert("cot", module, paths, counts))
    assert (note, written, counts.rows, counts.not_drawn) == ("", 50_020, 50_023, 3)


def test_rows_that_teach_nothing_are_rejected_with_their_line(tmp_path):
    rows = [
        ALPACA,
        {**ALPACA, "output": " \n"},
        {**ALPACA, "instruction": ""},
        {**ALPACA, "output": None},
        {**ALPACA, "input": None},
    ]
    found, counts = results("stanford_alpaca", jsonl(tmp_path / "a.json", *rows))
    rejected = [(one.where.rpartition(":")[2], one.reason) for one in found if isinstance(one, Rejected)]
    assert rejected == [
        ("2", "field 'output' is blank"),
        ("3", "field 'instruction' is blank"),
        ("4", "field 'output' is no text"),
    ]
    assert [one.id for one in found if not isinstance(one, Rejected)] == ["stanford_alpaca_0", "stanford_alpaca_4"]
    assert counts.reasons["field 'output' is blank"] == 1


# --- wrong inputs


@pytest.mark.parametrize("name", PLAIN)
def test_a_file_of_another_source_is_refused_at_its_first_row(name, tmp_path):
    path = jsonl(tmp_path / "rows.jsonl", {"prompts": "Why?", "replies": "So."})
    with pytest.raises(UserError, match=rf"rows.jsonl:1: no row of {name}: it has {{prompts, replies}}; expected {{"):
        results(name, path)


@pytest.mark.parametrize("garbage", [5, None, [], [None], [5], {}, {"role": 5}, " ", True, [["a"]], [{"from": []}]])
@pytest.mark.parametrize("name", PLAIN)
def test_garbage_in_the_fields_of_a_row_ends_the_row_and_not_the_run(name, garbage, tmp_path):
    for form in reformat.module(name).FORMS:
        found, counts = results(name, jsonl(tmp_path / "rows.jsonl", dict.fromkeys(form, garbage)), max_length=100)
        assert counts.rejected >= 1
        assert counts.written == 0
        assert all(one.reason and one.where for one in found if isinstance(one, Rejected))


def test_a_row_of_another_format_further_down_is_refused(tmp_path):
    rows = [ALPACA, ALPACA, {"messages": []}]
    with pytest.raises(UserError, match="rows.jsonl:3: mixed formats: the row has {messages}, the rows before it"):
        results("stanford_alpaca", jsonl(tmp_path / "rows.jsonl", *rows))
    rows = [{"instruction": "a", "context": "", "response": "b"}, ALPACA]
    with pytest.raises(UserError, match="mixed.jsonl:2: mixed formats"):
        results("dolly", jsonl(tmp_path / "mixed.jsonl", *rows))


def test_a_download_that_was_cut_off_is_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([ALPACA] * 3)[:-25])
    with pytest.raises(UserError, match="a.json:1: not JSON"):
        results("stanford_alpaca", tmp_path / "a.json")
    (tmp_path / "page.json").write_text("<!DOCTYPE html><html>log in</html>")
    with pytest.raises(UserError, match="page.json:1: not JSON"):
        results("stanford_alpaca", tmp_path / "page.json")


def test_missing_files_of_a_source_are_named(tmp_path):
    source = reformat.module("baize").SOURCE
    with pytest.raises(UserError, match="holds no data; expected alpaca_chat_data.json, .* Get it from https://"):
        find("baize", source, tmp_path)
    (tmp_path / "alpaca_chat_data.json").write_text("[]")
    with pytest.raises(
        UserError, match="medical_chat_data.json, quora_chat_data.json, stackoverflow_chat_data.json is mis"
    ):
        find("baize", source, tmp_path)
    with pytest.raises(UserError, match="no such file or folder; .* run scripts/prepare_train_data.sh baize"):
        find("baize", source, tmp_path / "nowhere")


def test_a_folder_with_other_data_is_taken_with_a_note(tmp_path):
    (tmp_path / "dolly_3k.json").write_text("[]")
    (tmp_path / "run.json").write_text("{}")
    paths, note = find("dolly", reformat.module("dolly").SOURCE, tmp_path)
    assert paths == [tmp_path / "dolly_3k.json"]
    assert "dolly_3k.json instead of the published databricks-dolly-15k.jsonl" in note


def test_unpacked_archives_are_found_below_the_folder(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "task001_a.json").write_text("{}")
    paths, note = find("super_ni", reformat.module("super_ni").SOURCE, tmp_path)
    assert (paths, note) == ([tmp_path / "tasks" / "task001_a.json"], "")


# --- templates


def test_templates_are_drawn_by_their_weights():
    for templates in (_encode.WITH_INPUT, _encode.WITHOUT_INPUT):
        assert len(templates) == len({template for template, _, _ in templates}) == 14
        assert sum(weight for _, _, weight in templates) == pytest.approx(1)
        assert ["### Instruction:" in template for template, _, weight in templates if weight == 0.1].count(True) == 1
    job = Job(random.Random(0))
    drawn = Counter(_encode.encoded("I", "J", "K", job).messages[0]["content"] for _ in range(20_000))
    expected = {template.format(instruction="I", input="J"): weight for template, _, weight in _encode.WITH_INPUT}
    assert {prompt: count / 20_000 for prompt, count in drawn.items()} == pytest.approx(expected, abs=0.01)


def test_braces_in_texts_stay_as_they_are():
    job = Job(random.Random(0))
    for _ in range(50):
        question, answer = _encode.encoded("{input} of {}", "{x:d}", "{instruction}", job).messages
        assert "{input} of {}" in question["content"] and "{x:d}" in question["content"]
        assert answer["content"].strip() == "{instruction}"


# --- splitting


def conversation(*lengths):
    """A conversation whose turns have so many words, user and assistant by turns."""
    return [{"role": ("user", "assistant")[n % 2], "content": "w " * length} for n, length in enumerate(lengths)]


def words(texts):
    return [len(text.split()) for text in texts]


def pair(length):
    return (length // 2, length - length // 2)


def split(lengths, max_length):
    """Parts as (first turn, words in all turns), or the first turn of a pair that is out."""
    turns = conversation(*(one for length in lengths for one in pair(length - 2 * TURN_TOKENS)))
    return [
        (
            start,
            "out" if isinstance(part, Rejected) else sum(words(m["content"] for m in part)) + TURN_TOKENS * len(part),
        )
        for start, part in parts(turns, max_length, words)
    ]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([40, 60], [(0, 100)]),
        ([40, 61], [(0, 40), (2, 61)]),  # the last pair is kept where it no longer fits
        ([40, 30, 30, 50], [(0, 100), (6, 50)]),
        ([101], [(0, "out")]),
        ([40, 101, 40, 60], [(0, 40), (2, "out"), (4, 100)]),
        ([101, 102, 40], [(0, "out"), (2, "out"), (4, 40)]),
        ([40, 101], [(0, 40), (2, "out")]),
    ],
)
def test_conversations_are_split_between_pairs(lengths, expected):
    assert split(lengths, 100) == expected


def test_no_turn_is_lost_or_repeated_in_a_split():
    draw = random.Random(5)
    for _ in range(200):
        lengths = [draw.randint(14, 120) for _ in range(draw.randint(1, 12))]
        got = split(lengths, 100)
        assert all(length == "out" or length <= 100 for _, length in got)
        assert sum(length for _, length in got if length != "out") == sum(length for length in lengths if length <= 100)
        assert sum(length == "out" for _, length in got) == sum(length > 100 for length in lengths)


def test_a_system_message_stands_before_every_part():
    system = {"role": "system", "content": "w " * 10}
    found = [part for _, part in parts([system, *conversation(10, 10, 10, 10)], 60, words)]
    assert [part[0] for part in found] == [system, system] and list(map(len, found)) == [3, 3]


def test_tokens_are_counted_by_a_tokenizer_where_one_is_given(tmp_path):
    from transformers import AutoTokenizer

    folder = ROOT / "open_instruct" / "miniature" / "base"
    text = "repeat the list: red, blue"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert token_counter(str(folder))([text, text * 3]) == [
        len(ids) for ids in tokenizer([text, text * 3])["input_ids"]
    ]
    assert token_counter("")(["x" * 9, ""]) == [3, 0]
    with pytest.raises(UserError, match="no tokenizer .* expected a checkpoint's folder"):
        token_counter(str(tmp_path))


# --- the command


def test_the_command_writes_conversations_rejections_and_its_counts(tmp_path):
    rows = [ALPACA, {**ALPACA, "output": ""}, ALPACA]
    source = jsonl(tmp_path / "alpaca_data.json", *rows)
    output = tmp_path / "out" / "rows.jsonl"
    arguments = ["--source", "stanford_alpaca", "--input", tmp_path, "--output", output]
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    assert "stanford_alpaca: 2 conversations; published: 52,002 (Tulu v1" in done.stdout
    assert "examples 3 = written 2 + rejected 1" in done.stdout
    assert [one.id for one in read_conversations(output)] == ["stanford_alpaca_0", "stanford_alpaca_2"]
    assert json.loads((tmp_path / "out" / "rejected.jsonl").read_text()) == {
        "where": f"{source}:2",
        "reason": "field 'output' is blank",
    }
    info = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (info["results"]["written"], info["results"]["published"], info["seed"]) == (2, 52_002, 42)

    written = output.stat().st_mtime_ns
    assert "nothing to do" in command(*arguments).stdout
    assert output.stat().st_mtime_ns == written
    jsonl(source, ALPACA)
    assert "stanford_alpaca: 1 conversations" in command(*arguments).stdout


def test_what_was_written_before_stays_when_a_later_run_fails(tmp_path):
    source = jsonl(tmp_path / "alpaca_data.json", ALPACA)
    output = tmp_path / "out" / "rows.jsonl"
    arguments = ["--source", "stanford_alpaca", "--input", source, "--output", output]
    assert command(*arguments).returncode == 0
    before = output.read_bytes()
    source.write_text(json.dumps(ALPACA) + "\n{")
    done = command(*arguments)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {source}:2: not JSON")
    assert output.read_bytes() == before
    assert sorted(path.name for path in output.parent.iterdir()) == ["rejected.jsonl", "rows.jsonl", "run.json"]


def test_the_output_must_not_be_the_input(tmp_path):
    source = jsonl(tmp_path / "alpaca_data.json", ALPACA)
    done = command("--source", "stanford_alpaca", "--input", source, "--output", source)
    assert done.returncode == 1 and "is the input itself" in done.stderr


def test_memory_does_not_grow_with_the_file(tmp_path):
    """An array of 60 MB in one line: its rows are read, converted and written a few at a time."""
    row = json.dumps({**ALPACA, "output": "word " * 400})
    with (tmp_path / "alpaca_data.json").open("w") as file:
        file.write("[" + row)
        for _ in range(30_000):
            file.write("," + row)
        file.write("]")
    # Not `ru_maxrss`, which begins with the memory of the process that started this one.
    code = """
import sys
from open_instruct.reformat.__main__ import Settings, main
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
before = peak()
main(Settings("stanford_alpaca", sys.argv[1], sys.argv[2]))
print("grown", peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(tmp_path / "out" / "rows.jsonl")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split("grown ")[1]) < 40_000  # KiB; the file is 60,000
