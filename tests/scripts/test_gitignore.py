"""`.gitignore` hides what is written by the scripts and no source file.

git itself is asked, in an empty repository that has our .gitignore and nobody's own settings.
"""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Files that a later issue commits, and such as the published code lost to the patterns `*.json` and `data/`.
SOURCES = [
    "self-seq/self_seq/data.py",
    "self-seq/self_seq/data/few_shot.json",
    "self-seq/prompts/classify.yaml",
    "self-seq/scripts/generation_alpaca_llama_70b.sh",
    "open_instruct/core/token_store.py",
    "open_instruct/output/writer.py",
    "open_instruct/miniature/base/model.safetensors",
    "open_instruct/miniature/base/tokenizer.json",
    "open_instruct/miniature/base/config.json",
    "open_instruct/reformat/data/example.jsonl",
    "eval/results.py",
    "eval/results/table.py",
    "eval/tasks/x/data/fewshot.json",
    "eval/tasks/mgsm/mgsm_de.yaml",
    "eval/judges/prompts/seqeval.txt",
    "eval/data/train/tiny.jsonl",
    "LAVIS/lavis/projects/instructblip/caption_coco_vicuna7b_train.yaml",
    "LAVIS/lavis/output.py",
    "ds_configs/stage3_no_offloading.conf",
    "docs/steps_by_position.png",
    "docs/build/overview.md",
    "tests/data/torn.jsonl.gz",
    "tests/eval/output/expected.txt",
    "scripts/data/readme.md",
    "benchmarks/results/quickstart.csv",
    ".ci/run",
    "requirements.txt",
]

OUTPUTS = [
    "output/quickstart/report.html",
    "results/run/mmlu/predictions.jsonl",
    "data/train/alpaca/alpaca.json",
    "data/eval/gsm/test.jsonl",
    "self-seq/data/alpaca/it.jsonl",
    ".venv/bin/python",
    "eval/__pycache__/run.cpython-311.pyc",
    "sequential_instruction_tuning.egg-info/PKG-INFO",
    "wandb/run-1/logs.txt",
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    (folder / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    return folder


def ignored(repository: Path, paths: list[str]) -> set[str]:
    """Those of `paths` that git would not track."""
    done = subprocess.run(
        ["git", "-c", f"core.excludesFile={os.devnull}", "check-ignore", "--no-index", "-z", "--stdin"],
        cwd=repository,
        input="\0".join(paths),
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    return set(filter(None, done.stdout.split("\0")))


def test_no_source_file_of_the_tree_is_ignored(repository):
    rooms = ["self-seq/self_seq", "self-seq/scripts", "self-seq/prompts", "open_instruct", "eval", "LAVIS/lavis"]
    rooms += ["scripts", "ds_configs", "benchmarks", "docs", "tests"]
    paths = [
        path.relative_to(ROOT).as_posix()
        for room in rooms
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert "open_instruct/core/errors.py" in paths
    assert ignored(repository, paths) == set()


def test_no_source_file_that_may_come_is_ignored(repository):
    assert ignored(repository, SOURCES) == set()


def test_everything_that_scripts_write_is_ignored(repository):
    assert ignored(repository, OUTPUTS) == set(OUTPUTS)


def test_no_room_hides_files_on_its_own():
    rooms = [folder for folder in ROOT.iterdir() if folder.is_dir() and folder.name not in ("output", "results")]
    rooms = [folder for folder in rooms if not folder.name.startswith(".")]
    assert [path for room in rooms for path in room.rglob(".gitignore")] == []
