"""`ask` and the readers of answers: what is asked again, what is kept of a row that failed, what a step refuses."""

import json

import pytest

from open_instruct.core.asking import BadAnswer, ask
from open_instruct.core.journal import Journal
from open_instruct.core.records import Instruction
from open_instruct.engines.base import Completion, Sampling
from self_seq.prompts import FOLDER, load_prompt
from self_seq.state import changed, with_new_state
from self_seq.steps import classify, refine

ROW = Instruction("Name a river.")


class Scripted:
    """An engine that gives each request the next of its texts; None is a request left without a completion."""

    def __init__(self, *texts: str | None) -> None:
        self.texts = list(texts)

    def complete(self, requests):
        for request in requests:
            text = self.texts.pop(0)
            if text is not None:
                reason = "stop" if text else "error"
                yield Completion(request.key, text, reason, 1, 1, "" if text else "cannot be asked again")


def results(folder, engine, rows=1, attempts=3):
    step = classify(load_prompt(FOLDER, "classify"))
    with Journal(folder / "journal.jsonl", {}) as journal:
        pairs = [(number, ROW) for number in range(rows)]
        ask(step, lambda: pairs, rows, journal, engine, Sampling(), attempts, "test")
    return [json.loads(line)["value"] for line in (folder / "journal.jsonl").read_text().splitlines()[1:]]


def test_a_bad_answer_is_asked_again_until_it_is_good(tmp_path):
    of_all_three = [3, 3]
    assert results(tmp_path, Scripted("Hm.", "", "Option: B")) == [{"option": "B", "tokens": of_all_three}]


def test_of_a_row_that_stays_bad_the_first_answer_with_a_text_is_kept(tmp_path):
    kept = {"failed": "states no choice", "answer": "Hm.", "tokens": [3, 3]}
    assert results(tmp_path, Scripted("", "Hm.", "")) == [kept]


def test_of_a_row_that_never_had_a_text_the_first_reason_is_kept(tmp_path):
    (result,) = results(tmp_path, Scripted("", "", ""))
    assert (result["failed"], result["answer"]) == ("cannot be asked again", "")


def test_rows_keep_their_own_bad_answers(tmp_path):
    engine = Scripted("zero", "one", "", "", "", "")
    assert [result["answer"] for result in results(tmp_path, engine, rows=2)] == ["zero", "one"]


def test_an_engine_that_leaves_a_request_is_found_out(tmp_path):
    with pytest.raises(RuntimeError, match="left 1 requests without an answer, the first of them 1"):
        results(tmp_path, Scripted("Option: B", None, "Option: C"), rows=3)


def refined(text):
    original = "Name a river in Peru."
    row = changed(with_new_state(Instruction(original), 0), instruction="Name a river, then sing.")
    return refine(load_prompt(FOLDER, "refine")).read(row, text)["instruction"]


def test_refine_keeps_or_repairs():
    assert refined("Yes") == "Name a river, then sing."
    assert refined("No\n#New Instruction#: Name a river in Peru, then sing.###") == "Name a river in Peru, then sing."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Perhaps.", "neither Yes nor No"),
        ("No", "no repaired instruction"),
        ("No\n#New Instruction#: Name a river in Peru.###", "equals"),
    ],
)
def test_refine_refuses(text, reason):
    with pytest.raises(BadAnswer, match=reason):
        refined(text)
