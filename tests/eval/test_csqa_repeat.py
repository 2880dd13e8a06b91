"""CommonsenseQA, plain and repeat-first: which letter is chosen, and whether the question was repeated."""

import json

import pytest

from eval.scoring.choices import chosen_letter
from eval.tasks.csqa_repeat.csqa import choices, items, score, without_repetition
from open_instruct.core.errors import UserError

INPUT = "Question: Where does a fish live?\nChoices: A:tree, B:water, C:desert, D:new york, E:in a bank, or shop"
CHOICES = {"A": "tree", "B": "water", "C": "desert", "D": "new york", "E": "in a bank, or shop"}
INSTRUCTION = "Please repeat the input, then pick the right choice."


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    path = tmp_path / "questions.json"
    path.write_text(json.dumps([{"instruction": INSTRUCTION, "input": INPUT, "output": "B"}]))
    return path


def test_base_is_the_instruction_without_its_first_task(file):
    assert items(file.name, "repeat")["test"][0]["question"] == f"{INSTRUCTION}\n{INPUT}"
    assert items(file.name, "base")["test"][0]["question"] == f"Pick the right choice.\n{INPUT}"


def test_choices_are_read_whole():
    assert choices(INPUT) == CHOICES


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("B: water", "B"),
        ("The answer is B, for a fish needs it.", "B"),
        ("A fish lives there.\nAnswer: B", "B"),
        ("**Answer:** B", "B"),
        ("A fish needs water.", "B"),  # the article is no choice, the word is
        ("A", "A"),
        ("A tree", "A"),
        ("It is the Water", "B"),
        ("B or C", ""),
        ("water or desert", ""),
        ("A:tree, B:water, C:desert", ""),
        ("F", ""),
        ("I do not know", ""),
        ("", ""),
        ("Let me think.\nIt is D\n", "D"),
    ],
)
def test_the_one_choice_that_is_named_counts(response, letter):
    assert chosen_letter(response, CHOICES) == letter


@pytest.mark.parametrize(
    ("response", "accuracy", "repeated"),
    [
        (f"{INPUT}\nB", 1, 1),
        (f"{INPUT}\nAnswer: B", 1, 1),
        (f"Sure!\n{INPUT.upper()}\n\nB: water", 1, 1),
        (" ".join(INPUT.split()) + " B", 1, 1),
        ("B", 1, 0),
        (f"{INPUT}\nC", 0, 1),
        (INPUT, 0, 1),  # repeats and stops
        ("Question: Where does a fish live?\nB", 1, 0),  # without the choices
    ],
)
def test_both_tasks_are_scored(file, response, accuracy, repeated):
    item = items(file.name, "repeat")["test"][0]
    assert score(item, [response]) == {
        "accuracy": accuracy,
        "repeated": repeated,
        "both": float(accuracy and repeated),
    }
    assert score(items(file.name, "base")["test"][0], [response]) == {"accuracy": accuracy}


def test_what_follows_the_last_repetition_is_read():
    assert without_repetition(f"{INPUT}\nA\n{INPUT}\nB", INPUT) == ("\nB", True)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"instruction": INSTRUCTION, "input": INPUT, "output": "F"}, "letter of one of the choices"),
        ({"instruction": INSTRUCTION, "input": "Where?", "output": "A"}, "letter of one of the choices"),
        ({"instruction": "Pick.", "input": INPUT, "output": "B"}, "does not ask to repeat"),
        ({"input": INPUT, "output": "B"}, "'instruction' is missing"),
    ],
)
def test_a_row_that_is_no_such_question_is_refused(file, row, problem):
    file.write_text(json.dumps([row]))
    with pytest.raises(UserError, match=rf"questions\.json:1: .*{problem}"):
        items(file.name, "base")


def test_all_real_questions_are_read_and_their_own_answers_are_right(shared, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(shared / "data" / "eval"))
    rows = items("csqa_repeat/commonsense_qa_repeat.json", "repeat")["test"]
    assert len(rows) == 1221
    for row in rows:
        assert len(choices(row["input"])) == 5
        assert score(row, [f"{row['input']}\n{row['answer']}"])["both"] == 1
        assert score(row, [row["input"]])["accuracy"] == 0
        assert score(row, [f"The answer is {choices(row['input'])[row['answer']]}."])["repeated"] == 0
