"""ARC-Challenge: the three forms of its rows, and examples of training questions alone."""

import json

import pytest
from lm_eval.tasks import TaskManager

from eval.benchmarks import TASKS_FOLDER
from eval.tasks.arc_challenge.arc import items
from open_instruct.core.errors import UserError

ONE_TEXT = {
    "instruction": "Please choose the correct answer to the question: Why is it dark?\nThink.\n\n"
    "Answer1: It is: night. Answer2: Answer2 is wrong Answer3: The sun\n\nAnswer format: answer1/answer2/answer3",
    "input": "",
    "output": "the correct answer is answer3",
    "answer": "answer3",
}
RELEASED = {
    "id": "Mercury_7",
    "question": {"stem": "Why?", "choices": [{"text": "so", "label": "1"}, {"text": "thus", "label": "2"}]},
    "answerKey": "2",
}
HUB = {"id": "x", "question": "Why?", "choices": {"text": ["so", "thus"], "label": ["A", "B"]}, "answerKey": "A"}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    folder = tmp_path / "arc_challenge"
    folder.mkdir()
    (folder / "test.json").write_text(json.dumps([ONE_TEXT, RELEASED, HUB]))
    train = [{**HUB, "id": str(number), "question": f"Train {number}?"} for number in range(30)]
    (folder / "train.json").write_text(json.dumps(train))
    return folder


def test_all_forms_are_read(data):
    assert list(items("arc_challenge")["test"]) == [
        {
            "id": "0",
            "question": "Why is it dark?\nThink.",
            "choices": ["It is: night.", "Answer2 is wrong", "The sun"],
            "answer": 2,
        },
        {"id": "Mercury_7", "question": "Why?", "choices": ["so", "thus"], "answer": 1},
        {"id": "x", "question": "Why?", "choices": ["so", "thus"], "answer": 0},
    ]


def test_examples_are_training_questions(data):
    (task,) = (
        TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False).load(["arc_challenge"])["tasks"].values()
    )
    assert task.config.num_fewshot == 25
    prompt = task.fewshot_context(task.eval_docs[0], 25)
    assert prompt.count("Question: Train ") == 25 and prompt.count("?\nAnswer: so\n\n") == 25
    assert prompt.endswith("\n\nQuestion: Why is it dark?\nThink.\nAnswer:")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({**ONE_TEXT, "answer": "answer4"}, "'answer4' is not in list"),
        ({**ONE_TEXT, "instruction": "Why?"}, "no question with 'Answer1: ...'"),
        ({**ONE_TEXT, "instruction": ONE_TEXT["instruction"].replace("Answer3:", "Answer4:")}, "numbered 1, 2, 4"),
        ({**HUB, "answerKey": "C"}, "'C' is not in list"),
        ({"question": "Why?"}, "KeyError: 'choices'"),
    ],
)
def test_a_row_that_is_no_question_is_refused_with_its_place(data, row, problem):
    (data / "test.json").write_text(json.dumps([HUB, row]))
    with pytest.raises(
        UserError, match=rf"test\.json.*: expected a question, its choices and the right one .*{problem}"
    ):
        items("arc_challenge")


def test_all_real_questions_are_read(shared, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(shared / "data" / "eval"))
    found = items("arc_challenge")
    assert {split: len(rows) for split, rows in found.items()} == {"test": 1172, "train": 1119}
    raw = json.loads((shared / "data" / "eval" / "arc_challenge" / "test.json").read_text())
    for item, row in zip(found["test"], raw, strict=True):
        choices = " ".join(f"Answer{number}: {text}" for number, text in enumerate(item["choices"], start=1))
        whole = f"{item['question']}\n\n{choices}"
        assert whole.split() == row["instruction"].partition("question: ")[2].partition("\n\nAnswer format")[0].split()
        assert row["answer"] == f"answer{item['answer'] + 1}"
