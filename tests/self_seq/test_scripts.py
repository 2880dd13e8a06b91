"""Stage 1's scripts from end to end on the miniature, as a person runs them: what they write, and going on."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from open_instruct.core.chat import set_template
from open_instruct.core.records import read_rows, write_rows
from open_instruct.miniature.make_data import training_rows

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "self-seq" / "scripts"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """The miniature's base model with a chat template."""
    folder = tmp_path_factory.mktemp("checkpoint")
    shutil.copytree(ROOT / "open_instruct" / "miniature" / "base", folder, dirs_exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    set_template(tokenizer, "tulu")
    tokenizer.save_pretrained(folder)
    return folder


def run(script: str, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OUTPUT_DIR": str(folder / "out"), "INPUT_FILE": str(folder / "in.jsonl"), **variables}
    return subprocess.run(
        ["bash", str(SCRIPTS / script), *arguments], cwd=folder, capture_output=True, text=True, env=environment
    )


def rows_of(folder: Path, name: str) -> list[dict]:
    return [row for _, row in read_rows(folder / "out" / f"{name}.jsonl", may_be_empty=True)]


def glued(count: int) -> list[dict]:
    """Rows that hold instruction and input in one text, as FLAN's do."""
    rows = training_rows(count, seed=0)
    return [{"instruction": f"{row['instruction']}\n{row['input']}", "system_prompt": "Be brief."} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "generation_alpaca_llama_70b.sh",
        "generation_flancot_llama_70b.sh",
        "generation_flancot_full_llama_70b.sh",
        "generation.sh",
    ],
)
def test_a_script_writes_all_its_files_and_goes_on(tmp_path, script):
    flan = "flancot" in script
    write_rows(tmp_path / "in.jsonl", glued(60) if flan else training_rows(60, seed=0))
    variables = {"ENGINE": "oracle", "ENGINE_OPTIONS": "malformed=0.1", "JUDGE_ROWS": "10", "SAMPLE_ROWS": "50"}
    done = run(script, tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    it, sit, rejected = (rows_of(tmp_path, name) for name in ("it", "sit", "rejected"))
    assert len(it) == len(sit) == 50 - sum(row["dropped"] for row in rejected) > 40
    assert sum(a["instruction"] != b["instruction"] for a, b in zip(it, sit, strict=True)) > 20
    assert all(row["input"] == "" and row["system_prompt"] == "Be brief." for row in sit) == flan
    names = {"README.md", "report.html", "statistics.json", "run.json"}
    assert names <= {path.name for path in (tmp_path / "out").iterdir()}
    statistics = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert statistics["judge"]["rows"] == 10
    assert statistics["published"]["name"].startswith("FlanCoT" if flan else "Alpaca")
    journals = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.journal.jsonl")}
    again = run(script, tmp_path, **variables)
    assert again.returncode == 0 and journals == {path: path.read_bytes() for path in journals}


@pytest.mark.slow
def test_a_checkpoint_generates_and_what_it_cannot_do_is_listed(tmp_path, checkpoint):
    """The miniature was never taught to choose options, so its rows are kept as they are, with the reason."""
    write_rows(tmp_path / "in.jsonl", training_rows(4, seed=0))
    more = ["--max_tokens=16", "--attempts=1"]
    variables = {"ENGINE": "local", "MODEL": str(checkpoint), "ITERATIONS": "1", "JUDGE_ROWS": "0"}
    done = run("generation_alpaca_llama_70b.sh", tmp_path, *more, **variables)
    assert done.returncode == 0, done.stderr
    assert len(rows_of(tmp_path, "it")) == len(rows_of(tmp_path, "sit")) > 0
    assert "4 in =" in done.stdout
    assert all(row["failures"][0]["step"] == "classify" for row in rows_of(tmp_path, "rejected"))


def test_a_dry_run_needs_neither_engine_nor_folder(tmp_path):
    write_rows(tmp_path / "in.jsonl", training_rows(30, seed=0))
    done = run("generation_alpaca_llama_70b.sh", tmp_path, DRY_RUN="1", PRICE_IN="1", PRICE_OUT="2")
    assert done.returncode == 0 and "30 rows; nothing is asked" in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("script", "variables", "message"),
    [
        ("generation_alpaca_llama_70b.sh", {"INPUT_FILE": "none.json"}, "none.json: no such file"),
        ("generation_flancot_llama_70b.sh", {"INPUT_FILE": "none.json"}, "prepare_train_data.sh flancot"),
        ("generation.sh", {"INPUT_FILE": ""}, "INPUT_FILE is not set"),
        ("generation_openai.sh", {}, "MODEL is not set"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, script, variables, message):
    done = run(script, tmp_path, **variables)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line
