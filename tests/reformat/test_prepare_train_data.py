"""scripts/prepare_train_data.sh from end to end: from a mirror, and from a server with all its faults."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from open_instruct.core.records import read_conversations

ROOT = Path(__file__).resolve().parents[2]
DOLLY = "databricks-dolly-15k.jsonl"


def prepare(folder, *sources, before="", **variables):
    environment = {
        **{name: value for name, value in os.environ.items() if "proxy" not in name.lower() and name != "HF_TOKEN"},
        "SIT_ENV": "active",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "TRAIN_DIR": str(folder),
        "TRIES": "4",
        "PAUSE": "0",
        "RES_OPTIONS": "timeout:2 attempts:1",  # of name servers that do not answer
        **{name: str(value) for name, value in variables.items()},
    }
    return subprocess.run(
        ["bash", "-c", before + 'exec bash "$@"', "bash", str(ROOT / "scripts" / "prepare_train_data.sh"), *sources],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )


def dolly_rows(count, word="short"):
    rows = ({"instruction": f"Number {n}?", "context": "", "response": f"It is {n}, {word}."} for n in range(count))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def conversations(folder, source):
    return list(read_conversations(folder / "processed" / source / f"{source}_data.jsonl"))


# --- from a mirror


@pytest.mark.slow
def test_a_mirror_is_read_by_file_names_and_by_folders_and_the_rest_is_named(shared, tmp_path):
    mirror = shared / "data" / "train"
    done = prepare(tmp_path, "lima", "cot", "super_ni", "dolly", "baize", DATA_MIRROR=mirror)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"  error: not in DATA_MIRROR={mirror}: alpaca_chat_data.json medical_chat_data.json quora_chat_data.json "
        "stackoverflow_chat_data.json; copy them there from https://github.com/project-baize/baize-chatbot",
        "error: not done: baize (the reasons stand above). All else is kept, and the same command goes on",
    ]
    assert (tmp_path / "lima" / "lima.jsonl").read_bytes() == (mirror / "lima" / "lima.jsonl").read_bytes()
    counts = {name: len(conversations(tmp_path, name)) for name in ("lima", "cot", "super_ni", "dolly")}
    assert counts == {"lima": 1030, "cot": 25_970, "super_ni": 1600, "dolly": 2996}
    assert "dolly: 2,996 conversations; published: 15,011" in done.stdout
    again = prepare(tmp_path, "lima", DATA_MIRROR=mirror)
    assert again.returncode == 0 and "lima.jsonl is there" in again.stdout and "nothing to do" in again.stdout


def test_stage_1s_inputs_are_kept_where_stage_1_looks(tmp_path):
    rows = [{"instruction": "Say hello.", "input": "", "output": "Hello."}]
    mirror, folder = tmp_path / "mirror", tmp_path / "train"
    (mirror / "any" / "where").mkdir(parents=True)
    (mirror / "any" / "where" / "alpaca_data_cleaned.json").write_text(json.dumps(rows))
    (mirror / "any" / "flancot_100k.jsonl").write_text(json.dumps({**rows[0], "system_prompt": "Think."}) + "\n")
    done = prepare(folder, "alpaca_cleaned", "flancot", DATA_MIRROR=mirror)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "alpaca_cleaned" / "alpaca_data_cleaned.json").read_text()) == rows
    assert (folder / "flancot" / "flancot_100k.jsonl").is_file()
    for script, path in (
        ("generation_alpaca_llama_70b.sh", "alpaca_cleaned/alpaca_data_cleaned.json"),
        ("generation_flancot_full_llama_70b.sh", "flancot/flancot_100k.jsonl"),
    ):
        assert f"$ROOT/data/train/{path}" in (ROOT / "self-seq" / "scripts" / script).read_text()


def test_a_copy_whose_size_or_content_is_wrong_is_refused(tmp_path):
    mirror, folder = tmp_path / "mirror", tmp_path / "train"
    mirror.mkdir()
    (mirror / "lima.jsonl").write_text("{}\n")
    done = prepare(folder, "lima", DATA_MIRROR=mirror)
    assert done.returncode == 1
    assert "lima.jsonl has 3 bytes, expected 2980036; copy it again" in done.stderr
    (mirror / "lima.jsonl").write_bytes(b" " * 2_980_036)
    assert "has another SHA-256 than 05e6c0227852" in prepare(folder, "lima", DATA_MIRROR=mirror).stderr
    assert not (folder / "lima" / "lima.jsonl").exists()


def test_a_name_that_a_mirror_holds_twice_is_not_guessed(tmp_path):
    for name in "ab":
        (tmp_path / "mirror" / name).mkdir(parents=True)
        (tmp_path / "mirror" / name / DOLLY).write_bytes(dolly_rows(2))
    done = prepare(tmp_path / "train", "dolly", DATA_MIRROR=tmp_path / "mirror")
    assert f"{DOLLY} is 2 times in DATA_MIRROR=" in done.stderr
    (tmp_path / "mirror" / "dolly").mkdir()
    (tmp_path / "mirror" / "dolly" / DOLLY).write_bytes(dolly_rows(3))
    assert prepare(tmp_path / "train", "dolly", DATA_MIRROR=tmp_path / "mirror").returncode == 0
    assert len(conversations(tmp_path / "train", "dolly")) == 3


def test_wrong_settings_are_one_line(tmp_path):
    done = prepare(tmp_path / "train", "dolly", DATA_MIRROR=tmp_path / "nowhere")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "no such folder" in done.stderr
    done = prepare(tmp_path / "train", "doly")
    assert done.returncode == 1 and done.stderr.startswith("error: no source named 'doly'; there are: ")
    done = prepare(tmp_path / "train", "seqins")
    assert "no address to download it from is known; put it there by hand: https://huggingface.co" in done.stderr


def test_the_mixture_is_written_when_its_sources_are_there(tmp_path):
    rows = {
        "flan_v2/flan_v2_resampled_100k.jsonl": {"inputs": "Why?", "targets": "So."},
        "cot/cot_zsopt.jsonl": {"inputs": "Why?", "targets": "So."},
        "cot/cot_fsopt.jsonl": {"inputs": "How?", "targets": "So."},
        f"dolly/{DOLLY}": {"instruction": "Who?", "context": "", "response": "I."},
        "oasst1/2023-04-12_oasst_ready.trees.jsonl": {
            "message_tree_id": "t",
            "prompt": {"role": "prompter", "text": "Q", "replies": [{"role": "assistant", "text": "A"}]},
        },
    }
    for name, row in rows.items():
        (tmp_path / "mirror" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / name).write_text(json.dumps(row) + "\n")
    done = prepare(
        tmp_path / "train", "flan_v2", "cot", "dolly", "oasst1", DATA_MIRROR=tmp_path / "mirror", MIX="human"
    )
    assert done.returncode == 0, done.stderr
    mixed = conversations(tmp_path / "train", "human")
    assert sorted(one.dataset for one in mixed) == ["cot", "cot", "dolly", "flan_v2", "oasst1"]
    assert "published: 249,806" in done.stdout


# --- from a server


class Server:
    """A hub on this machine. `faults` are taken one a request; `seen` has the headers of every request."""

    def __init__(self) -> None:
        self.content, self.faults, self.seen = b"", [], []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, request):
        self.seen.append(dict(request.headers))
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            request.send_response(fault)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        tag = f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'
        start = 0
        wanted = request.headers.get("Range", "")
        if wanted and request.headers.get("If-Range", tag) == tag and fault != "no ranges":
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if wanted and start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        request.send_header("Content-Length", str(len(self.content) - start))
        request.send_header("ETag", tag)
        request.end_headers()
        body = self.content[start:]
        if fault == "cut":
            body = body[: len(body) // 2]
            request.close_connection = True
        request.wfile.write(body)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, tmp_path):
    server.content, server.faults = dolly_rows(5000), ["cut", 503, "cut"]
    done = prepare(tmp_path, "dolly", HF_ENDPOINT=server.url)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dolly" / DOLLY).read_bytes() == server.content
    half = len(server.content) // 2
    starts = [headers.get("Range") for headers in server.seen]
    assert starts == [None, f"bytes={half}-", f"bytes={half}-", f"bytes={half + (len(server.content) - half) // 2}-"]
    assert sorted(path.name for path in (tmp_path / "dolly").iterdir()) == [DOLLY]
    assert len(conversations(tmp_path, "dolly")) == 5000


def test_the_next_run_goes_on_too_and_a_finished_file_is_not_fetched_again(server, tmp_path):
    server.content, server.faults = dolly_rows(5000), ["cut"]
    done = prepare(tmp_path, "dolly", HF_ENDPOINT=server.url, TRIES=1)
    assert done.returncode == 1 and "it broke off 1 times" in done.stderr and "run again to go on" in done.stderr
    assert prepare(tmp_path, "dolly", HF_ENDPOINT=server.url).returncode == 0
    assert server.seen[1]["Range"] == f"bytes={len(server.content) // 2}-"
    assert len(conversations(tmp_path, "dolly")) == 5000
    assert prepare(tmp_path, "dolly", HF_ENDPOINT=server.url).returncode == 0
    assert len(server.seen) == 2


@pytest.mark.parametrize("fault", [None, "no ranges"])
def test_a_file_that_changed_meanwhile_is_fetched_from_the_beginning(fault, server, tmp_path):
    server.content, server.faults = dolly_rows(5000), ["cut"]
    assert prepare(tmp_path, "dolly", HF_ENDPOINT=server.url, TRIES=1).returncode == 1
    server.content, server.faults = dolly_rows(5000, "other"), [fault]
    done = prepare(tmp_path, "dolly", HF_ENDPOINT=server.url)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dolly" / DOLLY).read_bytes() == server.content


def test_a_part_that_is_whole_already_does_no_harm(server, tmp_path):
    server.content = dolly_rows(20)
    (tmp_path / "dolly").mkdir()
    (tmp_path / "dolly" / f"{DOLLY}.part").write_bytes(server.content)
    done = prepare(tmp_path, "dolly", HF_ENDPOINT=server.url)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dolly" / DOLLY).read_bytes() == server.content


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (404, "HTTP 404: it is no longer there; look at https://huggingface.co/datasets/databricks"),
        (403, "accept its terms at https://huggingface.co/datasets/databricks/databricks-dolly-15k and set HF_TOKEN"),
        (407, "the proxy wants a login"),
        (503, "HTTP 503: its server does not send it; try again later"),
    ],
)
def test_a_refusal_is_one_line_with_what_to_do(status, advice, server, tmp_path):
    server.faults = [status] * 9
    done = prepare(tmp_path, "dolly", HF_ENDPOINT=server.url)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith(f"  error: {tmp_path}/dolly/{DOLLY}: {server.url}/datasets/") and advice in first
    assert last.startswith("error: not done: dolly ")
    assert len(server.seen) == (4 if status == 503 else 1)


def test_no_connection_names_the_mirror(tmp_path):
    done = prepare(tmp_path, "dolly", HF_ENDPOINT="http://127.0.0.1:9")
    assert "its host takes no connection: behind a proxy set https_proxy, without internet DATA_MIRROR" in done.stderr
    done = prepare(tmp_path, "dolly", HF_ENDPOINT="http://no-such-host.invalid")
    assert "its host cannot be found: no internet here?" in done.stderr
    done = prepare(tmp_path, "lima", https_proxy="http://no-such-proxy.invalid:3128")
    assert "the proxy that https_proxy names cannot be found" in done.stderr


def test_a_proxy_that_refuses_is_told_from_a_broken_line(server, tmp_path):
    """`lima` is at an https address, for which curl asks the proxy to connect; this one knows no CONNECT."""
    done = prepare(tmp_path, "lima", https_proxy=server.url)
    assert "the proxy refuses it (HTTP 501)" in done.stderr


def test_a_full_disk_is_told_and_what_is_there_stays(server, tmp_path):
    """The disk is stood in for by a limit of 100 KiB a file, which makes the same write fail."""
    server.content = dolly_rows(5000)
    done = prepare(tmp_path, "dolly", HF_ENDPOINT=server.url, before="trap '' XFSZ; ulimit -f 100; ")
    assert done.returncode == 1 and done.stderr.count("\n") == 2
    assert "it cannot be written; " in done.stderr and " are free there: make room, run again" in done.stderr
    assert (tmp_path / "dolly" / f"{DOLLY}.part").stat().st_size > 0
    assert prepare(tmp_path, "dolly", HF_ENDPOINT=server.url).returncode == 0
    assert (tmp_path / "dolly" / DOLLY).read_bytes() == server.content


def test_a_login_page_is_no_data(server, tmp_path):
    server.content = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"
    done = prepare(tmp_path, "dolly", HF_ENDPOINT=server.url)
    assert "sent is a web page, no data (the login page of a proxy?)" in done.stderr
    assert not list((tmp_path / "dolly").iterdir())


def test_the_hubs_token_goes_to_the_hub_alone(server, tmp_path):
    server.content = dolly_rows(3)
    assert prepare(tmp_path, "dolly", HF_ENDPOINT=server.url, HF_TOKEN="hf_abc").returncode == 0
    assert server.seen[0]["Authorization"] == "Bearer hf_abc"
    assert "hf_abc" not in "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_a_second_run_in_the_folder_is_kept_out(tmp_path):
    with (tmp_path / ".prepare.lock").open("w") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        done = prepare(tmp_path, "dolly")
    assert done.returncode == 1 and "another prepare_train_data.sh is at work" in done.stderr
