"""scripts/phased/*.sh on the miniature: stopped, compared, given what cannot be; test_docs.py goes the whole way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from open_instruct.miniature.make_data import items, training_rows

ROOT = Path(__file__).parents[2]
BASE = ROOT / "open_instruct" / "miniature" / "base"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with rows of two chain lengths, a quarter of them with a score, and the miniature's evaluation items."""
    folder = tmp_path_factory.mktemp("phased tuning")  # a space in a path is nobody's fault
    rows = [{**row, "options": ["C" if n % 2 else "D"]} for n, row in enumerate(training_rows(120, seed=0))]
    (folder / "sit.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "eval" / "miniature").mkdir(parents=True)
    chosen = "".join(json.dumps(item) + "\n" for item in items("pairs", 6))
    (folder / "eval" / "miniature" / "pairs.jsonl").write_text(chosen)
    return folder


def environment(home, **variables):
    small = dict(MODEL=BASE, LENGTH=128, BATCH=4, DEVICE_BATCH=4, LEARNING_RATE=1e-3, PACKING="true", REPORT_TO="none")
    places = dict(STAGES_DIR=home / "stages", RESULTS_DIR=home / "results", SIT_EVAL_DATA=home / "eval")
    given = {name: str(value) for name, value in (small | places | variables).items()}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "SIT_ENV": "active", "OMP_NUM_THREADS": "1", "PATH": path, **given}


def script(home, name, *arguments, **variables):
    command = ["bash", str(ROOT / "scripts" / "phased" / name), *map(str, arguments)]
    env = environment(home, **variables)
    return subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def stages(home):
    done = script(
        home, "split.sh", INPUT_FILE="sit.jsonl", OUTPUT_DIR="stages", DIFFICULTY="chain_length", THRESHOLDS=2
    )
    assert done.returncode == 0, done.stderr
    return home / "stages"


@pytest.mark.parametrize(
    ("name", "variables", "message"),
    [
        ("run.sh", dict(ORDER="2-2"), "ORDER=2-2: stage 2 stands twice"),
        ("run.sh", dict(STAGES_DIR="none"), "cut the rows into stages first"),
        ("score.sh", dict(INPUT_FILE="sit.jsonl", METHOD="ratio", MODEL=""), "--method ratio needs --base"),
        ("split.sh", dict(INPUT_FILE="sit.jsonl", OUTPUT_DIR="x"), "the row has no 'score'"),
    ],
)
def test_what_cannot_be_is_one_line(home, stages, name, variables, message):
    done = script(home, name, **(dict(OUTPUT_DIR="wrong") | variables))
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_win_rates_name_what_is_missing(home):
    done = script(home, "win_rate.sh", "nobody", "no-one")
    assert done.returncode == 1 and "no such run; answer first" in done.stderr and done.stderr.count("\n") == 1
    for run, sets in {"a": ("instruct_koala", "instruct_vicuna"), "b": ("instruct_koala",)}.items():
        for name in sets:
            (home / "answered" / run / name).mkdir(parents=True)
            (home / "answered" / run / name / "predictions.jsonl").touch()
    done = script(home, "win_rate.sh", "a", "b", RESULTS_DIR="answered")
    assert done.returncode == 1 and "answered/b: no answers to instruct_vicuna" in done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_stopall_lets_a_run_save_and_harms_nobody_else(home, stages):
    output = home / "stopped"
    bystander = subprocess.Popen(["sleep", "3600"])
    run = None
    try:
        run = start(home, OUTPUT_DIR=output, EPOCHS=5000, SAVE_STEPS=5)
        wait_for(run, home, "stopped/1/checkpoint-*/whole")
        done = script(home, "stopall.sh", OUTPUT_DIR=output)
        assert done.returncode == 0 and "the same run.sh goes on" in done.stdout, done.stderr
        assert "by force" not in done.stdout
        assert run.wait(timeout=120) == 75 and bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        if run is not None and run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    saved = sorted(int(path.parent.name.partition("-")[2]) for path in output.glob("1/checkpoint-*/whole"))
    assert saved[-1] > 5 and not (output / "1" / "model.safetensors").exists()


def test_win_rates_come_of_two_runs_and_a_judge(home):
    """The oracle judges: ours is wrong once, theirs twice; so two items are won, one is lost, three are the same."""
    for run, wrong in (("ours", {0}), ("theirs", {1, 2})):
        answers = home / "results" / run / "instruct_koala" / "predictions.jsonl"
        answers.parent.mkdir(parents=True)
        rows = [
            {
                "id": item["id"],
                "instruction": item["instruction"],
                "input": item["input"],
                "output": "I do not know." if number in wrong else "\n".join(item["answers"]),
            }
            for number, item in enumerate(items("pairs", 6))
        ]
        answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    planned = script(home, "win_rate.sh", "ours", "theirs", JUDGE="oracle", DRY_RUN=1)
    assert planned.returncode == 0 and not (home / "results" / "win_rates").exists(), planned.stderr
    done = script(home, "win_rate.sh", "ours", "theirs", JUDGE="oracle")
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((home / "results" / "win_rates" / "win_rates.json").read_text())
    average = figures["runs"]["ours"]["average"]
    assert figures["reference"] == "theirs"
    assert [average[name] for name in ("win", "tie", "lose", "unreadable")] == [2, 3, 1, 0]
    assert average["value"] == pytest.approx(100 * (2 + 3 / 2) / 6 - 50)


def start(home, **variables):
    """A run of run.sh, whose processes are a group of their own and write to `run.log`."""
    command = ["bash", str(ROOT / "scripts" / "phased" / "run.sh"), "--logging_steps", "1"]
    with (home / "run.log").open("w") as log:
        told = dict(stdout=log, stderr=subprocess.STDOUT)
        return subprocess.Popen(command, env=environment(home, **variables), cwd=home, start_new_session=True, **told)


def wait_for(process, home, pattern):
    """Until there is a file of that pattern. Not one certain checkpoint: only the newest two stay."""
    deadline = time.monotonic() + 600
    while not any(home.glob(pattern)):
        assert process.poll() is None and time.monotonic() < deadline, (home / "run.log").read_text()[-3000:]
        time.sleep(0.05)
