"""The openai-batch engine: right answers to the right rows, nothing sent twice whatever happens, clear stops."""

import json
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from open_instruct.core.errors import UserError
from open_instruct.engines import _http, identity, open_engine
from open_instruct.engines.base import Request, Sampling

sys.path.append(str(Path(__file__).parent))
from fault_server import fault_server  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("no_garbage")]

KEY = "test-key-5f2c9b7a"
LIST = "apple fig pear"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(_http, "_FIRST_PAUSE", 0.01)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


def request(key, text=None, **sampling):
    return Request(
        key, ({"role": "user", "content": text or f"Copy the list.\nitem{key} {LIST}"},), Sampling(**sampling)
    )


def numbered(*keys):
    return (request(key) for key in range(*keys))


def opened(server, state, **settings):
    options = {"model": "oracle", "base_url": server.url, "state": state, "poll_seconds": 0.02} | settings
    return open_engine("openai-batch", [f"{name}={value}" for name, value in options.items()])


def ask(server, state, requests, troubles=None, **settings):
    """The completions, in the order of their keys."""
    engine = opened(server, state, **settings)
    try:
        done = list(engine.complete(requests))
        if troubles is not None:
            troubles.update(engine.troubles)
        return sorted(done, key=lambda completion: completion.key)
    finally:
        engine.close()


def right(done, *keys):
    expected = [(key, f"item{key} {LIST}", "stop", "") for key in range(*keys)]
    return [(d.key, d.text, d.finish_reason, d.error) for d in done] == expected


def asked(server):
    """How often each request stands in a batch."""
    names = [
        json.loads(line)["custom_id"]
        for batch in server.batches.values()
        for line in server.files[batch["input_file_id"]].splitlines()
    ]
    return {name: names.count(name) for name in names}


def test_requests_are_cut_into_batches_and_each_gets_its_answer(tmp_path):
    with fault_server(batch_seconds=0.05) as server:
        assert right(ask(server, tmp_path, numbered(100), chunk_requests=30, open_batches=2), 100)
    sizes = [len(server.files[batch["input_file_id"]].splitlines()) for batch in server.batches.values()]
    assert sizes == [30, 30, 30, 10]
    line = json.loads(server.files["file-0"].splitlines()[0])
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert line["body"]["messages"][0]["content"] == f"Copy the list.\nitem0 {LIST}"
    assert {batch["endpoint"] for batch in server.batches.values()} == {"/v1/chat/completions"}
    assert [path.name for path in tmp_path.iterdir()] == ["state.sqlite"]  # the chunks are gone


def test_batches_are_cut_by_their_size_too(tmp_path):
    with fault_server() as server:
        done = ask(
            server, tmp_path, (request(k, "Copy the list.\n" + "word " * 2000) for k in range(10)), chunk_mib=0.03
        )
    assert len(done) == 10
    sizes = [len(server.files[batch["input_file_id"]]) for batch in server.batches.values()]
    assert len(sizes) == 4 and max(sizes) <= 0.03 * 2**20


def test_no_more_batches_than_asked_for_are_open_and_no_more_requests_are_taken(tmp_path):
    taken = []

    def endless():
        for key in range(10_000_000):
            taken.append(key)
            yield request(key)

    with fault_server(batch_seconds=0.1) as server:
        engine = opened(server, tmp_path, chunk_requests=10, open_batches=2)
        stream = engine.complete(endless())
        for _ in range(25):
            next(stream)
        stream.close()
        engine.close()
        assert len(server.batches) <= 5 and len(taken) <= 60


def test_faults_everywhere_lose_nothing_and_send_nothing_twice(tmp_path):
    troubles = {}
    kinds = "500 503 429 drop drop_after half garbage error_object".split()
    with fault_server(faults=0.4, kinds=kinds, batch_seconds=0.05) as server:
        done = ask(server, tmp_path, numbered(120), troubles, chunk_requests=10, open_batches=3, retries=30)
        assert right(done, 120)
        assert len(server.batches) == 12 and set(asked(server).values()) == {1}
        assert server.served["drop_after"] > 0 and sum(troubles.values()) > 10


def test_what_a_batch_leaves_unanswered_is_asked_again(tmp_path):
    troubles = {}
    with fault_server(batch_line_faults=0.3) as server:
        assert right(ask(server, tmp_path, numbered(60), troubles, tries=20), 60)
        assert len(server.batches) > 1 and troubles["500"] == sum(asked(server).values()) - 60 > 5


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_what_an_ended_batch_answered_is_used_and_the_rest_asked_again(tmp_path, end):
    with fault_server() as server:
        server.batch_ends = [end]
        assert right(ask(server, tmp_path, numbered(40)), 40)
        assert sorted(asked(server).values()) == [1] * 20 + [2] * 20


def test_a_request_that_no_batch_answers_is_an_error_in_the_end(tmp_path):
    with fault_server(batch_line_faults=1.0) as server:
        done = ask(server, tmp_path, numbered(5), tries=3)
        assert len(server.batches) == 3
    assert {(d.finish_reason, d.error) for d in done} == {("error", "3 batches ended without an answer")}


def test_answers_that_are_none_have_their_reasons(tmp_path):
    with fault_server(window=50) as server:
        short, long = ask(server, tmp_path, [request(0, max_tokens=20), request(1, "word " * 60, max_tokens=20)])
    assert short.finish_reason == "stop"
    assert long.finish_reason == "error" and long.error.startswith("the prompt is longer than the model's window")


def test_a_batch_that_is_not_taken_stops_the_run_and_nothing_is_lost(tmp_path):
    with fault_server() as server:
        server.batch_ends = ["failed"]
        with pytest.raises(UserError, match=r"did not take a batch: a line is no JSON \(line 1\)"):
            ask(server, tmp_path, numbered(10))
        assert right(ask(server, tmp_path, numbered(10)), 10)


def test_a_batch_that_the_server_does_not_know_any_more_is_named(tmp_path):
    with fault_server(batch_seconds=1000) as server:
        engine = opened(server, tmp_path, open_batches=2, chunk_requests=10)
        with pytest.raises(KeyboardInterrupt):
            list(engine.complete(interrupted(server)))
        engine.close()
        server.batches.clear()
        with pytest.raises(
            UserError, match="remembers batch batch_0 there: are base_url and the key's account the same"
        ):
            ask(server, tmp_path, numbered(10))


def test_lines_of_a_file_of_answers_that_nobody_asked_for_are_no_answers(tmp_path):
    troubles = {}
    with fault_server(batch_seconds=0.1) as server:
        work_on = server._work_on

        def spoilt(batch):
            work_on(batch)
            if batch["status"] == "completed" and batch["id"] == "batch_0":
                first, *others = server.files[batch["output_file_id"]].splitlines(keepends=True)
                strange = [
                    b'{"custom_id": 5}\n',
                    b"[]\n",
                    b"\xff\n",
                    json.dumps({"custom_id": "a" * 32 + "-1"}).encode(),
                ]
                server.files[batch["output_file_id"]] = b"".join([*others, *strange])

        server._work_on = spoilt
        assert right(ask(server, tmp_path, numbered(10), troubles, retries=1, give_up_after=0), 10)
        assert sorted(asked(server).values()) == [1] * 9 + [2]
    assert troubles == {"garbage": 2}


def test_a_file_of_answers_whose_line_never_ends_is_broken_off_and_fetched_again(tmp_path):
    troubles = {}
    with fault_server(sequence=[None, None, None, "endless"]) as server:
        assert right(ask(server, tmp_path, numbered(5), troubles), 5)
        assert server.log[3].what.endswith("/content") and troubles == {"too large": 1}


def test_a_full_queue_is_waited_for(tmp_path):
    troubles = {}
    with fault_server(batch_seconds=0.1) as server:
        server.queue_limit = 2
        done = ask(server, tmp_path, numbered(80), troubles, chunk_requests=10, open_batches=4)
        assert right(done, 80) and troubles["queue full"] > 0


def test_requests_that_are_all_refused_stop_the_run(tmp_path):
    with fault_server(refused_fields=["top_k"]) as server:
        requests = [request(key, top_k=50) for key in range(30)]
        with pytest.raises(UserError, match="all 30 answers of a batch are refusals.*'top_k'"):
            ask(server, tmp_path, requests)
        done = ask(server, tmp_path, requests, stop_after_failures=0)
        assert {completion.finish_reason for completion in done} == {"error"}
        assert right(ask(server, tmp_path, numbered(30)), 30)


def test_a_second_run_gets_its_answers_from_the_state_however_it_asks(tmp_path):
    with fault_server() as server:
        ask(server, tmp_path, numbered(60), chunk_requests=25)
        calls = len(server.log)
        assert right(ask(server, tmp_path, numbered(30, 60), chunk_requests=7), 30, 60)
        assert len(server.log) == calls
        assert right(ask(server, tmp_path, numbered(50, 70)), 50, 70)
        assert set(asked(server).values()) == {1}


def test_asked_the_same_again_in_one_run_the_server_is_asked_again(tmp_path):
    with fault_server() as server:
        engine = opened(server, tmp_path)
        assert len(list(engine.complete(numbered(4)))) == 4
        assert len(list(engine.complete(numbered(4)))) == 4
        engine.close()
        assert set(asked(server).values()) == {2}


def test_equal_requests_in_one_call_are_answered_each(tmp_path):
    with fault_server() as server:
        done = ask(server, tmp_path, [request(3), request(3), request(4)])
    assert [completion.key for completion in done] == [3, 3, 4]


def test_another_process_cannot_have_the_same_state(tmp_path):
    with fault_server() as server:
        engine = opened(server, tmp_path)
        with pytest.raises(UserError, match="another process works with this state"):
            opened(server, tmp_path)
        engine.close()
        opened(server, tmp_path).close()


def test_a_batch_whose_id_was_never_noted_is_found_again(tmp_path):
    """As a kill leaves it between the server's creating a batch and our noting its id."""
    with fault_server(batch_seconds=1000) as server:
        engine = opened(server, tmp_path, open_batches=2, chunk_requests=10)
        with pytest.raises(KeyboardInterrupt):
            list(engine.complete(interrupted(server)))
        engine.close()
        with sqlite3.connect(tmp_path / "state.sqlite") as base:
            assert base.execute("UPDATE batch SET batch_id = NULL").rowcount == 1
        base.close()
        for _ in range(150):  # others of the account, on further pages
            server._create_batch({"input_file_id": "x", "endpoint": "x", "completion_window": "24h"})
        server.settings.batch_seconds = 0
        assert right(ask(server, tmp_path, numbered(10)), 10)
        assert len([batch for batch in server.batches.values() if batch["input_file_id"] == "file-0"]) == 1


def interrupted(server):
    """Ten requests, and Ctrl-C as soon as they are a batch at the server."""
    yield from numbered(10)
    yield request(10)  # begins the next chunk, so the first is sent
    assert len(server.batches) == 1
    raise KeyboardInterrupt


SCRIPT = textwrap.dedent("""
    import sys
    from open_instruct.engines import open_engine
    from open_instruct.engines.base import Request

    url, state, out = sys.argv[1:]
    options = ["model=oracle", "base_url=" + url, "state=" + state, "poll_seconds=0.05", "chunk_requests=8"]
    engine = open_engine("openai-batch", options)
    done = {line.split()[0] for line in open(out)}
    keys = [key for key in range(100) if str(key) not in done]  # as a journal does: only what is missing
    messages = lambda key: ({"role": "user", "content": f"Copy the list.\\nitem{key} apple fig pear"},)
    with open(out, "a") as file:
        for completion in engine.complete(Request(key, messages(key)) for key in keys):
            print(completion.key, completion.text, file=file, flush=True)
    engine.close()
""")


@pytest.mark.slow
def test_kills_at_any_moment_send_nothing_twice(tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT)
    out = tmp_path / "out.txt"
    out.touch()
    with fault_server(batch_seconds=1.5, latency_ms=15) as server:
        command = [sys.executable, tmp_path / "run.py", server.url, tmp_path / "state", out]
        kills = 0
        # Before the first batch, while batches are sent, between submit and fetch, and while answers are written.
        for calls in (1, 2, 3, 4, 6, 9, 12, 16, 22, 30):
            before = len(server.log)
            process = subprocess.Popen(command)
            while len(server.log) < before + calls and process.poll() is None:
                time.sleep(0.001)
            kills += process.poll() is None
            process.kill()
            process.wait()
        subprocess.run(command, check=True)
        assert kills >= 5
        assert set(asked(server).values()) == {1} and len(asked(server)) == 100
    lines = [line for line in out.read_text().splitlines() if line]
    answers = {int(line.split()[0]): line.split(maxsplit=1)[1] for line in lines}
    assert answers == {key: f"item{key} {LIST}" for key in range(100)}


def test_the_key_is_sent_and_never_stored(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with fault_server(key=KEY) as server:
        assert right(ask(server, tmp_path / "state", numbered(3)), 3)
        assert all(entry.headers["Authorization"] == f"Bearer {KEY}" for entry in server.log)
    with fault_server(key="another") as server, pytest.raises(UserError, match="OPENAI_API_KEY is refused") as caught:
        ask(server, tmp_path / "state", numbered(5, 9))
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in str(caught.value) + "".join(capfd.readouterr()) and KEY.encode() not in stored


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["state="], "state is empty"),
        (["chunk_requests=0"], "chunk_requests is 0; expected more than 0"),
        (["extra=[]"], "extra is no JSON object"),
        (["state=/proc/nowhere"], "cannot be written"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        open_engine("openai-batch", ["model=a", "base_url=http://127.0.0.1:9/v1", f"state={tmp_path}", *options])


def test_the_state_folder_is_no_part_of_what_decides_the_answers():
    one = identity("openai-batch", ["model=a", "state=one", "chunk_requests=5"])
    assert (
        one
        == identity("openai-batch", ["model=a", "state=two"])
        == {"name": "openai-batch", "model": "a", "content": "{}"}
    )
