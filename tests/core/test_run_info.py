"""run.json tells what ran and how it ended."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from open_instruct.core import run_info
from open_instruct.core.errors import UserError
from open_instruct.core.run_info import RunInfo, finished


@dataclass
class Settings:
    path: Path = Path("data/in.json")
    rate: float = 0.5
    limit: float = float("inf")
    api_key: str = "sk-1"
    hub_token: str = ""
    max_tokens: int = 5
    engine_options: list[str] = field(default_factory=lambda: ["api_key=sk-2", "path=x"])
    inner: dict = field(default_factory=lambda: {"stop": ("a", "b"), "password": "p"})


def read(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_begin_and_end_of_a_good_run(tmp_path):
    folder = tmp_path / "made" / "here"
    with RunInfo(folder, Settings(), seed=42):
        info = read(folder)
        assert info["status"] == "running"
        assert info["end"] is None and info["seconds"] is None
    info = read(folder)
    assert info["status"] == "finished"
    assert info["seed"] == 42
    assert info["start"] <= info["end"]
    assert info["seconds"] >= 0
    assert info["versions"]["python"] == sys.version.split()[0]
    assert info["versions"]["transformers"].startswith("5.")
    assert "earlier" not in info and "error" not in info


def test_settings_are_resolved_and_secrets_hidden(tmp_path):
    with RunInfo(tmp_path, Settings()):
        pass
    assert read(tmp_path)["settings"] == {
        "path": "data/in.json",
        "rate": 0.5,
        "limit": "inf",
        "api_key": "(hidden)",
        "hub_token": "",
        "max_tokens": 5,
        "engine_options": ["api_key=(hidden)", "path=x"],
        "inner": {"stop": ["a", "b"], "password": "(hidden)"},
    }
    assert "sk-" not in (tmp_path / "run.json").read_text()


def test_failed_run_says_why_and_the_error_goes_on(tmp_path):
    with pytest.raises(UserError, match="rows.jsonl:3"), RunInfo(tmp_path, {}):
        raise UserError("rows.jsonl:3: not JSON")
    info = read(tmp_path)
    assert info["status"] == "failed"
    assert info["error"] == "UserError: rows.jsonl:3: not JSON"


class Stopped(SystemExit):
    interrupted = True


@pytest.mark.parametrize("stopped", [KeyboardInterrupt(), Stopped(75)])
def test_a_run_that_was_stopped_has_not_failed(tmp_path, stopped):
    with pytest.raises(type(stopped)), RunInfo(tmp_path, {}):
        raise stopped
    assert read(tmp_path)["status"] == "interrupted" and not finished(tmp_path, {})


def test_killed_run_stays_running_and_the_next_one_remembers_it(tmp_path):
    program = (
        "import sys, time\nfrom open_instruct.core.run_info import RunInfo\n"
        "with RunInfo(sys.argv[1], {'a': 1}):\n    print('on', flush=True)\n    time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path), "--api_key", "sk-3", "--hub_token=sk-4", "--name", "a b"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"on\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    killed = read(tmp_path)
    assert killed["status"] == "running"
    assert killed["command"].endswith("--api_key '(hidden)' '--hub_token=(hidden)' --name 'a b'")

    for _ in range(2):
        with RunInfo(tmp_path, {"a": 1}):
            pass
    assert [(run["status"], run["start"]) for run in read(tmp_path)["earlier"]][0] == ("running", killed["start"])
    assert [run["status"] for run in read(tmp_path)["earlier"]] == ["running", "finished"]
    assert [run["settings"] for run in read(tmp_path)["earlier"]] == [{"a": 1}] * 2


def test_results_stand_at_the_end(tmp_path):
    with RunInfo(tmp_path, {}) as info:
        info.add(rows=5, loss=float("nan"))
        info.add(rejected=1)
    assert read(tmp_path)["results"] == {"rows": 5, "loss": "nan", "rejected": 1}


def test_finished_means_same_settings_and_a_good_end(tmp_path):
    settings = Settings()
    assert not finished(tmp_path, settings)
    with RunInfo(tmp_path, settings):
        assert not finished(tmp_path, settings)
    assert finished(tmp_path, settings)
    assert not finished(tmp_path, Settings(rate=0.6))
    with pytest.raises(RuntimeError), RunInfo(tmp_path, settings):
        raise RuntimeError
    assert not finished(tmp_path, settings)
    (tmp_path / "run.json").write_text("[]")
    assert not finished(tmp_path, settings)


@pytest.mark.parametrize("content", ["", "not JSON", "[1]", '{"earlier": 5}'])
def test_damaged_run_json_is_replaced(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with RunInfo(tmp_path, {}):
        pass
    assert read(tmp_path)["status"] == "finished"


def test_versions_are_read_without_importing_torch():
    program = (
        "import sys\nfrom open_instruct.core import run_info\n"
        "print(run_info.versions()['torch'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    version, imported = done.stdout.split()
    assert version.startswith("2.") and imported == "False"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_commit_and_whether_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(run_info, "_REPOSITORY", tmp_path)
    assert run_info.git_state() is None
    git(tmp_path, "init", "-q")
    assert run_info.git_state() is None  # no commit yet
    (tmp_path / "code.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    assert run_info.git_state() == {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "output.txt").write_text("not tracked")
    assert run_info.git_state()["dirty"] is False
    (tmp_path / "code.py").write_text("a = 2\n")
    assert run_info.git_state()["dirty"] is True


def test_package_within_somebody_elses_checkout_claims_no_commit(tmp_path, monkeypatch):
    git(tmp_path, "init", "-q")
    (tmp_path / "installed").mkdir()
    monkeypatch.setattr(run_info, "_REPOSITORY", tmp_path / "installed")
    assert run_info.git_state() is None


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"), RunInfo(tmp_path / "file", {}):
        pass


def test_what_ended_a_run_on_a_full_disk_is_heard(small_disk):
    with pytest.raises(UserError, match="the first error"), RunInfo(small_disk, {}):
        with pytest.raises(OSError):
            (small_disk / "ballast").write_bytes(bytes(2_000_000))
        raise UserError("the first error")
