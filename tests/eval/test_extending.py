"""The benchmark of docs/extending.md works as it stands there: it is found, asked, scored, reported and rescored."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

import eval.tasks
from eval import rescore, results
from eval.report import Settings as ReportSettings
from eval.report import main as report
from eval.run import Settings as RunSettings
from eval.run import main as evaluate

DOCS = Path(__file__).resolve().parents[2] / "docs" / "extending.md"


@pytest.fixture
def quiz(tmp_path, monkeypatch):
    """The benchmark's folder as the page shows it, in a folder of tasks of its own, and its data."""
    tasks = tmp_path / "tasks"
    shown = re.findall(r"<!-- eval/tasks/(quiz/[\w.]+) -->\n```\w+\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert [name for name, _ in shown] == ["quiz/quiz.yaml", "quiz/quiz.py", "quiz/scoring.py"]
    for name, text in shown:
        (tasks / name).parent.mkdir(parents=True, exist_ok=True)
        (tasks / name).write_text(text)
    monkeypatch.setattr(eval.tasks, "__path__", [*eval.tasks.__path__, str(tasks)])
    rows = [
        {"id": f"q{n}", "question": f"Number {n}?", "answer": "apple", "topic": f"t{n // 3}", "level": level}
        for n, level in enumerate(["easy", "hard", "easy"] * 3)
    ]
    data = tmp_path / "data" / "quiz" / "quiz.jsonl"
    data.parent.mkdir(parents=True)
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path / "data"))
    yield tasks
    for name in [name for name in sys.modules if name.startswith("eval.tasks.quiz")]:
        sys.modules.pop(name)


def test_one_folder_makes_a_benchmark(quiz, checkpoint, tmp_path, capsys):
    run = tmp_path / "results" / "tiny"
    evaluate(
        RunSettings(model=str(checkpoint), output_dir=str(run), tasks="quiz", device="cpu", include_path=str(quiz))
    )
    found = results.read(run / "quiz")
    assert (found.title, found.n, found.clusters) == ("Quiz", 9, "3 topics")
    assert {name: metric.unit for name, metric in found.metrics.items()} == {
        **{name: "share" for name in ("right", "right_easy", "right_hard")},
        "words": "words",
    }
    assert found.metrics["right_hard"].n == 3
    capsys.readouterr()

    report(ReportSettings(runs=[str(run)], output=str(tmp_path / "out")))
    printed = capsys.readouterr().out
    assert "Right word, % (95 % interval)" in printed and "Length, words (95 % interval)" in printed
    assert json.loads((tmp_path / "out" / "results.json").read_text())["tiny"] == {"quiz": found.metrics["right"].value}


def test_its_stored_answers_are_scored_again(quiz, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rescore, "TASKS_FOLDER", quiz)
    importlib.invalidate_caches()
    stored = tmp_path / "stored.jsonl"
    stored.write_text('{"said": "an Apple", "gold": "apple"}\n{"said": "pear", "gold": "apple"}\n')
    fields = {"prediction_field": "said", "answer_field": "gold"}
    rescore.main(rescore.Settings(task="quiz", predictions=str(stored), **fields))
    assert json.loads(capsys.readouterr().out) == {"right": 0.5, "n": 2}
