"""HellaSwag: where its examples come from, and that none of them tells how the item goes on."""

import json

import pytest
from lm_eval.tasks import TaskManager

from eval.benchmarks import TASKS_FOLDER, find
from eval.tasks.hellaswag.hellaswag import items
from open_instruct.core.errors import UserError


def row(number, source, kind="val"):
    return {
        "ind": number,
        "activity_label": "Cooking",
        "ctx_a": f"[header] How to cook {kind} {number} [title] Begin.",
        "ctx_b": "the cook",
        "endings": [f"{word} {number} [substeps] well." for word in ("stirs", "sings", "waits", "runs")],
        "label": number % 4,
        "source_id": source,
    }


@pytest.fixture
def data(tmp_path, monkeypatch):
    """24 rows of 6 videos, four a video."""
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    (tmp_path / "hellaswag").mkdir()
    write(tmp_path / "hellaswag" / "hellaswag.jsonl", [row(number, f"video {number // 4}") for number in range(24)])
    return tmp_path / "hellaswag"


def write(path, rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))


def load():
    (task,) = (
        TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False).load(["hellaswag"])["tasks"].values()
    )
    task.set_fewshot_seed(0)
    return task


def test_marks_of_wikihow_are_taken_off(data):
    first = items("hellaswag")["validation"][1]
    assert first["query"] == "Cooking: How to cook val 1. Begin. The cook"
    assert first["choices"][0] == "stirs 1 well." and first["answer"] == 1


def test_without_a_training_file_examples_are_of_other_sources_and_that_is_told(data, capsys):
    task = load()
    told = capsys.readouterr().err
    assert "hellaswag/hellaswag_train.jsonl is not there; examples are other rows of hellaswag/" in told
    shown = set()
    for _ in range(3):
        for number, item in enumerate(task.eval_docs):
            prompt = task.fewshot_context(item, 10)
            *examples, asked = prompt.split("\n\n")
            assert asked == f"Cooking: How to cook val {number}. Begin. The cook" and len(examples) == 10
            of = {int(one.split("cook val ")[1].split(".")[0]) for one in examples}
            assert len(of) == 10 and not {one // 4 for one in of} & {number // 4}
            shown |= of
    assert shown == set(range(24))


def test_with_a_training_file_examples_are_its_rows(data, capsys):
    write(data / "hellaswag_train.jsonl", [row(number, f"other {number}", "train") for number in range(12)])
    (benchmark,) = find(
        ["hellaswag"], [TASKS_FOLDER], TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False)
    )
    prints = benchmark.fingerprint()
    task = load()
    assert task.fewshot_context(task.eval_docs[0], 10).count("How to cook train ") == 10
    assert "is not there" not in capsys.readouterr().err
    write(data / "hellaswag_train.jsonl", [row(number, f"other {number}", "train") for number in range(11)])
    assert benchmark.fingerprint()["data"] != prints["data"]  # other examples: other results


@pytest.mark.parametrize(
    ("changes", "problem"),
    [({"label": ""}, "ValueError"), ({"label": 4}, "label 4 of 4 endings"), ({"endings": None}, "TypeError")],
)
def test_a_row_without_its_right_ending_is_refused_with_its_line(data, changes, problem):
    write(data / "hellaswag.jsonl", [row(0, "a"), {**row(1, "b"), **changes}])
    with pytest.raises(UserError, match=rf"hellaswag\.jsonl:2: not a row of HellaSwag with its label \(.*{problem}"):
        items("hellaswag")


def test_without_the_file_the_command_that_makes_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"hellaswag\.jsonl: the evaluation data is not there. Make it with `bash"):
        items("hellaswag")
