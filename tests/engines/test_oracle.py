"""The oracle engine answers the prompts of stage 1 in the form they ask for."""

import json
from pathlib import Path

import pytest

from open_instruct.core.errors import UserError
from open_instruct.engines import open_engine
from open_instruct.engines.base import Request, Sampling
from open_instruct.miniature.world import may_train, read_instruction

PROMPTS = Path(__file__).parents[2] / "self-seq" / "prompts"


def answer(asked, rules="", seed=0, max_tokens=100, options=()):
    messages = ({"role": "system", "content": rules}, {"role": "user", "content": asked})
    engine = open_engine("oracle", list(options))
    (completion,) = engine.complete([Request(7, messages, Sampling(max_tokens=max_tokens, seed=seed))])
    assert completion.key == 7
    return completion


def rules(step):
    return (PROMPTS / f"{step}.yaml").read_text()


def test_it_answers_an_instruction_of_the_world():
    completion = answer("First reverse the list, then count the items.\napple pear fig")
    assert (completion.text, completion.finish_reason) == ("fig pear apple\nthree", "stop")
    assert completion.completion_tokens == 4


def test_it_does_not_know_other_instructions():
    unknown = answer("Write a poem.\nabout spring")
    assert unknown.finish_reason == "error" and "miniature world only" in unknown.error


def test_it_decomposes_what_has_two_parts():
    asked = "#Original Instruction#: Name the first and the last item.\n#Input#: fig pear\n"
    assert answer(asked, rules("classify"), options=["grow=1"]).text.endswith("So the option is: A.")
    text = answer(asked, rules("rewrite_decompose")).text
    assert text.endswith("###")
    new = text.split("#New Instruction#: ")[1].removesuffix("###")
    assert read_instruction(new) == ("first", "last")


@pytest.mark.parametrize(("step", "place"), [("rewrite_prefix", 1), ("rewrite_suffix", 0)])
def test_it_adds_a_task_that_training_may_show(step, place):
    for number in range(50):
        asked = f"#Original Instruction#: Reverse the list.\n#Input#: fig pear {'plum ' * number}\n"
        new = answer(asked, rules(step)).text.split("#New Instruction#: ")[1].removesuffix("###")
        chain = read_instruction(new)
        assert len(chain) == 2 and chain[place] == "reverse" and may_train(chain)


def test_it_keeps_a_chain_of_three():
    asked = (
        "#Original Instruction#: First copy the list, then reverse the list, then count the items.\n#Input#: fig pear"
    )
    assert answer(asked, rules("classify"), options=["grow=1"]).text.endswith("So the option is: D.")


def test_malformed_answers_come_at_the_rate_asked_for_and_another_seed_mends_them():
    asked = [f"Reverse the list.\napple {'pear ' * number}fig" for number in range(400)]
    bad = [text for text in asked if answer(text, options=["malformed=0.25"]).text != answer(text).text]
    assert 60 < len(bad) < 140
    assert (
        sum(answer(text, seed=1, options=["malformed=0.25"]).text == answer(text).text for text in bad) > len(bad) / 2
    )


def test_a_long_answer_is_cut_off_and_says_so():
    completion = answer("Copy the list.\napple pear fig plum", max_tokens=2)
    assert (completion.text, completion.finish_reason) == ("apple pear", "length")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("oracel", [], "no engine named 'oracel'; there are: .*oracle"),
        ("oracle", ["rate=1"], "its settings are: malformed, grow"),
        ("oracle", ["malformed=much"], "malformed must be of type float"),
        ("oracle", ["malformed=2"], "between 0 and 1"),
    ],
)
def test_wrong_settings_are_one_line(name, options, message):
    with pytest.raises(UserError, match=message):
        open_engine(name, options)


def test_it_judges_answers_to_its_own_instructions_line_by_line():
    asked = (
        "<instruction>\nFirst reverse the list, then count the items.\nfig pear\n</instruction>\n"
        "<response>\npear fig\nthree\n</response>"
    )
    verdict = json.loads(answer(asked).text)
    assert verdict == {
        "tasks": [{"task": "reverse", "done": True}, {"task": "count", "done": False}],
        "following": False,
        "quality": 3,
    }


def test_it_compares_by_what_is_right_and_elsewhere_by_length():
    def scores(instruction, first, second):
        asked = f"<instruction>\n{instruction}\n</instruction>\n<first_response>\n{first}\n</first_response>\n"
        return json.loads(answer(f"{asked}<second_response>\n{second}\n</second_response>").text)

    assert scores("Reverse the list.\nfig pear", "fig pear", "pear fig") == {"first": 1, "second": 10}
    assert scores("Write a poem.", "x" * 900, "x" * 100) == {"first": 5, "second": 1}


@pytest.mark.parametrize(
    ("instruction", "output", "grades"),
    [
        ("Reverse the list.", "pear fig", "Difficulty: 1\nStep: 1"),
        ("First reverse the list, then count the items.", "pear fig\n2", "Difficulty: 2.5\nStep: 2.5"),
        ("Say why the sky is blue.", "Air scatters light. Blue most of all. Hence.", "Difficulty: 1\nStep: 4"),
    ],
)
def test_it_grades_rows_by_the_tasks_that_they_hold(instruction, output, grades):
    shown = {"instruction": instruction, "input": "fig pear", "output": output}
    assert answer("".join(f"<{name}>\n{text}\n</{name}>\n" for name, text in shown.items())).text == grades
