"""The watcher ends what a killed program left behind, and nothing else."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

# Starts processes that would sleep for ever before, under and after the watcher; says their ids, then does ACTION.
PROGRAM = """
import os, signal, subprocess, sys, time
from open_instruct.engines._watcher import Watcher
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
before = subprocess.Popen(sleep)
watcher = Watcher()
watched = subprocess.Popen(sleep)
watcher.started()
after = subprocess.Popen(sleep)
print(watcher._process.pid, before.pid, watched.pid, after.pid, flush=True)
{action}
"""


def ended(pid: int, seconds: float = 20) -> bool:
    """Whether the process ends; seconds of waiting only where it does not."""
    try:
        process = psutil.Process(pid)
        while seconds > 0 and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.1)
            seconds -= 0.1
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def run(action: str, program: str = PROGRAM) -> list[int]:
    """Process ids of the watcher, of what ran before, of what it watches, and of what came after."""
    command = [sys.executable, "-c", program.format(action=action)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        return [int(word) for word in process.stdout.readline().split()]


@pytest.mark.parametrize(
    "action",
    ["os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGTERM)", "os._exit(3)"],
    ids=["kill", "term", "exit"],
)
def test_what_a_program_that_dies_leaves_behind_is_ended(action):
    watcher, before, watched, after = run(action)
    try:
        assert ended(watched)
        assert ended(watcher)
        assert not ended(before, seconds=0) and not ended(after, seconds=0), "ended what the library did not start"
    finally:
        os.kill(before, signal.SIGKILL)
        os.kill(after, signal.SIGKILL)


def test_a_process_that_was_forked_and_holds_all_our_pipes_is_ended_too():
    forked = 'multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))\nwatched.start()'
    program = "import multiprocessing" + PROGRAM.replace(
        "subprocess.Popen(sleep)\nwatcher.started", f"{forked}\nwatcher.started"
    )
    watcher, before, watched, after = run("os.kill(os.getpid(), signal.SIGKILL)", program)
    os.kill(before, signal.SIGKILL)
    os.kill(after, signal.SIGKILL)
    assert ended(watched) and ended(watcher)


def test_in_the_end_it_ends_what_the_library_left():
    watcher, before, watched, after = run("watcher.end()")
    try:
        assert ended(watcher, seconds=0) and ended(watched, seconds=0)
        assert not ended(before, seconds=0) and not ended(after, seconds=0)
    finally:
        os.kill(before, signal.SIGKILL)
        os.kill(after, signal.SIGKILL)


def test_a_start_that_is_broken_off_leaves_nothing():
    watcher, before, watched, after = run("", PROGRAM.replace("watcher.started()", "watcher.end()"))
    os.kill(before, signal.SIGKILL)
    os.kill(after, signal.SIGKILL)
    assert ended(watcher, seconds=0) and ended(watched, seconds=0)


def test_a_watcher_that_was_killed_is_no_trouble():
    watcher, *others = run("watcher._process.kill(); watcher._process.wait(); watcher.started(); watcher.end()")
    try:
        assert ended(watcher)
        assert len(others) == 3 and not any(ended(pid, seconds=0) for pid in others)
    finally:
        for pid in others:
            os.kill(pid, signal.SIGKILL)
