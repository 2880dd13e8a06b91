"""docs/fine-tuning.md: the commands for the miniature run as they stand there."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from open_instruct.core.checkpoint import check
from open_instruct.miniature.make_data import training_rows

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_commands_for_the_miniature_run(tmp_path):
    page = (ROOT / "docs/fine-tuning.md").read_text()
    (commands,) = re.findall(r"<!-- a test runs these -->\n```bash\n(.*?)```", page, re.DOTALL)
    for name in ("scripts", "open_instruct", "ds_configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name, number in (("rows.jsonl", 60), ("held_out.jsonl", 9)):
        rows = training_rows(number, seed=number)
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=tmp_path,
        env={**os.environ, "SIT_ENV": "active", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for folder in ("full", "merged"):
        check(tmp_path / folder)
    assert "rows: 69 read = 65 kept" in done.stdout and "+ 4 not drawn" in done.stdout
    assert "2 device(s) under ZeRO-3" in done.stdout
    tuned, recovered = (tmp_path / name / "model.safetensors" for name in ("full", "recovered"))
    assert tuned.read_bytes() == recovered.read_bytes()
    assert json.loads((tmp_path / "full" / "run.json").read_text())["results"]["eval_loss"] > 0
