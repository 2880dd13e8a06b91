"""open_instruct/phased/scored.py: published scored files as they are, our own rows, and stage 1's chain lengths."""

import json

import pytest

from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction
from open_instruct.phased import scored


def rows_of(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [str(path)]


def test_a_published_row_becomes_an_instruction_whose_prompt_is_as_it_was(tmp_path):
    files = rows_of(tmp_path / "a.jsonl", {"id": "7", "score": "4.5\n\n", "data": ["Add up.\n1 2", "3"]})
    ((where, row),) = scored.read(files)
    assert (row.prompt, row.output, row.extra["id"]) == ("Add up.\n1 2", "3", "7")
    assert scored.difficulty(row, where, "score") == 4.5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"data": ["only one"]}, 'a.jsonl:1: expected "data": [prompt, output], two texts'),
        ({"data": ["a", 3]}, "two texts"),
        ({"data": [" ", "b"]}, "field 'instruction' is blank"),
        ({"messages": []}, "field 'instruction' is missing"),
    ],
)
def test_a_row_of_another_form_is_one_line_with_its_place(tmp_path, row, message):
    with pytest.raises(UserError) as error:
        list(scored.read(rows_of(tmp_path / "a.jsonl", row)))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("score", ["", "hard", "nan", "inf", None, True, [4]])
def test_a_score_that_is_no_number_is_refused_with_its_place(score):
    with pytest.raises(UserError, match="F:3: 'score' is .*expected a number such as 3.5"):
        scored.difficulty(Instruction("a", extra={"score": score}), "F:3", "score")


def test_a_missing_score_names_the_remedy():
    with pytest.raises(UserError, match="F:3: the row has no 'score'; score the rows first"):
        scored.difficulty(Instruction("a"), "F:3", "score")


@pytest.mark.parametrize(("options", "tasks"), [([], 1), (["D"], 1), (["C", "D"], 2), (["A", "B", "C"], 4)])
def test_the_chain_length_is_one_and_one_for_each_time_that_stage_1_made_it_longer(options, tasks):
    assert scored.difficulty(Instruction("a", extra={"options": options}), "F:1", scored.CHAIN_LENGTH) == tasks


def test_a_chain_length_that_a_row_names_itself_wins_and_none_at_all_is_refused():
    row = Instruction("a", extra={"chain_length": 5, "options": ["C"]})
    assert scored.difficulty(row, "F:1", scored.CHAIN_LENGTH) == 5
    with pytest.raises(UserError, match="does not tell its chain length"):
        scored.difficulty(Instruction("a"), "F:1", scored.CHAIN_LENGTH)


def test_the_published_rows_are_read_as_they_are(shared):
    files = [str(shared / "data" / "train" / "phased" / "en-alpaca52k-stage3.jsonl")]
    scores = [scored.difficulty(row, where, "score") for where, row in scored.read(files)]
    assert len(scores) == 6889
    assert min(scores) == 3.5 and max(scores) == 5
    assert sum(scores) / len(scores) == pytest.approx(4.25, abs=0.01)  # Table 1
