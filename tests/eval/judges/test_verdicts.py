"""Verdicts are read strictly: what must be guessed is none."""

import json

import pytest

from eval.judges import _prompt
from eval.judges._verdicts import READERS
from open_instruct.core.asking import BadAnswer
from open_instruct.core.errors import UserError

GOOD = {"tasks": [{"task": "add", "done": True}, {"task": "sort", "done": False}], "following": False, "quality": 3}


def changed(**fields) -> str:
    return json.dumps({**GOOD, **fields})


def test_a_verdict_is_read_bare_and_in_a_code_fence():
    assert READERS["tasks"](json.dumps(GOOD)) == GOOD
    assert READERS["tasks"](f"```json\n{json.dumps(GOOD, indent=1)}\n```") == GOOD
    assert READERS["yes_no_score"](" [[Yes, 4]]\n") == {"following": True, "quality": 4.0}
    assert READERS["yes_no_score"]("No, 2.5") == {"following": False, "quality": 2.5}
    assert READERS["two_scores"]('{"first": 10, "second": 8.5}') == {"first": 10, "second": 8.5}
    both = {"truthful": False, "informative": True}
    assert READERS["truthful_informative"](json.dumps(both)) == both


@pytest.mark.parametrize(
    "reader, text",
    [
        ("tasks", ""),
        ("tasks", f"My verdict: {json.dumps(GOOD)}"),
        ("tasks", f"{json.dumps(GOOD)}\nHope this helps!"),
        ("tasks", json.dumps(GOOD)[:-5]),
        ("tasks", changed(following=True)),  # contradicts the list
        ("tasks", changed(following="false")),
        ("tasks", changed(quality=0)),
        ("tasks", changed(quality=6)),
        ("tasks", changed(quality="3")),
        ("tasks", changed(quality=True)),
        ("tasks", changed(tasks=[])),
        ("tasks", changed(tasks=[{"task": "add", "done": "no"}])),
        ("tasks", changed(tasks=[{"task": " ", "done": False}])),
        ("tasks", changed(tasks=[{"task": "add", "done": False, "why": "x"}])),
        ("tasks", changed(tasks=[{"task": "again", "done": False}] * 51)),
        ("tasks", changed(reason="it is short")),
        ("tasks", '{"tasks": [{"task": "a", "done": true}], "following": true, "quality": 1, "quality": 5}'),
        ("tasks", '{"tasks": [{"task": "a", "done": true}], "following": true, "quality": NaN}'),
        ("tasks", "[" * 100_000),
        ("truthful_informative", '{"truthful": true}'),
        ("truthful_informative", '{"truthful": true, "informative": "yes"}'),
        ("truthful_informative", '{"truthful": 1, "informative": false}'),
        ("yes_no_score", "Yes"),
        ("yes_no_score", "[[Yes, 7]]"),
        ("yes_no_score", "[[Yes, 4]] because"),
        ("yes_no_score", "[[Maybe, 4]]"),
        ("two_scores", "8 7"),
        ("two_scores", '{"first": 8}'),
        ("two_scores", '{"first": 11, "second": 8}'),
        ("two_scores", '{"first": 0, "second": 8}'),
    ],
)
def test_anything_else_is_no_verdict(reader, text):
    with pytest.raises(BadAnswer):
        READERS[reader](text)


def test_the_prompts_show_examples_that_can_be_read_and_keep_braces_of_a_response():
    for path in _prompt.FOLDER.glob("*.yaml"):
        prompt = _prompt.load(path.stem)
        values = dict.fromkeys(("instruction", "response", "first", "second"), "{response} {x}")
        shown = prompt.messages(0, values)
        assert shown[0]["role"] == "system"
        assert "{response} {x}" in shown[-1]["content"] and "{instruction}" not in shown[-1]["content"]


def test_a_prompt_whose_example_is_no_verdict_is_refused_in_one_line(tmp_path):
    text = (_prompt.FOLDER / "seqeval.yaml").read_text().replace('"quality": 5}', '"quality": 9}')
    (tmp_path / "seqeval.yaml").write_text(text)
    with pytest.raises(UserError, match=r"seqeval.yaml:1: .*quality is no number from 1 to 5"):
        _prompt.load("seqeval", tmp_path)
    (tmp_path / "seqeval.yaml").write_text("system: x\n")
    with pytest.raises(UserError, match="missing: 'verdict'"):
        _prompt.load("seqeval", tmp_path)
