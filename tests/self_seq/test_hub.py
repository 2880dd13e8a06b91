"""Uploading, against a server on this machine that speaks the hub's endpoints; the client is the real one."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from self_seq.report.page import write_report
from self_seq.report.shareable import shareable

TOKEN = "hf_" + 5 * "secret"
PUSH = """
import sys
from pathlib import Path
from open_instruct.core.command import guarded
from self_seq import hub
guarded(lambda: print(hub.push(Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "private")))
"""


class Hub(ThreadingHTTPServer):
    """Keeps the datasets that it is sent: repository -> {"private", "files": path -> bytes}."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Endpoints)
        self.datasets, self.refuse, self.large = {}, {}, 10**9
        self.stored, self.validated, self.told_tokens = {}, [], set()
        self.address = f"http://127.0.0.1:{self.server_port}"


class _Endpoints(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.told_tokens.add(self.headers.get("Authorization"))
        for part, status in self.server.refuse.items():
            if part in self.path:
                return self.send(status, {"error": f"no, said the hub to {TOKEN}"})
        status, told = self.reply(self.path.partition("?")[0], body)
        self.send(status, told)

    do_GET = do_POST = do_PUT = answer

    def reply(self, path, body):
        hub = self.server
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            private = asked.get("visibility") == "private" or asked.get("private") is True
            if name in hub.datasets:
                return 409, {"error": "You already created this dataset repo", "url": f"{hub.address}/datasets/{name}"}
            hub.datasets[name] = {"private": private, "files": {}}
            return 200, {"url": f"{hub.address}/datasets/{name}", "name": name, "id": "1"}
        if path == "/api/validate-yaml":
            hub.validated.append(json.loads(body)["content"])
            return 200, {"errors": [], "warnings": []}
        if path.startswith("/store/"):
            hub.stored[path.removeprefix("/store/")] = body
            return 200, {}
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{hub.address}/store/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}
        name = "/".join(path.split("/")[3:5])
        if path.endswith("/preupload/main"):
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["size"] > hub.large else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return 200, {"files": files}
        if path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    hub.datasets[name]["files"][value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "deletedFile":
                    del hub.datasets[name]["files"][value["path"]]
                elif line["key"] == "lfsFile":
                    hub.datasets[name]["files"][value["path"]] = hub.stored[value["oid"]]
            return 200, {"commitUrl": f"{hub.address}/datasets/{name}/commit/1", "commitOid": "1", "success": True}
        if path == f"/api/datasets/{name}" and name in hub.datasets:
            files = [{"rfilename": one} for one in hub.datasets[name]["files"]]
            return 200, {"id": name, "private": hub.datasets[name]["private"], "sha": "1" * 40, "siblings": files}
        return 404, {"error": f"nothing at {path}"}

    def send(self, status, told):
        text = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(finished_run, capsys):
    made = finished_run()
    write_report(made)
    return made


def push(folder, tmp_path, address, repository="ada/towns", visibility="private", token=TOKEN, **more):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", **more}
    if token:
        environment["HF_TOKEN"] = token
    command = [sys.executable, "-c", PUSH, str(folder), repository, visibility]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert TOKEN not in done.stdout + done.stderr
    return done


def refused(done):
    """The one line that the person reads."""
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    return lines[0]


def test_everything_arrives_as_it_lies_in_the_folder_and_nothing_of_the_machine(hub, folder, tmp_path):
    done = push(folder, tmp_path, hub.address)
    assert done.stdout.strip() == f"{hub.address}/datasets/ada/towns", done.stderr
    dataset = hub.datasets["ada/towns"]
    assert dataset["private"] is True
    names = {"README.md", "sit.jsonl", "it.jsonl", "rejected.jsonl", "report.html"}
    assert set(dataset["files"]) == {*names, "statistics.json"}
    for name in names:
        assert dataset["files"][name] == (folder / name).read_bytes(), name
    statistics = json.loads(dataset["files"]["statistics.json"])
    assert statistics["rows_in"] == 50 and statistics["settings"]["engine_options"] == ["path=llama"]
    for name, content in dataset["files"].items():
        assert b"somebody" not in content and b"secret-machine" not in content, name
    assert f"Bearer {TOKEN}" in hub.told_tokens
    assert len(hub.validated) == 1 and "license: cc-by-4.0" in hub.validated[0]


def test_files_that_the_hub_wants_in_its_large_storage_arrive_too(hub, folder, tmp_path):
    hub.large = 2000
    assert push(folder, tmp_path, hub.address, visibility="public").returncode == 0
    assert len(hub.stored) >= 3
    dataset = hub.datasets["ada/towns"]
    assert dataset["private"] is False
    assert dataset["files"]["sit.jsonl"] == (folder / "sit.jsonl").read_bytes()


def test_a_private_set_is_not_put_where_everybody_sees_it(hub, folder, tmp_path):
    hub.datasets["ada/towns"] = {"private": False, "files": {}}
    assert "everybody can see it" in refused(push(folder, tmp_path, hub.address))
    assert hub.datasets["ada/towns"]["files"] == {}
    assert push(folder, tmp_path, hub.address, visibility="public").returncode == 0
    assert "sit.jsonl" in hub.datasets["ada/towns"]["files"]


def test_a_second_upload_replaces_the_first_whole(hub, folder, tmp_path):
    hub.datasets["ada/towns"] = {
        "private": True,
        "files": {"notes.md": b"mine", "it.jsonl": b"old", "sit.jsonl": b"old"},
    }
    (folder / "it.jsonl").unlink()
    assert push(folder, tmp_path, hub.address).returncode == 0
    files = hub.datasets["ada/towns"]["files"]
    assert "it.jsonl" not in files and files["notes.md"] == b"mine"
    assert files["sit.jsonl"] == (folder / "sit.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("part", "status", "told"),
    [
        ("/api/repos/create", 401, "does not know the token"),
        ("/commit/main", 403, "may not write there"),
        ("/api/repos/create", 404, "no such owner"),
    ],
)
def test_a_refusal_is_one_line_with_the_remedy(hub, folder, tmp_path, part, status, told):
    hub.refuse = {part: status}
    line = refused(push(folder, tmp_path, hub.address))
    assert told in line and f"status {status}" in line and "ada/towns" in line
    assert not hub.datasets.get("ada/towns", {}).get("files")


def test_without_network_token_or_a_whole_name_one_line_says_so(hub, folder, tmp_path):
    closed = "http://127.0.0.1:1"
    line = refused(push(folder, tmp_path, closed))
    assert "cannot be reached" in line and f"--output_dir {folder} --push_to_hub ada/towns" in line
    assert "HF_HUB_OFFLINE" in refused(push(folder, tmp_path, hub.address, HF_HUB_OFFLINE="1"))
    assert "no token" in refused(push(folder, tmp_path, hub.address, token=""))
    assert "expected OWNER/NAME" in refused(push(folder, tmp_path, hub.address, repository="towns"))
    assert "is no name of a dataset" in refused(push(folder, tmp_path, hub.address, repository="ada/to wns!"))
    (folder / "sit.jsonl").unlink()
    assert "sit.jsonl missing" in refused(push(folder, tmp_path, hub.address))
    assert hub.datasets == {}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/home/ada b/rows.jsonl", "rows.jsonl"),
        (["path=/models/llama", "files=/x/a.jsonl,/y/b.jsonl"], ["path=llama", "files=a.jsonl,b.jsonl"]),
        (
            {"base_url": "http://ada:pw@10.0.0.1:8000/v1", "api_key": "sk-1"},
            {"base_url": "(address hidden)", "api_key": "(hidden)"},
        ),
        ("https://huggingface.co/datasets/x/y", "https://huggingface.co/datasets/x/y"),
        ("https://token@huggingface.co.evil.org/x", "(address hidden)"),
        ("meta-llama/Meta-Llama-3-70B and/or 1/2", "meta-llama/Meta-Llama-3-70B and/or 1/2"),
        ([0.9, None, True], [0.9, None, True]),
    ],
)
def test_what_is_shown_of_settings(value, shown):
    assert shareable(value) == shown
