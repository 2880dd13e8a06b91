"""Stage 1 from end to end with the oracle: same rows in both files, counts that add up, kills, bad input."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from open_instruct.core.command import run
from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows
from open_instruct.engines import identity, oracle
from open_instruct.engines.base import Completion
from open_instruct.miniature.make_data import training_rows
from open_instruct.miniature.world import may_train, read_instruction, solve
from self_seq.generate import Settings, main


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path):
    return [row for _, row in read_rows(path, may_be_empty=True)]


def generate(folder, source, **settings):
    main(Settings(str(source), str(folder), **settings))
    return read(folder / "it.jsonl"), read(folder / "sit.jsonl"), read(folder / "rejected.jsonl")


def test_both_files_have_the_same_rows_and_right_answers(tmp_path, capsys):
    source = write(tmp_path / "in.jsonl", training_rows(600, seed=0))
    it, sit, rejected = generate(tmp_path / "out", source)
    assert [row["id"] for row in it] == [row["id"] for row in sit] == list(range(600))
    assert rejected == []
    for plain, chained in zip(it, sit, strict=True):
        assert plain["input"] == chained["input"]
        assert chained["original_instruction"] == plain["instruction"]
        for row in (plain, chained):
            assert row["output"] == "\n".join(solve(row["instruction"], row["input"].split()))
    lengths = Counter(len(read_instruction(row["instruction"])) for row in sit)
    assert all(lengths[n] > 100 for n in (1, 2, 3)) and set(lengths) == {1, 2, 3}
    assert "600 in = 600 written + 0 dropped" in capsys.readouterr().out


def test_no_chain_that_the_evaluation_holds_out_is_in_the_training_file(tmp_path):
    source = write(tmp_path / "in.jsonl", training_rows(1500, seed=3))
    _, sit, _ = generate(tmp_path / "out", source)
    for row in sit:
        chain = read_instruction(row["instruction"])
        assert len(chain) == 1 or may_train(chain)


def test_bad_answers_are_asked_again_and_what_stays_bad_is_listed_with_its_reason(tmp_path, capsys):
    source = write(tmp_path / "in.jsonl", training_rows(500, seed=0))
    it, sit, rejected = generate(tmp_path / "out", source, engine_options=["malformed=0.5"], attempts=2)
    assert 0 < len(it) == len(sit) < 500
    dropped = [row for row in rejected if row["dropped"]]
    assert len(sit) + len(dropped) == 500
    assert {row["id"] for row in dropped}.isdisjoint(row["id"] for row in sit)
    assert all(failure["reason"] for row in rejected for failure in row["failures"])
    assert f"500 in = {len(sit)} written + {len(dropped)} dropped" in capsys.readouterr().out
    journaled = read_journal(tmp_path / "out" / "respond_it.journal.jsonl")
    assert len(journaled) == 500  # also the rows that failed are done, with their reason


def read_journal(path):
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_the_same_command_again_asks_nothing(tmp_path):
    source = write(tmp_path / "in.jsonl", training_rows(300, seed=0))
    generate(tmp_path / "out", source)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.jsonl")}
    generate(tmp_path / "out", source)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.jsonl")}


@pytest.mark.parametrize("change", ["input", "seed", "engine", "refine"])
def test_another_input_or_setting_is_refused_and_run_json_still_tells_of_the_finished_run(tmp_path, change):
    source = write(tmp_path / "in.jsonl", training_rows(50, seed=0))
    generate(tmp_path / "out", source)
    before = (tmp_path / "out" / "run.json").read_bytes()
    more = {"seed": ["--seed=1"], "engine": ["--engine_options", "grow=0.5"], "refine": ["--refine=True"]}.get(
        change, []
    )
    if change == "input":
        write(source, training_rows(51, seed=0))
    with pytest.raises(SystemExit) as stop:
        run(main, Settings, arguments=[f"--input_file={source}", f"--output_dir={tmp_path / 'out'}", *more])
    assert "classify.journal.jsonl" in str(stop.value) and change in str(stop.value)
    assert (tmp_path / "out" / "run.json").read_bytes() == before


@pytest.mark.parametrize("iterations", [1, 3])
def test_other_iterations_are_refused_before_anything_is_asked(tmp_path, iterations):
    source = write(tmp_path / "in.jsonl", training_rows(50, seed=0))
    generate(tmp_path / "out", source, iterations=2)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.json*")}
    with pytest.raises(UserError, match="respond_sit.journal.jsonl.*iterations"):
        generate(tmp_path / "out", source, iterations=iterations)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.json*")}
    (tmp_path / "out" / "respond_sit.journal.jsonl").unlink()
    _, sit, _ = generate(tmp_path / "out", source, iterations=iterations)  # the originals are not asked again
    assert len(sit) == 50
    journal = tmp_path / "out" / "respond_it.journal.jsonl"
    assert journal.read_bytes() == before[journal]


def test_whose_answers_the_baseline_has_may_change_and_nothing_of_the_earlier_run_stays(tmp_path):
    rows = [{**row, "output": f"own {row['id']}"} for row in training_rows(60, seed=0)]
    source = write(tmp_path / "in.jsonl", rows)
    it, sit, _ = generate(tmp_path / "out", source)
    own, *_ = generate(tmp_path / "out", source, it_answers="source")
    assert {row["output"][:4] for row in own} == {"own "}
    main(Settings(str(source), str(tmp_path / "out"), it_answers="none"))
    assert not (tmp_path / "out" / "it.jsonl").exists()  # or the report and an upload would take it for this run's
    journal = tmp_path / "out" / "respond_sit.journal.jsonl"
    text = journal.read_text()
    kept = next(row["id"] for row in sit if row["instruction"] == row["original_instruction"])
    lines = [line if json.loads(line).get("row") != kept else changed(line) for line in text.splitlines()]
    journal.write_text("\n".join(lines) + "\n")
    again, chained, _ = generate(tmp_path / "out", source)  # a kept row has one answer in both files
    assert again == it and chained == sit


def changed(line):
    return line.replace('"response":"', '"response":"drawn anew: ')


def test_an_id_that_is_null_is_missing(tmp_path):
    rows = [{**row, "id": None, **({"idx": "q7"} if n == 1 else {})} for n, row in enumerate(training_rows(3, seed=0))]
    _, sit, _ = generate(tmp_path / "out", write(tmp_path / "in.jsonl", rows))
    assert [row["id"] for row in sit] == [0, "q7", 2]


def test_a_pipe_is_refused_since_every_step_reads_the_rows_anew(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe: is a pipe"):
        main(Settings(str(tmp_path / "pipe"), str(tmp_path / "out")))


def test_reasons_beyond_the_most_frequent_are_counted_and_not_all_printed(tmp_path, capsys, monkeypatch):
    complete = oracle.Engine.complete

    def refused(self, requests):
        for done in complete(self, requests):
            yield Completion(done.key, "", "error", 0, 0, f"{'x' * done.key} is too much") if done.key > 1 else done

    monkeypatch.setattr(oracle.Engine, "complete", refused)
    generate(tmp_path / "out", write(tmp_path / "in.jsonl", training_rows(60, seed=0)))
    lines = [line for line in capsys.readouterr().out.splitlines() if "is too much" in line]
    assert len(lines) == 20


def test_a_run_goes_on_with_a_faster_engine_but_not_with_another_model(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = identity("local", [f"path={tmp_path}", "batch_size=8"])
    assert identity("local", [f"path={tmp_path}", "batch_size=64", "device=cpu"]) == before
    assert identity("local", [f"path={tmp_path}", "dtype=bfloat16"]) != before
    (tmp_path / "model.safetensors").write_bytes(b"trained")
    assert identity("local", [f"path={tmp_path}"]) != before


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_files(tmp_path):
    source = write(tmp_path / "in.jsonl", training_rows(3000, seed=0))
    options = ["malformed=0.1"]
    whole = generate(tmp_path / "whole", source, engine_options=options)
    command = [sys.executable, "-m", "self_seq.generate", "--input_file", str(source)]
    command += ["--output_dir", str(tmp_path / "killed"), "--engine_options", *options]
    end = journaled(tmp_path / "whole")
    kills = 0
    for share in (0.05, 0.3, 0.6, 0.9):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and journaled(tmp_path / "killed") < share * end:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 3
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    for name in ("it", "sit", "rejected"):
        assert (tmp_path / "killed" / f"{name}.jsonl").read_bytes() == (
            tmp_path / "whole" / f"{name}.jsonl"
        ).read_bytes()
    for journal in (tmp_path / "killed").rglob("*.journal.jsonl"):
        rows = [line["row"] for line in read_journal(journal)]
        assert len(rows) == len(set(rows))
    assert len(whole[0]) > 2900


def journaled(folder):
    """Bytes in the journals of a run."""
    return sum(path.stat().st_size for path in folder.rglob("*.journal.jsonl"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ":1: "),
        (b"not json\n", ":1: not JSON"),
        (b'{"instruction": "a"}\n{"input": "b"}\n', ":2: field 'instruction' is missing"),
        (b'{"instruction": "' + b"a" * 1_000_000 + b'"}\n', ":1: the row is 1,000,000 bytes or longer"),
        (b'{"instruction": "\xff"}\n', ":1: byte 0xff is not UTF-8"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_asked(tmp_path, content, message):
    source = tmp_path / "in.jsonl"
    source.write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        run(main, Settings, arguments=["--input_file", str(source), "--output_dir", str(tmp_path / "out")])
    line = str(stop.value)
    assert line.startswith(f"error: {source}") and message in line and "\n" not in line
    assert not list((tmp_path / "out").rglob("*.journal.jsonl"))


@pytest.mark.parametrize(
    "setting",
    [
        {"it_answers": "nobody"},
        {"iterations": 0},
        {"max_rows": 0},
        {"max_rows": -2},
        {"engine": "nobody"},
        {"judge_engine": "nobody", "judge_rows": 2},
        {"temperature": -1},
        {"top_p": 3},
        {"max_tokens": 0},
        {"price_in": -1},
    ],
)
def test_wrong_settings_are_refused(tmp_path, setting):
    source = write(tmp_path / "in.jsonl", training_rows(5, seed=0))
    arguments = [f"--{name}={value}" for name, value in setting.items()]
    with pytest.raises(SystemExit, match="error: "):
        run(main, Settings, arguments=["--input_file", str(source), "--output_dir", str(tmp_path / "out"), *arguments])
    assert not list((tmp_path / "out").rglob("*.journal.jsonl"))  # nothing was asked before


def test_own_answers_of_the_source_can_be_the_baseline(tmp_path):
    rows = [{**row, "output": f"own {row['id']}"} for row in training_rows(40, seed=0)]
    rows.append({**rows[0], "output": " \n"})
    it, sit, _ = generate(tmp_path / "out", write(tmp_path / "in.jsonl", rows), it_answers="source")
    assert [row["output"] for row in it] == [f"own {n}" for n in range(40)]
    assert all(row["output"] == "\n".join(solve(row["instruction"], row["input"].split())) for row in sit)


def test_refine_asks_about_rewritten_rows_only(tmp_path):
    source = write(tmp_path / "in.jsonl", training_rows(100, seed=0))
    generate(tmp_path / "out", source, refine=True, iterations=1)
    rewritten = read_journal(tmp_path / "out" / "iteration_1" / "rewrite.journal.jsonl")
    refined = read_journal(tmp_path / "out" / "iteration_1" / "refine.journal.jsonl")
    assert 0 < len(rewritten) < 100
    assert sorted(line["row"] for line in refined) == sorted(line["row"] for line in rewritten)


@pytest.mark.parametrize(
    "fields",
    [
        {"options": ["A", "B", "C", "D"], "failures": "none", "id": "q-7"},
        {"options": {}, "original_instruction": 5, "system_prompt": None},
        {"options": [], "_sit": {"options": ["D"], "original_instruction": "Count the items."}},
        {"original_instruction": "Count the items."},
    ],
)
def test_the_inputs_own_fields_decide_nothing(tmp_path, fields):
    rows = list(training_rows(60, seed=0))
    plain = generate(tmp_path / "plain", write(tmp_path / "in.jsonl", rows))
    named = generate(tmp_path / "named", write(tmp_path / "fields.jsonl", [{**row, **fields} for row in rows]))
    for before, after in zip(plain, named, strict=True):
        for row in before:
            row["id"] = fields.get("id", row["id"])
        assert before == after


def test_a_result_can_be_the_next_input(tmp_path):
    source = write(tmp_path / "in.jsonl", training_rows(200, seed=0))
    _, first, _ = generate(tmp_path / "first", source, iterations=1)
    it, second, _ = generate(tmp_path / "second", tmp_path / "first" / "sit.jsonl", iterations=1)
    assert [row["instruction"] for row in it] == [row["original_instruction"] for row in second]
    assert [row["original_instruction"] for row in second] == [row["instruction"] for row in first]
    assert sum(before["instruction"] != after["instruction"] for before, after in zip(first, second, strict=True)) > 20


def test_a_row_that_was_short_enough_to_be_read_is_never_too_long_for_the_next_iteration(tmp_path, monkeypatch):
    monkeypatch.setattr(oracle, "_respond", lambda asked: "two")
    rows = [{"instruction": "Count the items. " + "x" * 600_000, "input": "fig"}, *training_rows(1, seed=0)]
    main(Settings(str(write(tmp_path / "in.jsonl", rows)), str(tmp_path / "out"), it_answers="none"))
    assert (tmp_path / "out" / "iteration_1" / "instructions.jsonl").stat().st_size > 1_000_000
    assert len((tmp_path / "out" / "sit.jsonl").read_text().splitlines()) == 2


def test_no_row_written_is_an_error_that_names_the_most_frequent_reason(tmp_path):
    source = write(tmp_path / "in.jsonl", [{**row, "output": ""} for row in training_rows(5, seed=0)])
    with pytest.raises(UserError, match="none of the 5 rows .* 5 times: respond_it: the source has no answer"):
        generate(tmp_path / "out", source, it_answers="source")
