"""Prompt files: what is filled in, the order of examples, and errors."""

import shutil

import pytest

from open_instruct.core.errors import UserError
from open_instruct.core.prompt_file import ROWS_AN_ORDER
from open_instruct.core.records import Instruction
from self_seq.prompts import FOLDER, load_prompt

NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_fills_without_a_place_left_open(name):
    messages = load_prompt(FOLDER, name).fill(0, Instruction("Name a river.", "in Peru"))
    assert messages[-1]["role"] == "user"
    assert "in Peru" in messages[-1]["content"]
    assert "Name a river." in messages[-1]["content"] or name == "paraphrase"  # it is shown the input alone
    assert not any("{" in message["content"] for message in messages)


def test_a_row_without_input_has_no_input_section():
    question = load_prompt(FOLDER, "classify").fill(0, Instruction("Name a river."))[-1]["content"]
    assert "#Input#" not in question and "#Original Instruction#: Name a river.\n" in question


def test_braces_in_a_row_are_text():
    question = load_prompt(FOLDER, "classify").fill(0, Instruction("Explain {input} and {prompt}.", "x {instruction}"))
    assert "Explain {input} and {prompt}." in question[-1]["content"]
    assert "x {instruction}" in question[-1]["content"]


def test_rows_next_to_each_other_share_everything_but_the_question():
    prompt = load_prompt(FOLDER, "classify")
    first = prompt.fill(0, Instruction("a"))
    assert prompt.fill(1, Instruction("b"))[:-1] == first[:-1]
    assert prompt.fill(ROWS_AN_ORDER, Instruction("b"))[:-1] != first[:-1]
    assert len({prompt.fill(n * ROWS_AN_ORDER, Instruction("a"))[:-1].__repr__() for n in range(12)}) <= 4


def test_the_system_prompt_of_a_row_goes_with_its_answer():
    prompt = load_prompt(FOLDER, "respond")
    assert [m["role"] for m in prompt.fill(0, Instruction("a"))] == ["user"]
    messages = prompt.fill(0, Instruction("a", extra={"system_prompt": "Be brief."}))
    assert messages[0] == {"role": "system", "content": "Be brief."}


def test_the_system_prompt_of_a_row_does_not_replace_the_rules_of_a_step():
    prompt = load_prompt(FOLDER, "classify")
    assert prompt.fill(0, Instruction("a", extra={"system_prompt": "Be brief."})) == prompt.fill(0, Instruction("a"))


def test_another_text_is_another_digest(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "prompts")
    path = tmp_path / "prompts" / "classify.yaml"
    path.write_text(path.read_text().replace("You improve", "You better"))
    assert load_prompt(tmp_path / "prompts", "classify").digest != load_prompt(FOLDER, "classify").digest


def whole(changed):
    """A prompt file with one field changed."""
    fields = {"system": "hello", "question": "'{prompt}'", "input_section": "''", "examples": "[]", "orders": "1"}
    name, _, value = changed.partition(":")
    return "".join(f"{field}: {text}\n" for field, text in {**fields, name: value}.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such prompt file"),
        ("system: [", "classify.yaml:1: not YAML"),
        ("system: hello", "classify.yaml:1: a prompt file needs"),
        (whole("examples: [{instruction: a}]"), "classify.yaml:1: a prompt file needs .* missing: 'answer'"),
        (whole("examples: [a]"), "classify.yaml:1: a field is of the wrong kind"),
        (whole("examples:"), "classify.yaml:1: a field is of the wrong kind"),
        (whole("system:"), "classify.yaml:1: a field is of the wrong kind"),
        (whole("question:"), "classify.yaml:1: a field is of the wrong kind"),
        (whole("input_section: 3"), "classify.yaml:1: a field is of the wrong kind"),
        (whole("orders: two"), "classify.yaml:1: a field is of the wrong kind"),
        (whole("system: caf\xe9").encode("latin-1"), "classify.yaml: not UTF-8"),
    ],
)
def test_a_broken_prompt_file_is_one_line(tmp_path, content, message):
    if content:
        (tmp_path / "classify.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        load_prompt(tmp_path, "classify")
