"""Exact and lenient match, and the nearness of descriptions to references."""

import pytest

from lavis.metrics.captions import bleu, rouge_l
from lavis.metrics.match import exact_match, lenient_match


@pytest.mark.parametrize(("answer", "right"), [("Left", "left"), (" left. ", "left"), ("on  the left", "on the left")])
def test_exact_match_forgives_case_spaces_and_a_final_period(answer, right):
    assert exact_match(answer, right) == 1


@pytest.mark.parametrize(("answer", "right"), [("the left", "left"), ("left, right", "left"), ("", "left")])
def test_exact_match_forgives_nothing_else(answer, right):
    assert exact_match(answer, right) == 0


@pytest.mark.parametrize(
    ("response", "right", "value"),
    [
        ("Description: red\nAnswer: a bus", "bus", 1),
        ("Answer: it is snow", "no", 1),  # contains it: lenient indeed
        ("Answer: a red bus", "red bus", 1),  # the last word is in it
        ("Answer: a red bus", "red", 0),
        ("the bus", "bus", 0),  # without "answer" the published script takes "none"
        ("the bus", "0", 1),
        ("Answer: two", "2", 1),
        ("I give no answer", "bus", 1),  # an empty word is in every answer: a fault of the published script
    ],
)
def test_lenient_match_is_the_published_scripts(response, right, value):
    assert lenient_match(response, right) == value


def test_a_reference_itself_is_a_perfect_description():
    references = ["A man rides a brown horse on the beach.", "Somebody is riding."]
    assert bleu(references[0].upper(), references) == pytest.approx(1)
    assert rouge_l(references[0], references) == pytest.approx(1)


def test_a_nearer_description_is_better_and_one_of_other_words_is_worth_little():
    references = ["a man rides a brown horse on the beach"]
    near, far = "a man rides a horse on a beach", "two dogs sleep under some trees"
    assert bleu(near, references) > 0.2 > bleu(far, references)
    assert rouge_l(near, references) > 0.7 > rouge_l(far, references) == 0


def test_rouge_l_by_hand():
    # longest common sequence "a c" of 2; precision 2/3, recall 2/2
    assert rouge_l("a b c", ["a c"]) == pytest.approx(2 * (2 / 3) * 1 / (2 / 3 + 1))
