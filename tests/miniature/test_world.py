"""The miniature world: its answers, its phrasings, and what training may not show."""

import random
from itertools import permutations

import pytest

from open_instruct.miniature.make_data import items, training_rows
from open_instruct.miniature.world import (
    SIMPLE,
    TASKS,
    UNSEEN_CHAINS,
    UNSEEN_PAIRS,
    draw_words,
    may_train,
    phrases_of,
    read_instruction,
    solve,
    write_instruction,
)


@pytest.mark.parametrize(
    ("instruction", "words", "answers"),
    [
        ("Reverse the list.", "apple pear fig", ["fig pear apple"]),
        ("Count the items.", "apple pear fig", ["three"]),
        ("Name the first and the last item.", "apple pear fig", ["apple fig"]),
        ("First write the list in capitals, then drop the last item.", "apple pear", ["APPLE PEAR", "apple"]),
        (
            "First say which item comes last, then list all but the first item, then give the number of items.",
            "kiwi plum lime",
            ["lime", "plum lime", "three"],
        ),
    ],
)
def test_every_task_of_a_chain_works_on_the_input_itself(instruction, words, answers):
    assert solve(instruction, words.split()) == answers


@pytest.mark.parametrize("instruction", ["Sing the list.", "First reverse the list, then sing it.", ""])
def test_what_is_not_of_this_world_has_no_answer(instruction):
    assert solve(instruction, ["apple", "pear"]) is None


def test_every_phrasing_is_read_back_as_its_task_alone_and_in_a_chain():
    for name, task in TASKS.items():
        for phrase in task.phrasings:
            assert read_instruction(write_instruction([phrase])) == (name,)
            chain = write_instruction([phrase, "count the items"])
            assert read_instruction(chain) == (name, "count")
            assert phrases_of(chain) == [phrase, "count the items"]


def test_held_out_chains_leave_every_task_at_every_place():
    assert len(UNSEEN_PAIRS) >= 8
    trained = [chain for n in (2, 3) for chain in permutations(SIMPLE, n) if may_train(chain)]
    for place in (0, 1):
        assert {chain[place] for chain in trained if len(chain) == 2} == set(SIMPLE)
    assert not any(chain in UNSEEN_CHAINS or chain in UNSEEN_PAIRS for chain in trained)
    for chain in trained:  # a held-out pair stays unseen also with a task in between
        assert not any((a, b) in UNSEEN_PAIRS for i, a in enumerate(chain) for b in chain[i + 1 :])


def test_evaluation_items_ask_what_they_say_and_carry_right_answers():
    rows = list(items("pairs", 50))
    assert len({row["id"] for row in rows}) == 50
    for row in rows:
        assert tuple(row["steps"]) in UNSEEN_PAIRS
        assert read_instruction(row["instruction"]) == tuple(row["steps"])
        assert row["answers"] == solve(row["instruction"], row["input"].split())


def test_no_training_row_is_an_evaluation_item():
    taken = {(item["instruction"], item["input"]) for item in items("single", 300)}
    without = {(row["instruction"], row["input"]) for row in training_rows(20_000, seed=0, taken=taken)}
    with_them = {(row["instruction"], row["input"]) for row in training_rows(20_000, seed=0)}
    assert without.isdisjoint(taken) and not with_them.isdisjoint(taken)


def test_training_rows_are_single_tasks_and_the_seed_decides_them():
    rows = list(training_rows(200, seed=1))
    assert all(len(read_instruction(row["instruction"])) == 1 for row in rows)
    assert all([row["output"]] == solve(row["instruction"], row["input"].split()) for row in rows)
    assert rows == list(training_rows(200, seed=1)) != list(training_rows(200, seed=2))
    assert 2 <= len(draw_words(random.Random(0))) <= 6
