"""docs/phased.md: the commands for the miniature run as they stand there, killed and given again on the way."""

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
RUN = "bash scripts/phased/run.sh\n"


@pytest.fixture
def home(tmp_path):
    """A folder from which the commands find what they name."""
    for name in ("scripts", "open_instruct", "self-seq"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.slow
def test_the_commands_for_the_miniature_run_and_go_on_after_a_kill(home):
    page = (ROOT / "docs/phased.md").read_text()
    (commands,) = re.findall(r"<!-- a test runs these -->\n```bash\n(.*?)```", page, re.DOTALL)
    first, run, then = commands.partition(RUN)
    made = subprocess.run(shell(first), cwd=home, env=environment(), capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "60 in = 60 scored" in made.stdout
    exports = "".join(line + "\n" for line in first.splitlines() if line.startswith("export "))
    kill_at_stage_2(home, shell(exports + "exec " + RUN))
    finished = (home / "tuned/1/model.safetensors").stat().st_mtime_ns

    done = subprocess.run(
        shell(exports + run + then), cwd=home, env=environment(), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tuned/1: already finished with these settings" in done.stdout
    assert re.search(r"going on from \S*tuned/1-2/checkpoint-\d", done.stdout)
    assert (home / "tuned/1/model.safetensors").stat().st_mtime_ns == finished
    run_2 = json.loads((home / "tuned/1-2/run.json").read_text())
    expected = dict(lr_scheduler_type="cosine", warmup_steps=0.1, weight_decay=0.1, num_train_epochs=4)
    assert {name: run_2["settings"][name] for name in expected} == expected
    assert run_2["settings"]["model_name_or_path"] == str((home / "tuned/1").resolve())
    figures = json.loads((home / "results/win_rates/win_rates.json").read_text())
    assert figures["reference"] == "1+2"
    assert (figures["runs"]["1-2"]["average"]["n"], figures["runs"]["1-2"]["average"]["unreadable"]) == (6, 0)


def shell(commands):
    return ["bash", "-e", "-c", commands]


def environment():
    return {**os.environ, "SIT_ENV": "active", "OMP_NUM_THREADS": "1", "REPORT_TO": "none"}


def kill_at_stage_2(home, command):
    """SIGKILL for the run and all that it started, once stage 2 has a checkpoint."""
    with (home / "run.log").open("w") as log:
        process = subprocess.Popen(command, cwd=home, env=environment(), stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 600
    while not any(home.glob("tuned/1-2/checkpoint-*/whole")):
        assert process.poll() is None and time.monotonic() < deadline, (home / "run.log").read_text()[-3000:]
        time.sleep(0.02)
    # From above: a shell whose training was killed would say so, and end by itself.
    for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    assert process.wait(timeout=30) == -signal.SIGKILL
    assert not (home / "tuned/1-2/model.safetensors").exists()
