"""The whole chain as a user runs it: the quickstart, killed in every stage, and real rows through all three stages."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ["chains", "longer", "pairs", "single"]


def start(script, *arguments, **variables):
    """A script of the project in a process group of its own, called from a folder that is not the project's."""
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    return subprocess.Popen(
        ["bash", str(ROOT / script), *map(str, arguments)],
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process):
    try:
        output, _ = process.communicate(timeout=1800)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
def test_quickstart_killed_in_every_stage_goes_on_and_ends_with_table_page_and_figures(tmp_path):
    folder = tmp_path / "a folder with blanks"
    small = dict(
        OUTPUT=folder, SEED=3, ROWS=1500, EPOCHS=1, SAVE_STEPS=5, LIMIT=30, SIT_EVAL_DATA=tmp_path / "eval data"
    )
    for sign in ("data/iteration_1/*.journal.jsonl", "it/checkpoint-*/whole", "results/it/*/metrics.json"):
        process = start("scripts/quickstart.sh", **small)
        while process.poll() is None and not list(folder.glob(sign)):
            time.sleep(0.05)
        assert process.poll() is None, process.communicate()[0]
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    output = finish(start("scripts/quickstart.sh", **small))
    assert "1,500 in = " in output
    assert f"{folder}/it: already finished with these settings" in output
    assert "finished before and kept" in output
    assert re.search(r"unseen pairs.*\n(.*\n)*it .*\nsit ", output), output
    assert max(len(line) for line in output.split("== result")[1].splitlines() if "report.html" not in line) <= 80

    results = json.loads((folder / "results.json").read_text())
    assert sorted(results) == ["it", "seconds", "seed", "sit"]
    assert results["seed"] == 3 and results["seconds"] > 0
    for model in ("it", "sit"):
        assert sorted(results[model]) == BENCHMARKS
        assert all(0 <= share <= 1 for share in results[model].values())
    page = (folder / "report.html").read_text()
    assert "<svg" in page and not re.search(r"""(?:src|href)=["']?https?:""", page)
    assert (folder / "report.md").read_text().startswith("# ")

    again = finish(start("scripts/quickstart.sh", **small))
    assert json.loads((folder / "results.json").read_text()) == results
    assert again.count("already finished with these settings") == 2


def test_quickstart_refuses_the_folder_of_another_seed(tmp_path):
    (tmp_path / "seed").write_text("1\n")
    process = start("scripts/quickstart.sh", OUTPUT=tmp_path, SEED=2)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert f"error: {tmp_path} holds a run with seed 1" in output


@pytest.mark.slow
def test_real_rows_go_through_all_three_stages(tmp_path, shared):
    rows = tmp_path / "rows.jsonl"
    output = finish(
        start("self-seq/scripts/generation_repeat.sh", shared / "data/train/alpaca/alpaca_random_9k.json", rows)
    )
    read, rewritten, kept, written = (
        int(re.search(rf"{name} +([\d,]+)", output)[1].replace(",", ""))
        for name in ("rows read", "rewritten", "kept", "rows written")
    )
    assert read == written == 9229 and rewritten + kept == read and rewritten == 3666

    finish(
        start(
            *("scripts/miniature/finetune.sh", "--max_steps", 50, "--max_train_rows", 2000),
            **dict(TRAIN_FILE=rows, OUTPUT_DIR=tmp_path / "model", LENGTH=512, BATCH=2),
        )
    )
    results = json.loads((tmp_path / "model" / "run.json").read_text())["results"]
    assert results["steps"] == 50 and results["last_loss"] < results["first_loss"] - 1

    finish(
        start("self-seq/scripts/generation_miniature.sh", OUTPUT_DIR=tmp_path / "data", ROWS=50, SIT_EVAL_DATA=tmp_path)
    )
    evaluated = dict(RESULTS_DIR=tmp_path / "results", LIMIT=10, SIT_EVAL_DATA=tmp_path, TASKS="miniature")
    output = finish(start("scripts/evaluation.sh", tmp_path / "model", **evaluated))
    assert "unseen pairs" in output
    assert len(list((tmp_path / "results" / "model").glob("*/predictions.jsonl"))) == 4
