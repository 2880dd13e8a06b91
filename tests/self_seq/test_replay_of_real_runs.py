"""The whole of stage 1 on stored completions of the three real generators: each row gets its own answers or none."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from open_instruct.core.records import read_rows
from self_seq.generate import Settings, main

SCRIPT = Path(__file__).resolve().parents[2] / "self-seq" / "scripts" / "generation_replay.sh"
# Llama-3-8B judged the prompt's examples in the refine step, and its responses answer those.
LEAST_WRITTEN = {"gpt-3.5-turbo": 50, "c4ai-command-r-plus": 25, "Meta-Llama-3-8B-Instruct": 1}


def read(path: Path) -> list[dict]:
    return [row for _, row in read_rows(path, may_be_empty=True)]


def files_of(shared: Path, generator: str) -> list[Path]:
    files = sorted((shared / "data" / "generation" / "alpaca").glob(f"alpaca-cleaned-{generator}*.jsonl"))
    assert len(files) == 5
    return files


def replay(source: Path, files: list[Path], folder: Path) -> list[dict]:
    options = [f"files={','.join(map(str, files))}"]
    settings = {"iterations": 1, "attempts": 1, "refine": True, "it_answers": "none"}
    main(Settings(str(source), str(folder), engine="replay", engine_options=options, **settings))
    return read(folder / "sit.jsonl")


@pytest.mark.parametrize("generator", LEAST_WRITTEN)
def test_every_row_is_written_or_dropped_and_has_its_own_option_and_response(tmp_path, shared, generator, capsys):
    files = files_of(shared, generator)
    stored = {row["idx"]: row for row in read(files[0])}
    assert "response-final" in files[0].name and list(stored) != list(range(100))  # rows stand in another order
    written = replay(files[0], files, tmp_path / "out")
    dropped = [row for row in read(tmp_path / "out" / "rejected.jsonl") if row["dropped"]]
    assert len(written) >= LEAST_WRITTEN[generator]
    assert sorted(row["id"] for row in written + dropped) == list(range(100))
    assert f"100 in = {len(written)} written + {len(dropped)} dropped" in capsys.readouterr().out
    for row in written:
        published = stored[row["id"]]
        assert row["original_instruction"] == published["instruction"]
        assert row["options"] == [published["option"]]
        assert row["output"] == published["final_refined_instruction_reponse"].strip()
        assert row["instruction"] in published["extracted_refined_instruction"]
    options = [json.loads(line)["value"] for line in journal_lines(tmp_path / "out")]
    agreed = [value["option"] == row["option"] for value, row in zip(options, stored.values(), strict=True)]
    assert sum(agreed) >= 99  # of a real choice, `test_reads_what_real_generators_wrote` tells the few exceptions


def journal_lines(folder: Path) -> list[str]:
    lines = (folder / "iteration_1" / "classify.journal.jsonl").read_text().splitlines()[1:]
    return sorted(lines, key=lambda line: json.loads(line)["row"])


@pytest.mark.parametrize("generator", LEAST_WRITTEN)
def test_the_order_of_the_input_does_not_matter(tmp_path, shared, generator):
    files = files_of(shared, generator)
    in_order, reversed_rows = tmp_path / "in_order.jsonl", tmp_path / "reversed.jsonl"
    rows = [{key: row[key] for key in ("idx", "instruction", "input")} for row in read(files[0])]
    for file, ordered in ((in_order, sorted(rows, key=lambda row: row["idx"])), (reversed_rows, rows[::-1])):
        file.write_text("".join(json.dumps(row) + "\n" for row in ordered))
    first, second = (replay(file, files, tmp_path / file.stem) for file in (in_order, reversed_rows))
    assert sorted(first, key=lambda row: row["id"]) == sorted(second, key=lambda row: row["id"])


def run_script(*arguments: Path, output: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OUTPUT_DIR": str(output), "SIT_ENV": "active"}
    return subprocess.run(["bash", SCRIPT, *arguments], capture_output=True, text=True, env=environment)


def test_the_script_replays_a_run(tmp_path, shared):
    done = run_script(*files_of(shared, "gpt-3.5-turbo"), output=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"100 in = {len(read(tmp_path / 'out' / 'sit.jsonl'))} written" in done.stdout


def test_the_script_ends_with_an_error_where_no_row_is_written(tmp_path, shared):
    done = run_script(files_of(shared, "gpt-3.5-turbo")[-1], output=tmp_path / "out")  # choices only, no responses
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "none of the 100 rows" in last and "100 times: respond_sit: replay: no stored answer" in last
    assert "Traceback" not in done.stderr
