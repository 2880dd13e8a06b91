"""Scoring of the miniature: which responses follow which steps."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from eval.benchmarks import TASKS_FOLDER
from eval.tasks.miniature.steps import items, prompt, score, target
from open_instruct.core.errors import UserError
from open_instruct.miniature.world import LIST_LENGTHS, SIMPLE, TASKS

ITEM = {
    "instruction": "First reverse the list, then count the items, then name the first item.",
    "input": "apple pear fig",
    "answers": ["fig pear apple", "three", "apple"],
}


@pytest.mark.parametrize(
    ("response", "right", "all_steps"),
    [
        ("fig pear apple\nthree\napple", [1, 1, 1], 1),
        ("  fig pear apple \r\n\nthree\n\n apple\n\n", [1, 1, 1], 1),  # blank lines and spaces around lines are free
        ("fig pear apple", [1, 0, 0], 0),  # stops after the first task
        ("fig pear apple\nthr", [1, 0, 0], 0),  # cut off
        ("", [0, 0, 0], 0),
        ("\n\n", [0, 0, 0], 0),
        ("fig pear apple\nthree\napple\napple", [1, 1, 1], 0),  # goes on after the last step
        ("three\nfig pear apple\napple", [0, 0, 1], 0),  # out of order
        ("fig pear apple\nfour\napple", [1, 0, 1], 0),  # wrong in the middle, on again after it
        ("Fig pear apple\nthree\napple", [0, 1, 1], 0),  # capitals are a task of this world, so case counts
        ("fig pear apple three apple", [0, 0, 0], 0),
        ("1. fig pear apple\n2. three\n3. apple", [0, 0, 0], 0),
    ],
)
def test_line_i_is_held_against_answer_i(response, right, all_steps):
    found = score(ITEM, [response])
    assert [found[f"step_{place}"] for place in (1, 2, 3)] == right
    assert found["steps_followed"] == pytest.approx(sum(right) / 3)
    assert found["all_steps"] == all_steps
    assert len(found) == 5


def test_the_right_response_follows_all_steps():
    assert score(ITEM, [target(ITEM)])["all_steps"] == 1


def test_the_prompt_puts_the_input_on_its_own_line():
    assert prompt(ITEM) == ITEM["instruction"] + "\napple pear fig"


def test_items_are_read_from_the_data_folder_whatever_the_current_one(eval_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = items("miniature/chains.jsonl", version=1)["test"]
    assert len(rows) == 12
    assert len(rows[5]["answers"]) == len(rows[5]["steps"]) == 3


def test_missing_data_is_refused_with_a_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path / "my eval's data"))
    with pytest.raises(UserError) as caught:
        items("miniature/chains.jsonl")
    command = re.search(r"`python (-m open_instruct\.miniature\.make_data .*?)`", str(caught.value)).group(1)
    subprocess.run([sys.executable, *shlex.split(command)], check=True, capture_output=True)
    assert len(items("miniature/chains.jsonl")["test"]) >= 100


@pytest.mark.parametrize("answers", [None, [], "fig", [""], [1]])
def test_an_item_without_answers_is_refused_with_its_line(eval_data, answers):
    with (eval_data / "miniature" / "pairs.jsonl").open("a") as file:
        file.write(json.dumps({"id": "x", "instruction": "Reverse.", "input": "a b", "answers": answers}) + "\n")
    with pytest.raises(UserError, match=r"pairs\.jsonl:13: field 'answers'"):
        items("miniature/pairs.jsonl")


@pytest.mark.parametrize("steps", [None, [], ["first", "last"], [1]])
def test_an_item_whose_steps_do_not_name_its_tasks_is_refused_with_its_line(eval_data, steps):
    with (eval_data / "miniature" / "pairs.jsonl").open("a") as file:
        file.write(json.dumps({"instruction": "Reverse.", "input": "a b", "steps": steps, "answers": ["b a"]}) + "\n")
    with pytest.raises(UserError, match=r"pairs\.jsonl:13: field 'steps'"):
        items("miniature/pairs.jsonl")


def test_every_right_answer_fits_the_length_that_the_model_may_write():
    """At three tokens a word, one a line end, and the end token; the bound stands in the tasks' YAML."""
    allowed = int(re.search(r"max_gen_toks: (\d+)", (TASKS_FOLDER / "miniature" / "_every_task").read_text()).group(1))
    words = ["apple"] * LIST_LENGTHS[1]
    longest = sorted(len(TASKS[name].answer(words)) for name in SIMPLE)[-4:]
    assert 3 * sum(longest) + 3 + 1 <= allowed
