"""run.json beside every output: which command made it, with which settings, versions and seed, when, and how it ended.

Every command wraps its work in `with RunInfo(folder, settings, seed):`; of several processes of a run, the first alone.
"""

import dataclasses
import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from open_instruct.core.errors import UserError
from open_instruct.core.records import write_json

FILE_NAME = "run.json"
PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "trl",
    "accelerate",
    "datasets",
    "peft",
    "deepspeed",
    "lm-eval",
    "vllm",
    "numpy",
)

_REPOSITORY = Path(__file__).resolve().parents[2]
_SECRET = re.compile(r"(api_?key|password|secret|(access|auth|hf|hub)_?token)$", re.IGNORECASE)
_HIDDEN = "(hidden)"


class RunInfo:
    """Writes `folder/run.json` when the block begins (status "running") and when it ends: "finished", "interrupted" (by
    Ctrl-C, or an error that says so: `error.interrupted`) or "failed".

    A killed run leaves "running" behind. Where the file is already there (the same command again after a kill), its
    start, end, seconds, status, settings and seed are kept under "earlier".

    Args:
        folder: where the run's output goes; made if missing.
        settings: the resolved settings: a dataclass or a dict. Values named like a secret (api_key, ...) are hidden.
        seed: of the run, if it has one.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike, settings: Any, seed: int | None = None) -> None:
        self.path = Path(folder) / FILE_NAME
        self._info = {
            "command": shlex.join(_without_secrets(sys.orig_argv)),
            "folder": os.getcwd(),
            "settings": _plain(settings),
            "seed": seed,
            "versions": versions(),
            "git": git_state(),
            "host": socket.gethostname(),
            "platform": platform.platform(),
            "cpus": len(os.sched_getaffinity(0)),
        }

    def __enter__(self) -> "RunInfo":
        self._clock = time.monotonic()
        earlier = _earlier_runs(self.path)
        if earlier:
            self._info["earlier"] = earlier
        self._info |= {"status": "running", "start": _now(), "end": None, "seconds": None}
        write_json(self.path, self._info)
        return self

    def add(self, **results: Any) -> None:
        """Counts and figures of the run, for the end of `run.json`."""
        self._info.setdefault("results", {}).update(_plain(results))

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self._info |= {
            "status": _status(error),
            "end": _now(),
            "seconds": round(time.monotonic() - self._clock, 3),
        }
        if error is None:
            write_json(self.path, self._info)
            return
        self._info["error"] = f"{kind.__name__}: {error}"
        with suppress(UserError):  # on a full disk, what ended the run must be heard, not this
            write_json(self.path, self._info)


def _status(error: BaseException | None) -> str:
    if error is None:
        return "finished"
    stopped = isinstance(error, KeyboardInterrupt) or getattr(error, "interrupted", False)
    return "interrupted" if stopped else "failed"


def finished(folder: str | os.PathLike, settings: Any) -> bool:
    """Whether the last run into `folder` had these settings and came to its end: then nothing is left to do."""
    try:
        before = json.loads((Path(folder) / FILE_NAME).read_bytes())
        return before["status"] == "finished" and before["settings"] == _plain(settings)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def versions() -> dict[str, str]:
    """Versions of Python and of those of `PACKAGES` that are installed, read without importing them."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout this code stands in and whether tracked files differ from it; None without a checkout."""
    if not (_REPOSITORY / ".git").exists():  # git would look further up and find somebody else's
        return None
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": _git("status", "--porcelain", "--untracked-files=no") != ""}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_REPOSITORY), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it; what it cannot is written as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _HIDDEN if _SECRET.search(str(key)) and item else _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in (_without_secrets(value) if isinstance(value, list) else value)]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    return str(value)


def _without_secrets(arguments: list) -> list:
    """Command line words with the values of `--api_key VALUE` and `api_key=VALUE` hidden."""
    hidden = []
    for argument in arguments:
        name, equals, value = argument.partition("=") if isinstance(argument, str) else (argument, "", "")
        if hidden and isinstance(hidden[-1], str) and hidden[-1].startswith("-") and _SECRET.search(hidden[-1]):
            hidden.append(_HIDDEN)
        elif equals and value and _SECRET.search(name):
            hidden.append(f"{name}={_HIDDEN}")
        else:
            hidden.append(argument)
    return hidden


def _earlier_runs(path: Path) -> list[dict[str, Any]]:
    """Short lines on the runs that the file already tells of."""
    try:
        before = json.loads(path.read_bytes())
        kept = ("start", "end", "seconds", "status", "settings", "seed")
        return [*before.get("earlier", []), {key: before.get(key) for key in kept}]
    except (OSError, ValueError, AttributeError, TypeError):
        return []  # none, or a file that tells nothing: it is replaced
