"""scripts/prepare_eval_data.sh: from a mirror, from a server that breaks off, and what is refused."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from eval import benchmarks, data

ROOT = Path(__file__).resolve().parents[2]


def prepare(folder, *names, **variables):
    environment = {
        **os.environ,
        "SIT_ENV": "active",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "EVAL_DIR": str(folder),
        "PAUSE": "0",
        **variables,
    }
    script = ROOT / "scripts" / "prepare_eval_data.sh"
    return subprocess.run(["bash", str(script), *names], capture_output=True, text=True, env=environment)


def test_every_benchmark_with_data_of_others_has_a_set():
    folders = {
        path.name for path in benchmarks.TASKS_FOLDER.iterdir() if path.is_dir() and not path.name.startswith("_")
    }
    assert folders - {"miniature"} <= set(data.sets())
    for one in data.sets().values():
        assert one.files and one.page.startswith("https://") and one.licence
        assert all(file.url.startswith("https://") for file in one.files)
        assert len({file.name for file in one.files}) == len(one.files)


def test_the_mirror_is_what_the_table_says(shared):
    """Sizes, hashes and rows: the facts of data.yaml against the files themselves."""
    checked = 0
    for one in data.sets().values():
        for file in one.files:
            path = shared / "data/eval" / one.name / file.name
            if path.is_file() and file.sha256:
                content = path.read_bytes()
                assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256), path
                assert data.rows_in(path) == file.rows, path
                checked += 1
    assert checked > 200


def test_a_mirror_is_copied_and_what_it_lacks_is_told(shared, tmp_path):
    mirror = str(shared / "data/eval")
    done = prepare(tmp_path, "gsm", "tydiqa", "mbpp", DATA_MIRROR=mirror)
    assert (tmp_path / "gsm/test.jsonl").read_bytes() == (shared / "data/eval/gsm/test.jsonl").read_bytes()
    assert "GSM8K, test questions. Licence: MIT" in done.stdout and "1,319 of 1,319 rows, 1 of 1 files" in done.stdout
    assert f"not in DATA_MIRROR={mirror}/tydiqa: tydiqa-goldp-v1.1-dev.json tydiqa-goldp" in done.stdout
    assert "tiny_dev.jsonl.gz is there instead" in done.stdout and (tmp_path / "tydiqa/tiny_dev.jsonl.gz").is_file()
    assert "mbpp: nothing of it is there; copy it there from https://" in done.stderr
    assert done.returncode == 1 and "error: not done: mbpp (the reasons" in done.stderr


def test_a_copy_that_was_changed_is_refused(shared, tmp_path):
    text = (shared / "data/eval/gsm/test.jsonl").read_bytes()
    (tmp_path / "mirror/gsm").mkdir(parents=True)
    (tmp_path / "mirror/gsm/test.jsonl").write_bytes(text.replace(b"Janet", b"Janot", 1))
    done = prepare(tmp_path / "out", "gsm", DATA_MIRROR=str(tmp_path / "mirror"))
    assert done.returncode == 1 and "test.jsonl has another SHA-256 than 3730d312" in done.stderr
    assert not (tmp_path / "out/gsm/test.jsonl").exists()


def test_a_name_that_is_none_lists_those_there_are(tmp_path):
    done = prepare(tmp_path, "gms")
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: no evaluation data named 'gms'; there are: gsm, mgsm, ")


class BreakingOff(BaseHTTPRequestHandler):
    """Sends half of what is left, then hangs up, until `patience` such answers; then it sends all."""

    content = b""
    patience = 2
    begun_at: list[int] = []

    def log_message(self, *_):
        pass

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.begun_at.append(start)
        left = self.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(left)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        self.end_headers()
        if len(self.begun_at) <= self.patience:
            self.wfile.write(left[: len(left) // 2])
            self.close_connection = True
        else:
            self.wfile.write(left)


@pytest.fixture
def server():
    BreakingOff.begun_at = []
    with ThreadingHTTPServer(("127.0.0.1", 0), BreakingOff) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_a_download_that_breaks_off_goes_on_where_it_stopped(shared, server, tmp_path):
    BreakingOff.content = (shared / "data/eval/gsm/test.jsonl").read_bytes()
    done = prepare(tmp_path, "gsm", GITHUB_RAW=server, TRIES="2", no_proxy="*")
    assert done.returncode == 1 and "run again to go on" in done.stderr
    assert not (tmp_path / "gsm/test.jsonl").exists()
    done = prepare(tmp_path, "gsm", GITHUB_RAW=server, no_proxy="*")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "gsm/test.jsonl").read_bytes() == BreakingOff.content
    size = len(BreakingOff.content)
    assert BreakingOff.begun_at == [0, size // 2, size // 2 + (size - size // 2) // 2]
    prepare(tmp_path, "gsm", GITHUB_RAW=server, no_proxy="*")
    assert len(BreakingOff.begun_at) == 3, "what is there was fetched again"


def test_another_file_than_the_known_one_is_refused(server, tmp_path):
    BreakingOff.content, BreakingOff.begun_at = json.dumps({"question": "?"}).encode(), [0, 0, 0]
    done = prepare(tmp_path, "gsm", GITHUB_RAW=server, no_proxy="*")
    assert done.returncode == 1 and "has 17 bytes, expected 749738" in done.stderr
    assert list((tmp_path / "gsm").iterdir()) == []
