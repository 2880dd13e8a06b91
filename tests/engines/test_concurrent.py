"""Many answers at once: their order, how many are on their way, and what happens to them when something breaks."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from open_instruct.engines._concurrent import Concurrent
from open_instruct.engines.base import Completion, Request

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("no_garbage")]


def requests(count, taken=None):
    for key in range(count):
        if taken is not None:
            taken.append(key)
        yield Request(key, ({"role": "user", "content": "hello"},))


def completion(request):
    return Completion(request.key, "text", "stop", 1, 1)


@pytest.fixture
def concurrent():
    opened = Concurrent()
    yield opened
    opened.close()


def test_answers_come_as_they_finish(concurrent):
    gates = [asyncio.Event() for _ in range(3)]

    async def answer(request):  # the last is done first, and lets the one before it go
        if request.key < 2:
            await gates[request.key + 1].wait()
        gates[request.key].set()
        return completion(request)

    assert [done.key for done in concurrent.stream(requests(3), answer, in_flight=3)] == [2, 1, 0]


def test_no_more_than_in_flight_are_taken_or_on_their_way(concurrent):
    taken, now, most = [], 0, 0

    async def answer(request):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return completion(request)

    stream = concurrent.stream(requests(10_000_000, taken), answer, in_flight=8)
    for _ in range(100):
        next(stream)
    stream.close()
    assert most == 8
    assert len(taken) <= 100 + 2 * 8  # finished but not yet asked for, and on their way
    assert now > 0  # given up, not waited for


def test_what_was_answered_comes_before_what_was_raised(concurrent):
    async def answer(request):
        if request.key == 50:
            raise ValueError("no answer to 50")
        await asyncio.sleep(0)
        return completion(request)

    keys = []
    with pytest.raises(ValueError, match="no answer to 50"):
        for done in concurrent.stream(requests(10_000), answer, in_flight=4):
            keys.append(done.key)
    assert set(keys) >= set(range(47)) and 50 not in keys


def test_what_was_answered_when_ctrl_c_came_is_not_lost(concurrent):
    """It was paid for."""

    async def answer(request):
        if request.key == 3:
            raise KeyboardInterrupt
        return completion(request)

    keys = []
    with pytest.raises(KeyboardInterrupt):
        for done in concurrent.stream(requests(10), answer, in_flight=2):
            keys.append(done.key)
    assert keys == [0, 1, 2]


def test_an_error_of_the_requests_is_raised(concurrent):
    def broken():
        yield from requests(5)
        raise OSError("the input is gone")

    async def answer(request):
        return completion(request)

    keys = []
    with pytest.raises(OSError, match="the input is gone"):
        for done in concurrent.stream(broken(), answer, in_flight=2):
            keys.append(done.key)
    assert sorted(keys) == [0, 1, 2, 3, 4]


def test_no_requests_are_no_answers(concurrent):
    assert list(concurrent.stream(iter(()), None, in_flight=4)) == []


def test_a_second_stream_runs_beside_an_unfinished_one(concurrent):
    async def answer(request):
        await asyncio.sleep(0.001)
        return completion(request)

    first = concurrent.stream(requests(20), answer, in_flight=2)
    keys = [next(first).key]
    assert sorted(done.key for done in concurrent.stream(requests(30), answer, in_flight=3)) == list(range(30))
    assert concurrent.run(asyncio.sleep(0.01, "ran")) == "ran"
    assert sorted([*keys, *(done.key for done in first)]) == list(range(20))


def test_closing_gives_up_what_is_on_its_way(concurrent):
    given_up = []

    async def answer(request):
        if request.key == 0:
            return completion(request)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.001)  # putting things away takes time
            given_up.append(request.key)
            raise

    stream = concurrent.stream(requests(5), answer, in_flight=4)
    assert next(stream).key == 0
    concurrent.close()
    assert sorted(given_up) == [1, 2, 3, 4]
    concurrent.close()
    stream.close()


def test_ctrl_c_ends_it_without_complaints(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent("""
        import asyncio, sys
        from open_instruct.engines._concurrent import Concurrent
        from open_instruct.engines.base import Completion, Request

        async def answer(request):
            await asyncio.sleep(0.001 if request.key < 50 else 60)
            return Completion(request.key, "", "stop", 1, 1)

        concurrent = Concurrent()
        done = 0
        try:
            for _ in concurrent.stream((Request(key, ()) for key in range(1000)), answer, 20):
                done += 1
                if done == 50:
                    print("ready", flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        finally:
            concurrent.close()
        """)
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "always", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A program that is started in the background inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "interrupted\n", "")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # garbage of other tests
def test_ctrl_c_in_a_task_of_the_http_library_is_not_told_twice(concurrent, caplog):
    """asyncio raises it out of the loop, and complains of the same one when that task is thrown away."""

    async def write():
        raise KeyboardInterrupt

    async def answer(request):
        concurrent._loop.create_task(write())
        await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        list(concurrent.stream(requests(1), answer, in_flight=1))
    concurrent.close()
    gc.collect()
    assert not caplog.records


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # garbage of other tests
def test_other_failures_that_nobody_heard_are_told(concurrent, caplog):
    async def write():
        raise OSError("the pipe broke")

    async def answer(request):
        concurrent._loop.create_task(write())
        await asyncio.sleep(0.01)
        return Completion(request.key, "", "stop", 1, 1)

    list(concurrent.stream(requests(1), answer, in_flight=1))
    concurrent.close()
    gc.collect()
    assert "never retrieved" in caplog.text and "the pipe broke" in caplog.text
