"""Responses taken apart, and the prompts that ask for them."""

from random import Random

import pytest

from lavis import prompts
from lavis.answers import parts_of
from open_instruct.core.errors import UserError


@pytest.mark.parametrize(
    ("response", "description", "answer", "followed"),
    [
        ("Description: a cat on a mat\nAnswer: yes", "a cat on a mat", "yes", True),
        ("Answer: yes", "", "yes", False),
        ("yes", "", "yes", False),
        ("Description: a man gives an answer: no\nAnswer: yes", "a man gives an answer: no", "yes", True),
        ("description: a cat\nANSWER : yes\nDescription: a dog", "a cat", "yes", True),
        ("Description: a cat and a dog and", "a cat and a dog and", "", False),  # cut off before the answer
        ("Answer: yes\nDescription: a cat", "", "yes", False),  # the wrong way round
        ("Description:\nAnswer: yes", "", "yes", False),
        ("", "", "", False),
    ],
)
def test_description_and_last_answer_are_found(response, description, answer, followed):
    parts = parts_of(response)
    assert (parts.description, parts.answer, parts.followed) == (description, answer, followed)


def test_what_training_shows_is_taken_apart_into_what_it_was_made_of():
    parts = parts_of(prompts.describe_first_target("A cat.\nIt sits.", "on a mat"))
    assert (parts.description, parts.answer) == ("A cat. It sits.", "on a mat")
    assert parts_of(prompts.direct_target("on a mat")).answer == "on a mat"


def test_direct_wordings_are_drawn_and_describe_first_has_one():
    drawn = {prompts.direct_prompt("who?", Random(seed)) for seed in range(50)}
    assert drawn == {wording.format(question="who?") for wording in prompts.DIRECT}
    assert prompts.describe_first_prompt("who?") == "First describe this image then answer the question: who?"


@pytest.mark.parametrize("name", prompts.NAMES)
def test_every_evaluation_prompt_holds_the_question(name):
    asked = prompts.evaluation_prompt(name, "who?", "a dog\nAnswer: no")
    assert "who?" in asked
    assert ("Description: a dog Answer: no" in asked) == prompts.needs_distraction(name)


def test_an_unknown_prompt_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="run.prompt: 'describe' is none of direct, describe_first, distracted"):
        prompts.evaluation_prompt("describe", "who?")
