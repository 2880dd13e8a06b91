"""scripts/evaluation.sh and the scripts of single benchmarks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eval.results import read_predictions

ROOT = Path(__file__).resolve().parents[2]


def environment(**variables):
    return {
        **os.environ,
        "SIT_ENV": "active",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "OMP_NUM_THREADS": "1",
        **variables,
    }


def script(name, *arguments, **variables):
    command = ["bash", str(ROOT / "scripts" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(**variables))


@pytest.mark.slow
def test_a_checkpoint_is_evaluated_under_the_name_of_its_folder(checkpoint, eval_data, tmp_path):
    done = script("evaluation.sh", str(checkpoint), RESULTS_DIR=str(tmp_path), LIMIT="3", TASKS="miniature_pairs")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tiny" / "miniature_pairs" / "metrics.json").is_file()
    assert "partial: unseen pairs has only 3 of its 12 items" in done.stdout
    assert "unseen pairs: 100%" in done.stderr  # the progress bar
    assert "Loading" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_killed_run_of_several_benchmarks_goes_on_and_ends_in_the_page(checkpoint, eval_data, tmp_path):
    path = eval_data / "miniature" / "longer.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(json.dumps({**rows[n % 12], "id": str(n), "input": f"{n} apple"}) + "\n" for n in range(80))
    )
    output = tmp_path / "results" / "tiny"
    variables = {"RESULTS_DIR": str(output.parent), "TASKS": "miniature", "BATCH_SIZE": "2"}
    with (tmp_path / "told").open("w") as told:  # a pipe that nobody reads would be full one day
        killed = subprocess.Popen(
            ["bash", str(ROOT / "scripts/evaluation.sh"), str(checkpoint)],
            env=environment(**variables),
            stdout=subprocess.DEVNULL,
            stderr=told,
        )
    deadline = time.monotonic() + 600
    journal = None
    while time.monotonic() < deadline and killed.poll() is None:
        journal = next(output.glob("miniature_longer/*.journal"), None)
        if journal and journal.read_bytes().count(b"\n") > 10:
            break
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, (tmp_path / "told").read_text()
    finished = {one: one.stat().st_mtime_ns for one in output.glob("*/metrics.json")}
    assert [one.parent.name for one in sorted(finished)] == [f"miniature_{n}" for n in ("chains", "pairs", "single")]

    # What is done gets a mark in the journal: were it asked again, the mark would be gone from the predictions.
    head, *lines = journal.read_bytes().split(b"\n")[:-1]
    done = {json.loads(line)["row"]: json.loads(line)["value"] for line in lines}
    assert 10 <= len(done) < 80
    marked = [b'{"row":%d,"value":"marked"}' % row for row in done]
    journal.write_bytes(b"\n".join([head, *marked, b'{"row":79,"val']))  # and the kill tore the last line
    again = script("evaluation.sh", str(checkpoint), **variables)
    assert again.returncode == 0, again.stderr
    assert "finished before and kept: miniature_single, miniature_pairs, miniature_chains" in again.stdout
    assert {one: one.stat().st_mtime_ns for one in finished} == finished
    responses = [row["response"] for row in read_predictions(output / "miniature_longer")]
    assert [number for number, text in enumerate(responses) if text == "marked"] == sorted(done)

    shutil.copytree(output, output.with_name("marked"))
    shutil.rmtree(output / "miniature_longer")
    assert script("evaluation.sh", str(checkpoint), **{**variables, "BATCH_SIZE": "64"}).returncode == 0
    whole = [row["response"] for row in read_predictions(output / "miniature_longer")]
    for number, text in enumerate(whole):
        assert text == done.get(number, responses[number])

    page = tmp_path / "report.html"
    command = [sys.executable, "-m", "eval.report", str(output.parent), "--output", str(page)]
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    text = page.read_text()
    assert "unseen pairs" in text and "marked" in text


def test_a_single_benchmarks_script_takes_the_same_arguments(tmp_path):
    done = script("eval/miniature.sh", str(tmp_path / "nowhere"), "name", RESULTS_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {tmp_path}/nowhere: no such checkpoint folder. " + done.stderr.split("folder. ")[1]
    assert done.stderr.count("\n") == 1


def test_without_a_checkpoint_the_usage_is_told():
    done = script("evaluation.sh")
    assert done.returncode == 1 and "give the checkpoint folder" in done.stderr


def test_help_names_every_variable():
    done = script("evaluation.sh", "--help")
    assert done.returncode == 0
    for name in (
        "TASKS",
        "RESULTS_DIR",
        "BACKEND",
        "BACKEND_OPTIONS",
        "BATCH_SIZE",
        "LIMIT",
        "SEED",
        "JUDGE",
        "JUDGE_OPTIONS",
    ):
        assert f"  {name}" in done.stdout
    assert "Usage: bash scripts/evaluation.sh CHECKPOINT [RUN_NAME]" in done.stdout
