"""Separating an input from its instruction and putting both together: nothing is lost, whatever a generator says."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from self_seq.extract import join, read_extraction, split

FLANCOT = Path(__file__).parents[2].parent / "shared/data/generation/flancot"


def squeezed(text):
    return "".join(text.split())


@pytest.mark.parametrize(
    ("answer", "given_input"),
    [
        ("#Instruction#: Sum it up.\n#Input#: Rain fell.\nIt stopped.###", "Rain fell.\nIt stopped."),
        ("Instruction: Sum it up.\n### Input: Rain fell.\n###", "Rain fell."),
        ("#Instruction#: Name a river.\n#Input#: none###", ""),
        ("#Instruction#: Name a river.\n#Input#: No input.", ""),
        ("#Instruction#: Name a river.\n#Input#:", ""),
        ("**Instruction:** Sum it up.\n**Input:** Rain fell.", "Rain fell."),
        ("Instruction: Sum it up.\nInput: Rain fell.\n###", "Rain fell."),
        ("Instruction: Sum it up.\nInput: none", ""),
        ("It holds only an instruction.", None),
    ],
)
def test_the_input_that_a_generator_names(answer, given_input):
    assert read_extraction(answer) == given_input


@pytest.mark.parametrize(
    ("text", "given_input", "instruction", "side"),
    [
        ("Rain fell.\n\nSum it up.", "Rain fell.", "Sum it up.", "left"),
        ("Sum it up: Rain fell.", "Rain fell.", "Sum it up:", "right"),
        ('Sum it up: "Rain fell."', "Rain fell.", "Sum it up:", "right"),
        ("Which one?\nOPTIONS:\n- a\n- b\nThink first.", "OPTIONS:\n- a\n- b", "Which one?\nThink first.", "right"),
        ("Say red, then translate: red", "red", "Say red, then translate:", "right"),
        ("Sum it up: Rain\n  fell.", "Rain fell.", "Sum it up:", "right"),
    ],
)
def test_the_instruction_is_what_remains_of_the_text(text, given_input, instruction, side):
    parts = split(text, given_input)
    assert (parts.instruction, parts.side) == (instruction, side)
    assert squeezed(parts.input) in squeezed(text)


@pytest.mark.parametrize("given_input", ["Snow fell.", "Sum it up: Rain fell.", "", " \n"])
def test_an_input_that_is_no_part_or_the_whole_is_refused(given_input):
    assert split("Sum it up: Rain fell.", given_input) is None


@pytest.mark.parametrize(
    ("text", "fenced", "instruction"),
    [
        ("Fix it:\n```python\nx = 1\n```", "```python\nx = 1\n```", "Fix it:"),
        ("```\nx = 1\n```\nFix it.", "```\nx = 1\n```", "Fix it."),
        ("Fix\n~~~\nx = 1\n~~~\nit.", "~~~\nx = 1\n~~~", "Fix\nit."),
    ],
)
def test_the_fence_around_code_stays_around_it(text, fenced, instruction):
    parts = split(text, "x = 1")
    assert (parts.input, parts.instruction) == (fenced, instruction)


@pytest.mark.parametrize(
    ("side", "given_input", "new"),
    [
        ("right", "fig", "First configure the list, then translate:"),
        ("right", "fig", "Say what a fig is, then translate:"),
        ("left", "red", "Name the colour that follows red, then say why."),
        ("left", "red", "Reduce it to one word, then say why."),
    ],
)
def test_a_short_input_that_the_new_instruction_holds_by_chance_is_not_lost(side, given_input, new):
    where = {"side": side, "between": "\n"}
    text = join(new, given_input, where)
    assert text == (f"{given_input}\n{new}" if side == "left" else f"{new}\n{given_input}")
    assert join(text, given_input, where) == text  # it has it now, and gets no second one


def test_the_new_text_holds_the_input_where_it_stood():
    left = split("Rain fell.\n\nSum it up.", "Rain fell.").to_json()
    assert join("Name the weather, then sum it up.", "Rain fell.", left) == (
        "Rain fell.\n\nName the weather, then sum it up."
    )
    right = split("Sum it up: Rain fell.", "Rain fell.").to_json()
    assert join("Name the weather, then sum it up.", "Rain fell.", right) == (
        "Name the weather, then sum it up.\nRain fell."
    )


def test_an_instruction_that_holds_the_input_gets_no_second_one():
    right = split("Sum it up: Rain fell.", "Rain fell.").to_json()
    assert join("First copy this, then sum it up: Rain  fell.", "Rain fell.", right).count("Rain") == 1


@given(st.text(), st.text(), st.text())
def test_no_word_is_lost_or_made_up(before, given_input, after):
    text = before + given_input + after
    parts = split(text, given_input)
    if parts is not None:
        assert sorted(squeezed(parts.instruction + parts.input)) == sorted(squeezed(text))
        assert squeezed(parts.input) in squeezed(text)


def test_real_flan_rows_come_apart_and_together():
    """Answer options are the input; the text made of the two parts again holds every word of the original."""
    if not FLANCOT.is_dir():
        pytest.skip("no shared data here")
    rows = [json.loads(line) for line in (FLANCOT / "flancot_filtered_15k-gpt-3.5-turbo.jsonl").open()]
    found = 0
    for row in rows:
        text = row["instruction"]
        place = text.lower().find("options:")
        if place <= 0:
            continue
        found += 1
        parts = split(text, text[place:])
        assert parts is not None and parts.side == "right"
        again = join(parts.instruction, parts.input, parts.to_json())
        assert squeezed(again) == squeezed(text)
    assert found >= 5
