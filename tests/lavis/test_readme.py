"""What LAVIS/README.md promises: its ten lines run as they stand, on a small model, and its row is a row."""

import json
import re
import shlex

from transformers import HfArgumentParser

import eval.results
from lavis.config import ROOT, read
from lavis.data import instruct_data
from lavis.evaluation import evaluate
from lavis.rows import Row
from lavis.settings import Evaluation, Training
from lavis.training import train
from open_instruct.core.records import read_rows, write_rows

README = (ROOT / "LAVIS" / "README.md").read_text()


def test_your_own_images_in_ten_lines(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA", "my")
    own = [row for _, row in read_rows(world.base.parent / "own.jsonl")]
    for split, rows in (("train", own[:8]), ("test", own[8:])):
        write_rows(f"my/{split}.jsonl", rows)
    (tmp_path / "my" / "pictures").symlink_to(world.images)
    small = [f"model.pretrained={world.base}", "run.num_workers=0", "run.device=cpu"]
    commands = re.search(r"## Your own images.*?```bash\n(.*?)```", README, re.S)[1].splitlines()
    assert len(commands) <= 10
    for command in commands:
        words = shlex.split(command, comments=True)
        if "make_instruct_data.py" in command:
            parser = HfArgumentParser(instruct_data.Settings)
            instruct_data.make(*parser.parse_args_into_dataclasses(words[2:]))
        elif "--cfg-path" in command:
            file = str(ROOT / words[words.index("--cfg-path") + 1])
            if "evaluate" in words:
                evaluate(read(Evaluation, file, [*small, "run.max_len=4"]))
            else:
                merge = words[words.index("--merge") + 1] if "--merge" in words else ""
                train(read(Training, file, [*small, "run.max_epoch=1", "run.report_to=none"]), merge)
        elif "eval.report" in command:
            (result,) = eval.results.read_run(tmp_path / words[3] / "own").values()
            assert result.n == 4
    assert (tmp_path / "my" / "whole" / "model.safetensors").is_file()


def test_a_warm_up_longer_than_training_is_told(world, tmp_path, capsys):
    train(world.training(tmp_path / "run", warmup_steps=1000, max_steps=2))
    assert "all 2 steps are warm-up (run.warmup_steps 1000); set fewer" in capsys.readouterr().out


def test_the_row_of_the_readme_is_one():
    shown = json.loads(re.search(r"One row:\n\n```json\n(.*?)```", README, re.S)[1])
    row = Row.from_json(shown, "README")
    assert row.id == "228478002" and row.answer == "tea"


def test_every_file_that_the_readme_names_is_there():
    for path in re.findall(r"(?:LAVIS/|lavis/|(?<=bash )|run_scripts/)[\w/.]+\.(?:sh|py|yaml)", README):
        assert any((ROOT / folder / path).is_file() for folder in (".", "LAVIS", "LAVIS/run_scripts/blip2/train")), path
