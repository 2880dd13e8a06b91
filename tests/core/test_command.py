"""What the user did wrong is one line and exit code 1; what we did wrong keeps its traceback."""

import errno
import gc
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from open_instruct.core.command import for_terminal, guarded
from open_instruct.core.errors import UserError, full_disk_told


def write(path):
    with open(path, "wb") as file:
        file.write(b"x" * 3_000_000)


def save_safetensors(path):
    save_file({"weights": torch.zeros(1_000_000)}, path)


def save_torch(path):
    torch.save({"weights": torch.zeros(1_000_000)}, path)


BASE = Path(__file__).parents[2] / "open_instruct" / "miniature" / "base"
WRITERS = [write, save_safetensors, save_torch]


def ended(main, *arguments):
    """The line that a command ends with; a string is what makes `sys.exit` print it and exit with 1."""
    with pytest.raises(SystemExit) as caught:
        guarded(main, *arguments)
    line = caught.value.code
    assert isinstance(line, str) and "\n" not in line
    del caught
    gc.collect()  # the exception holds torch's open file, which keeps the disk from being unmounted
    return line


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_line_whatever_library_was_writing(small_disk, writer):
    assert ended(writer, str(small_disk / "file")).startswith("error: the disk is full. ")


@pytest.mark.parametrize("writer", WRITERS)
def test_a_block_that_writes_to_a_folder_names_it(small_disk, writer):
    def main(path):
        with full_disk_told(small_disk):
            writer(path)

    assert ended(main, str(small_disk / "file")).startswith(f"error: {small_disk}: the disk is full (")


@pytest.mark.slow
def test_fine_tuning_on_a_full_disk_ends_with_one_line_that_names_the_folder(small_disk, tmp_path):
    rows, out = tmp_path / "rows.jsonl", small_disk / "out"
    rows.write_text(json.dumps({"instruction": "Copy the list.", "input": "fig", "output": "fig"}) + "\n")
    flags = {"model_name_or_path": BASE, "train_file": rows, "output_dir": out, "max_steps": 1, "total_batch_size": 1}
    done = subprocess.run(
        [sys.executable, "-m", "open_instruct.finetune", "--use_cpu", "true", "--disable_tqdm", "true"]
        + [word for name, value in flags.items() for word in (f"--{name}", str(value))],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]  # said before training: the checkpoints would not fit
    assert last.startswith(f"error: {out}: training writes about ") and "Make room" in last


def test_a_path_that_cannot_be_opened_is_named(tmp_path):
    assert ended(write, str(tmp_path / "nowhere" / "file")).startswith(f"error: {tmp_path}/nowhere/file: ")


def test_what_the_user_can_mend_is_said_as_it_is():
    def main():
        raise UserError("rows.jsonl:3: no JSON")

    assert ended(main) == "error: rows.jsonl:3: no JSON"


@pytest.mark.parametrize("fault", [ValueError("ours"), OSError(errno.EIO, "Input/output error")])
def test_a_fault_of_ours_keeps_its_traceback(tmp_path, fault):
    def main():
        with full_disk_told(tmp_path):
            raise fault

    with pytest.raises(type(fault)) as caught:
        guarded(main)
    assert caught.value is fault


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        (["-m", "open_instruct.mix"], "python -m open_instruct.mix"),
        (["-m", "eval.judges"], "python -m eval.judges"),  # a package: its __main__ is nothing that one types
        (["LAVIS/evaluate.py"], "python LAVIS/evaluate.py"),
    ],
)
def test_help_begins_with_what_the_user_types_and_tells_each_flag_once(command, usage):
    done = subprocess.run(
        [sys.executable, *command, "--help"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "COLUMNS": "80"},
    )
    assert done.stdout.startswith(f"usage: {usage} --flag value ...")
    flags = re.findall(r"^  (--\w.*)", done.stdout, re.M)
    assert flags and all(flag.count("--") == 1 for flag in flags)
    assert "(default: )" not in done.stdout and "(default: None)" not in done.stdout
    assert "--no_" not in done.stdout
    _, _, options = done.stdout.partition("\noptions:")
    assert max(map(len, options.splitlines())) <= 80


def test_a_docstring_is_filled_but_for_its_commands_and_between_its_items():
    command = "    python -m open_instruct.finetune " + "--flag " * 20
    item = "- " + "word " * 30
    shown = for_terminal(f"Long {'line ' * 30}\n\n{command}\n\n{item.strip()}\n- another").split("\n\n")
    assert max(map(len, shown[0].splitlines())) <= 80
    assert shown[1] == command
    *first, last = shown[2].splitlines()
    assert (
        first[0].startswith("- word") and all(line.startswith("  word") for line in first[1:]) and last == "- another"
    )
