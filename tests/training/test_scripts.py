"""The fine-tuning scripts that people type, for real on the miniature: on two CPU processes, most of them."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from open_instruct.miniature.make_data import training_rows

ROOT = Path(__file__).parents[2]
BASE = ROOT / "open_instruct" / "miniature" / "base"
pytestmark = pytest.mark.slow


@pytest.fixture
def stage_1(tmp_path):
    """A folder as stage 1 leaves it."""
    folder = tmp_path / "stage 1"  # a space in a path is nobody's fault
    folder.mkdir()
    rows = "".join(json.dumps(row) + "\n" for row in training_rows(60, seed=0))
    for name in ("it.jsonl", "sit.jsonl"):
        (folder / name).write_text(rows)
    return folder


def run(script, out, *arguments, **variables):
    small = dict(MODEL=BASE, OUTPUT_DIR=out, LENGTH=64, BATCH=4, LEARNING_RATE=1e-3, OMP_NUM_THREADS=1)
    given = {name: str(value) for name, value in (small | variables).items()}
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / script), "--max_steps", "2", "--disable_tqdm", "true", *arguments],
        env={**os.environ, "SIT_ENV": "active", **given},
        cwd=out.parent,
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.parametrize(
    ("script", "rows", "under", "written"),
    [
        ("alpaca/finetune_accelerate_sit_llama_70b.sh", None, "2 device(s) under ZeRO-3", "model.safetensors"),
        ("finetune_with_fsdp.sh", "it.jsonl", "2 device(s) under FSDP", "model.safetensors"),
        ("finetune_lora_with_accelerate.sh", "it.jsonl", "2 device(s) under ZeRO-2", "adapter_model.safetensors"),
    ],
)
def test_on_two_processes(stage_1, tmp_path, script, rows, under, written):
    source = dict(DATA=stage_1) if rows is None else dict(TRAIN_FILE=stage_1 / rows)
    done = run(script, tmp_path / "out", NUM_PROCESSES=2, **source)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rows: 60 read = 60 kept" in done.stdout and under in done.stdout
    assert (tmp_path / "out" / written).exists()
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["warmup_steps"] == 0.03 and settings["lr_scheduler_type"] == "linear"
    assert list((tmp_path / "out" / "runs").rglob("events*"))  # TensorBoard


def test_flags_and_a_settings_file_win_on_one_process(stage_1, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(f"learning_rate: 5e-4\neval_file: '{stage_1 / 'sit.jsonl'}'\neval_steps: 1\n")
    script = "flancot/finetune_accelerate_it_llama_70b.sh"
    done = run(script, tmp_path / "out", "--config", str(config), "--total_batch_size", "2", DATA=stage_1)
    assert done.returncode == 0, done.stdout + done.stderr
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["learning_rate"] == 5e-4  # the script's own would be 1e-3 here
    assert settings["total_batch_size"] == 2 and settings["world_size"] == 1 and settings["sharding"] == ""
    assert settings["train_file"] == [str(stage_1 / "it.jsonl")]
    assert done.stdout.count("eval_loss") == 2


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("tulu/finetune.sh", "MIX=tulu bash scripts/prepare_train_data.sh flan_v2 cot dolly oasst1 gpt4_alpaca"),
        ("alpaca/finetune_accelerate_sit_llama_70b.sh", "bash self-seq/scripts/generation_alpaca_llama_70b.sh"),
        ("flancot/finetune_accelerate_it_llama_70b.sh", "bash self-seq/scripts/generation_flancot_full_llama_70b.sh"),
    ],
)
def test_rows_that_are_not_there_name_the_command_that_makes_them(tmp_path, script, command):
    done = run(script, tmp_path / "out", TRAIN_FILE=tmp_path / "none.jsonl")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/none.jsonl: no such file. {command}")
    assert done.stderr.endswith(" makes it. TRAIN_FILE=... names another.\n") and done.stderr.count("\n") == 1


def test_rows_are_looked_for_before_the_base(tmp_path):
    none = tmp_path / "none.jsonl"
    done = run("finetune_with_accelerate.sh", tmp_path / "out", TRAIN_FILE=none, MODEL="nobody/nothing-of-that-name")
    assert done.returncode == 1
    assert done.stderr == f"error: {none}: cannot be read: No such file or directory; expected a file of rows\n"


def test_a_base_that_is_no_folder_is_not_looked_for_on_the_hub(stage_1, tmp_path):
    done = run("finetune_with_accelerate.sh", tmp_path / "out", TRAIN_FILE=stage_1 / "it.jsonl", MODEL="nowhere")
    assert done.returncode == 1 and done.stderr.startswith("error: nowhere: no such checkpoint folder")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (dict(SHARDING="zero4", NUM_PROCESSES=2), "SHARDING=zero4: expected zero2, zero3"),
        (dict(NUM_MACHINES=2, NUM_PROCESSES=3), "NUM_PROCESSES=3 does not divide into NUM_MACHINES=2"),
        (dict(NUM_PROCESSES=0), "NUM_PROCESSES=0: expected a number from 1 on"),
        (dict(NUM_MACHINES="two"), "NUM_MACHINES=two: expected a number from 1 on"),
        (dict(NUM_MACHINES=2, NUM_PROCESSES=2), "NUM_MACHINES=2 needs MAIN_PROCESS_IP"),
    ],
)
def test_what_cannot_be_is_one_line(stage_1, tmp_path, variables, message):
    done = run("finetune_with_accelerate.sh", tmp_path / "out", TRAIN_FILE=stage_1 / "it.jsonl", **variables)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1
