"""BBH: one benchmark of 27 tasks, its prompts from the published files, and what counts as a right answer."""

import json
import random

import pytest
from lm_eval.tasks import TaskManager

from eval.benchmarks import TASKS_FOLDER, find
from eval.tasks.bbh.bbh import items
from eval.tasks.bbh.scoring import score_answer
from open_instruct.core.errors import UserError

PROMPTS = (
    "Do not train on this.\n-----\nSay what is asked.\n\n"
    "Q: 1 + 1 =\nA: Let's think step by step.\nOne and one. So the answer is 2.\n\n"
    "Q: 2 + 1 =\nA: Let's think step by step. Two and one. So the answer is 3.\n\n"
    "Q: Which?\nOptions:\n(A) a\nA: Let's think step by step.\nSo the answer is none? No. So the answer is (A)."
)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """All 27 tasks, of 2 to 28 questions."""
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    for folder in ("bbh", "cot-prompts"):
        (tmp_path / "bbh" / folder).mkdir(parents=True)
    for number, name in enumerate(names()):
        rows = [{"input": f"{name} {row}", "target": str(row)} for row in range(2 + number)]
        (tmp_path / "bbh" / "bbh" / f"{name}.json").write_text(json.dumps({"canary": "", "examples": rows}))
        (tmp_path / "bbh" / "cot-prompts" / f"{name}.txt").write_text(PROMPTS)
    return tmp_path / "bbh"


def names():
    (benchmark,) = find(["bbh_cot"], [TASKS_FOLDER], manager())
    return [metric.name.removeprefix("exact_match_") for metric in benchmark.metrics[2:]]


def manager():
    return TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False)


def load(name):
    (task,) = manager().load([name])["tasks"].values()
    return task


def test_tasks_take_turns_and_only_the_figure_over_all_stands_in_tables(data):
    rows = items("bbh")["test"]
    assert len(names()) == 27 and [row["task"] for row in rows][: 2 * 27] == 2 * sorted(names())
    assert len({row["id"] for row in rows}) == len(rows) == sum(range(2, 29))
    for benchmark in find(["bbh", "bbh_40"], [TASKS_FOLDER], manager()):
        assert [metric.name for metric in benchmark.metrics if metric.title] == ["exact_match"]


def test_examples_are_worked_out_or_show_the_answer_alone(data):
    task = load("bbh_cot")
    assert task.fewshot_context(task.eval_docs[0], 3) == (
        "Say what is asked.\n\n"
        "Q: 1 + 1 =\nA: Let's think step by step.\nOne and one. So the answer is 2.\n\n"
        "Q: 2 + 1 =\nA: Let's think step by step.\nTwo and one. So the answer is 3.\n\n"
        "Q: Which?\nOptions:\n(A) a\nA: Let's think step by step.\nSo the answer is none? No. So the answer is (A).\n\n"
        "Q: boolean_expressions 0\nA: Let's think step by step.\n"
    )
    task = load("bbh_direct")
    assert task.fewshot_context(task.eval_docs[0], 3) == (
        "Say what is asked.\n\nQ: 1 + 1 =\nA: 2\n\nQ: 2 + 1 =\nA: 3\n\nQ: Which?\nOptions:\n(A) a\nA: (A)\n\n"
        "Q: boolean_expressions 0\nA:"
    )


def test_the_subset_has_as_many_of_each_task_and_is_always_the_same(data):
    rows = items("bbh", per_task=5)["test"]
    counts = [sum(row["task"] == name for row in rows) for name in names()]
    assert counts == [min(5, 2 + number) for number in range(27)]
    chance = random.Random(42)
    for number, name in enumerate(sorted(names())):  # which is their order in the metrics, too
        all_of = [f"{name}-{row}" for row in range(2 + number)]
        expected = chance.sample(all_of, 5) if number > 3 else all_of
        assert [row["id"] for row in rows if row["task"] == name] == expected


@pytest.mark.parametrize(
    ("response", "answer", "right"),
    [
        ("We see. So the answer is (A).", "(A)", True),
        ("So the answer is A.", "(A)", True),
        ("So the answer is **(a)**", "(A)", True),
        ("So the answer is (A). So the answer is (B).", "(A)", True),
        ("So the answer is (B).\n\nQ: x\nSo the answer is (A).", "(A)", False),
        ("The answer is (A).", "(A)", False),
        ("(A)", "(A)", True),
        ("\n (A)\n\nbecause it is", "(A)", True),
        ("So the answer is -5.", "-5", True),
        ("So the answer is 5.", "-5", False),
        ("So the answer is 3.5.", "3.5", True),
        ("So the answer is ] ) >.", "] ) >", True),
        ("So the answer is ])>", "] ) >", True),
        ("So the answer is ] ) }.", "] ) >", False),
        ("So the answer is apple  Pear.", "apple pear", True),
        ("So the answer is yes", "Yes", True),
        ("So the answer is invalid.", "valid", False),
        ("", "Yes", False),
        ("", "] ]", False),
    ],
)
def test_the_answer_is_what_follows_the_phrase(response, answer, right):
    assert score_answer(response, answer) == {"exact_match": float(right)}


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("bbh/snarks.json", None, r"snarks\.json: the evaluation data is not there"),
        (
            "bbh/snarks.json",
            '{"examples": [{"input": "?"}]}',
            r"snarks\.json: not of BBH's format \(KeyError: 'target'\)",
        ),
        ("bbh/snarks.json", '{"examples": []}', "no questions in it"),
        ("bbh/riddles.json", '{"examples": []}', "'riddles' is no task of BBH: boolean_expressions, "),
        ("cot-prompts/snarks.txt", None, r"snarks\.txt: the evaluation data is not there"),
        ("cot-prompts/snarks.txt", PROMPTS.replace("-----", ""), 'expected a line "-----"'),
        ("cot-prompts/snarks.txt", PROMPTS.replace("So the answer is 2", "It is 2"), "expected a line"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(data, file, text, problem):
    path = data / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(UserError, match=problem):
        items("bbh")
