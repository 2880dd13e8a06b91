"""scripts/evaluation.sh and the scripts of single benchmarks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script(name, *arguments, **variables):
    environment = {
        **os.environ,
        "SIT_ENV": "active",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / name), *arguments], capture_output=True, text=True, env=environment
    )


@pytest.mark.slow
def test_a_checkpoint_is_evaluated_under_the_name_of_its_folder(checkpoint, eval_data, tmp_path):
    done = script("evaluation.sh", str(checkpoint), RESULTS_DIR=str(tmp_path), LIMIT="3", TASKS="miniature_pairs")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tiny" / "miniature_pairs" / "metrics.json").is_file()
    assert "partial: unseen pairs has only 3 of its 12 items" in done.stdout
    assert "unseen pairs: 100%" in done.stderr  # the progress bar
    assert "Loading" not in done.stderr and "Traceback" not in done.stderr


def test_a_single_benchmarks_script_takes_the_same_arguments(tmp_path):
    done = script("eval/miniature.sh", str(tmp_path / "nowhere"), "name", RESULTS_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {tmp_path}/nowhere: no such checkpoint folder. " + done.stderr.split("folder. ")[1]
    assert done.stderr.count("\n") == 1


def test_without_a_checkpoint_the_usage_is_told():
    done = script("evaluation.sh")
    assert done.returncode == 1 and "give the checkpoint folder" in done.stderr


def test_help_names_every_variable():
    done = script("evaluation.sh", "--help")
    assert done.returncode == 0
    for name in ("TASKS", "RESULTS_DIR", "BACKEND", "BATCH_SIZE", "LIMIT", "SEED"):
        assert f"  {name}" in done.stdout
    assert "Usage: bash scripts/evaluation.sh CHECKPOINT [RUN_NAME]" in done.stdout
