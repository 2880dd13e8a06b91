"""open_instruct/phased/stop.py ends what run.sh started, and nothing else."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from open_instruct.phased import stop

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
]


LEAVES_ONE = f"""
import subprocess, time
print(subprocess.Popen({SLEEP!r}).pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process in the run of a folder (None: in no run), and ends it after the test."""
    started = []

    def go(folder, command=SLEEP, **more):
        environment = {name: value for name, value in os.environ.items() if name != stop.MARK}
        if folder:
            environment[stop.MARK] = str(tmp_path / folder)
        started.append(subprocess.Popen(command, env=environment, **more))
        return started[-1]

    yield go
    for process in started:
        process.kill()
        process.wait()


def ending(tmp_path, folder="run", seconds=60.0):
    stop.main(stop.Settings(output_dir=str(tmp_path / folder), seconds=seconds))


def ended(process):
    """Also where nobody asks how: not every machine's first process does, and none does at once."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_only_the_run_of_the_folder_ends(tmp_path, start):
    mine, other_run, stranger = start("run"), start("run2"), start(None)
    ending(tmp_path)
    assert mine.wait(timeout=30) == -signal.SIGTERM
    time.sleep(0.2)
    assert other_run.poll() is None and stranger.poll() is None


def test_processes_that_a_killed_run_left_behind_end_too(tmp_path, start):
    parent = start("run", [sys.executable, "-c", LEAVES_ONE], stdout=subprocess.PIPE)
    orphan = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    assert not ended(orphan)
    ending(tmp_path)
    assert ended(orphan)


def test_what_does_not_end_by_itself_is_killed(tmp_path, start, capsys):
    process = start("run", STUBBORN, stdout=subprocess.PIPE)
    process.stdout.readline()
    ending(tmp_path, seconds=0.3)
    assert process.wait(timeout=30) == -signal.SIGKILL
    assert "1 of them by force after 0.3 s" in capsys.readouterr().out


def test_where_nothing_runs_it_says_so(tmp_path, start, capsys):
    start("run2")
    ending(tmp_path)
    none, others = capsys.readouterr().out.rstrip("\n").split("; others write to ")
    assert none == f"no run of run.sh that writes to {tmp_path / 'run'} is under way"
    assert str(tmp_path / "run2") in others.split(", ")  # and those of tests beside this one


def test_a_process_that_is_only_starting_is_seen(tmp_path, start):
    """Its environment reads as empty until the system has set it, in about one of six looks right after the start."""
    for _ in range(200):
        process = start("run", ["sleep", "60"])
        assert stop._environment(psutil.Process(process.pid))[stop.MARK] == str(tmp_path / "run")
        process.kill()


def test_a_process_without_environment_is_no_run(monkeypatch):
    monkeypatch.setattr(stop, "_STARTS_WITHIN", 0.05)
    process = subprocess.Popen(["sleep", "60"], env={})
    try:
        assert psutil.Process(process.pid) not in stop.running()
    finally:
        process.kill()
        process.wait()
