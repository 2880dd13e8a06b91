"""The phased win rate: both orders, ties, and what a verdict that cannot be read does."""

import json
from dataclasses import replace

import pytest

from eval import judges
from eval.judges import _items
from eval.judges._items import Item
from eval.judges._llm import Asking
from eval.judges.pairwise import KIND, outcome_of
from open_instruct.core.errors import UserError

RULE = {  # arXiv 2406.04371: two wins, or a win and a tie; two ties, or a win and a loss; else lost
    ("win", "win"): "win",
    ("win", "tie"): "win",
    ("tie", "tie"): "tie",
    ("win", "lose"): "tie",
    ("tie", "lose"): "lose",
    ("lose", "lose"): "lose",
}


@pytest.mark.parametrize("pair", RULE)
def test_the_rule_of_two_orders_whatever_their_order(pair):
    assert outcome_of(*pair) == outcome_of(*reversed(pair)) == RULE[pair]


def scores(first: float, second: float) -> dict:
    return {"first": first, "second": second}


def outcome(*verdicts):
    items = [Item(str(number), "q", "a", "b") for number in range(len(verdicts))]
    return KIND.outcome(items, [list(pair) for pair in verdicts])


def test_the_win_rate_by_hand():
    # Ours stands first in the first verdict of a pair, second in the second.
    found = outcome(
        (scores(9, 7), scores(6, 8)),  # two wins
        (scores(8, 8), scores(7, 8)),  # a tie and a win
        (scores(9, 7), scores(9, 7)),  # the judge likes what stands first: a tie
        (scores(5, 8), scores(8, 5)),  # two losses
    )
    assert {name: found.facts[name] for name in ("win", "tie", "lose", "n", "unreadable")} == {
        "win": 2,
        "tie": 1,
        "lose": 1,
        "n": 4,
        "unreadable": 0,
    }
    assert found.facts["win_rate"] == pytest.approx((2 + 1 / 2) / 4 - 1 / 2) == found.figures["win_rate"].value
    low, high = found.facts["interval"]
    assert -0.5 <= low < found.facts["win_rate"] < high <= 0.5
    assert found.figures["score"].value == pytest.approx((8.5 + 8 + 8 + 5) / 4)
    assert found.figures["orders_agree"].value == 0.5
    # Verdicts that are no tie and prefer what stands first: of 2, of 1, of 2 and of 2.
    assert found.figures["first_preferred"].value == pytest.approx((0.5 + 0 + 1 + 0.5) / 4)


def test_what_cannot_be_read_is_counted_shown_and_in_no_figure():
    won, unreadable = (scores(9, 7), scores(6, 8)), (scores(9, 7), "the verdict is not JSON")
    found = outcome(won, won, won, unreadable)
    assert (found.facts["n"], found.facts["unreadable"], found.facts["items"]) == (3, 1, 4)
    assert found.facts["win_rate"] == 0.5  # published code divides by all rows, and would say 0.25
    assert found.facts["bounds"] == [0.25, 0.5]
    assert found.verdicts[3] == {"unreadable": "the verdict is not JSON", "ours_first": {"score": 9, "reference": 7}}
    assert found.figures["judge_unreadable"].value == 0.25 and found.figures["win"].n == 3


def test_all_won_has_an_interval_that_is_not_a_point():
    low, high = outcome(*[(scores(9, 7), scores(6, 8))] * 20).facts["interval"]
    assert low < 0.45 and high == 0.5


def test_a_run_is_judged_against_another_runs_folder_in_any_order(tmp_path, benchmark, chains):
    other = tmp_path / "results" / "other" / "seqeval"
    other.mkdir(parents=True)
    theirs = [{**chain, "response": "fig pear apple\nthree"} for chain in chains]  # two of three tasks
    (other / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reversed(theirs)))
    judges.judge("pairwise", benchmark, "oracle", [], str(other.parent))
    metrics = json.loads((benchmark / "metrics.json").read_text())
    assert metrics["judges"]["pairwise"] | {"win": 1, "tie": 0, "lose": 3, "n": 4} == metrics["judges"]["pairwise"]
    assert metrics["metrics"]["win_rate"]["value"] == -0.25 and metrics["metrics"]["win_rate"]["unit"] == "points"
    lines = [json.loads(line) for line in (benchmark / "verdicts.jsonl").read_text().splitlines()]
    assert [(line["id"], line["outcome"]) for line in lines] == [
        ("c0", "win"),
        ("c1", "lose"),
        ("c2", "lose"),
        ("c3", "lose"),
    ]
    assert lines[0]["ours_first"] == lines[0]["ours_second"] == {"score": 10, "reference": 7}


def test_the_answers_compared_with_are_named_whatever_their_order_and_who_judges():
    items = [Item(str(n), f"q{n}", "ours", reference=f"theirs {n}") for n in range(3)]
    named = _items.reference_digest(items)
    assert _items.reference_digest([replace(item, response="others") for item in reversed(items)]) == named
    assert _items.reference_digest([*items[:2], replace(items[2], reference="more")]) != named


def test_a_reference_that_lacks_a_question_is_refused(tmp_path, benchmark, chains):
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps([{"instruction": chains[0]["question"], "output": "x"}]))
    with pytest.raises(UserError, match="lacks 3 of the 4 questions"):  # the same question stands four times
        judges.judge("pairwise", benchmark, "oracle", [], str(path))


def test_no_reference_is_told_before_anything_is_asked():
    for reference, told in (("", "compares with a reference model"), ("/nowhere", "no such file or folder")):
        with pytest.raises(UserError, match=told):
            KIND.check("oracle", [], reference)


def test_nothing_readable_gives_no_figures(tmp_path, benchmark, chains):
    stored = tmp_path / "stored.jsonl"
    rows = [{"key": key, "step": "pairwise", "text": "8 7", "finish_reason": "stop"} for key in range(8)]
    stored.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = [Item(str(n), "q", "a", "b") for n in range(4)]
    with pytest.raises(UserError, match="none of the 8 verdicts of the judge pairwise can be read"):
        KIND.judge_items(items, benchmark, Asking("replay", [f"files={stored}"]))
