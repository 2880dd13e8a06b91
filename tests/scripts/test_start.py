"""scripts/start.sh: the first line of every script."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """#!/usr/bin/env bash
# Trains a little.
# Usage: bash little.sh FILE
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../start.sh"

STEPS=${STEPS:-100}  # how long it trains, in optimizer steps; a thousand of them take about four minutes on two cores
OUTPUT=${OUTPUT:-$ROOT/output/little}  # folder of the checkpoint
OTHER=$((STEPS * 2))

echo "root=$ROOT here=$PWD arguments=$* python=$(command -v python) steps=$STEPS safe=$PYTHONSAFEPATH"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with start.sh, a script two folders down, a finished environment, and a setup.sh that says it ran."""
    (tmp_path / "scripts/group").mkdir(parents=True)
    (tmp_path / "scripts/start.sh").write_text((ROOT / "scripts/start.sh").read_text())
    (tmp_path / "scripts/group/little.sh").write_text(SCRIPT)
    (tmp_path / "setup.sh").write_text("echo setup.sh ran\n")
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python = tmp_path / ".venv/bin/python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    (tmp_path / ".venv/.finished").write_text("")
    return tmp_path


def run(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(checkout / "scripts/group/little.sh"), *arguments],
        env={key: value for key, value in os.environ.items() if key not in ("SIT_ENV", "STEPS")} | environment,
        cwd="/usr",
        capture_output=True,
        text=True,
    )


def test_help_is_the_header_and_the_variables_in_80_columns(checkout):
    done = run(checkout, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Trains a little.\nUsage: bash little.sh FILE\n")
    words = " ".join(done.stdout.split())
    assert "STEPS [100] how long it trains, in optimizer steps; a thousand of them take about four minutes" in words
    assert "OUTPUT [$ROOT/output/little] folder of the checkpoint" in words
    assert "OTHER" not in words
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "root=" not in done.stdout, "the body of the script ran"


def test_help_needs_no_environment(checkout):
    (checkout / ".venv/.finished").unlink()
    done = run(checkout, "input.json", "-h")
    assert done.returncode == 0
    assert "setup.sh ran" not in done.stdout + done.stderr


def test_help_after_two_dashes_is_the_scripts_own_argument(checkout):
    assert "arguments=-- --help" in run(checkout, "--", "--help").stdout


def test_script_stays_where_the_user_stands_and_gets_the_environments_python(checkout):
    done = run(checkout, "rows.json", STEPS="7")
    assert done.returncode == 0, done.stderr
    assert (
        f"root={checkout} here=/usr arguments=rows.json python={checkout}/.venv/bin/python steps=7 safe=1"
        in done.stdout
    )
    assert "setup.sh ran" not in done.stderr


def test_missing_environment_is_made_and_its_messages_keep_out_of_the_scripts_output(checkout):
    (checkout / ".venv/.finished").unlink()
    done = run(checkout)
    assert "setup.sh ran" in done.stderr
    assert "setup.sh ran" not in done.stdout


def test_environment_older_than_the_requirements_is_brought_up_to_date(checkout):
    os.utime(checkout / ".venv/.finished", (1, 1))
    assert "setup.sh ran" in run(checkout).stderr


def test_failing_setup_ends_the_script(checkout):
    (checkout / ".venv/.finished").unlink()
    (checkout / "setup.sh").write_text("echo 'error: no index' >&2; exit 1\n")
    done = run(checkout)
    assert done.returncode == 1
    assert done.stdout == ""


def test_sit_env_active_leaves_the_active_python_first(checkout, tmp_path):
    active = tmp_path / "active"
    active.mkdir()
    (active / "python").write_text("#!/bin/sh\nexit 0\n")
    (active / "python").chmod(0o755)
    done = run(checkout, SIT_ENV="active", PATH=f"{active}:{os.environ['PATH']}")
    assert f"python={active}/python " in done.stdout
    assert "setup.sh ran" not in done.stderr


def test_sit_env_active_without_the_project_in_it_runs_setup(checkout, tmp_path):
    active = tmp_path / "active"
    active.mkdir()
    (active / "python").write_text("#!/bin/sh\nexit 1\n")
    (active / "python").chmod(0o755)
    done = run(checkout, SIT_ENV="active", PATH=f"{active}:{os.environ['PATH']}")
    assert "setup.sh ran" in done.stderr
