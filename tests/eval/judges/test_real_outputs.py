"""The whole path of a judge on real outputs: SeqEval's and AlpacaEval's models, stored verdicts of GPT-4 Turbo."""

import json

import pytest

from eval import results
from eval.judges import __main__ as command
from eval.judges.__main__ import Settings, main


@pytest.fixture
def outputs(shared):
    return shared / "data" / "outputs" / "seqeval"


def judged(output, capsys, **settings):
    main(Settings(output_dir=str(output), **settings))
    capsys.readouterr()
    return results.read(output).metrics, json.loads((output / "metrics.json").read_text())["judges"]


def test_stored_verdicts_of_gpt_4_turbo_are_replayed_as_they_are(outputs, tmp_path, capsys):
    """805 real verdicts; the authors' reader gave up two that say [Yes, 4] and [No, 3], ours reads all."""
    rows = json.loads((outputs / "gpt-3.5-turbo.json").read_text())
    stored = tmp_path / "stored.jsonl"
    texts = [{"key": key, "step": "seqeval", "text": row["llm_as_a_judge"]} for key, row in enumerate(rows)]
    stored.write_text("".join(json.dumps(row) + "\n" for row in texts))
    figures, facts = judged(
        tmp_path / "run" / "seqeval",
        capsys,
        kind="seqeval",
        prompt="seqeval_short",
        predictions=str(outputs / "gpt-3.5-turbo.json"),
        engine="replay",
        engine_options=[f"files={stored}"],
    )
    assert facts["seqeval"]["n"] == 805 and facts["seqeval"]["unreadable"] == 0
    known = [row for row in rows if row["score"] != -1]
    assert len(known) == 803
    verdicts = [json.loads(line) for line in (tmp_path / "run" / "seqeval" / "verdicts.jsonl").read_text().splitlines()]
    for row, verdict in zip(rows, verdicts, strict=True):
        if row["score"] != -1:
            assert (verdict["following"], verdict["quality"]) == (row["following"], row["score"])
    assert figures["following"].value == pytest.approx((sum(row["following"] for row in known) + 1) / 805)
    assert figures["quality"].value == pytest.approx((sum(row["score"] for row in known) + 7) / 805)


def test_a_models_real_answers_are_judged_by_iteration_and_position(outputs, tmp_path, capsys):
    """By the oracle, which counts sentences of what is not of its world: the path is tested, not the figures."""
    figures, facts = judged(
        tmp_path / "run" / "seqeval",
        capsys,
        kind="seqeval",
        predictions=str(outputs / "Meta-Llama-3-8B-alpaca_sit_same_instance.jsonl"),
        engine="oracle",
    )
    assert facts["seqeval"]["n"] == 805 and sum(facts["seqeval"]["instructions_by_tasks"].values()) == 805
    # SeqEval's 805 items have 81, 161, 242 and 321 of one to four iterations.
    assert [figures[f"following_iteration_{number}"].n for number in (1, 2, 3, 4)] == [81, 161, 242, 321]
    positions = [metric for metric in figures.values() if metric.position]
    assert [metric.position for metric in positions] == list(range(1, 9))
    assert [metric.n for metric in positions] == sorted((metric.n for metric in positions), reverse=True)
    assert positions[0].n == 805


def test_two_models_are_compared_in_both_orders(outputs, tmp_path, capsys):
    figures, facts = judged(
        tmp_path / "run" / "pairwise",
        capsys,
        kind="pairwise",
        predictions=str(outputs / "Meta-Llama-3-8B-alpaca_sit_same_instance.jsonl"),
        reference=str(outputs / "gpt-3.5-turbo.json"),
        engine="oracle",
    )
    facts = facts["pairwise"]
    assert facts["requests"] == 2 * 805 and facts["win"] + facts["tie"] + facts["lose"] == facts["n"] == 805
    assert figures["orders_agree"].value == 1  # a judge by length has no liking for a place
    assert facts["win_rate"] == pytest.approx((facts["win"] + facts["tie"] / 2) / 805 - 0.5)


def test_alpaca_eval_by_length_wins_where_the_answer_is_longer(shared, tmp_path, capsys, monkeypatch):
    """The whole path through the package, on real answers; equal answers are draws that nobody is asked about."""
    folder = shared / "data" / "eval" / "alpaca_eval"
    monkeypatch.setenv("SIT_EVAL_DATA", str(folder.parent))  # the usual reference is text-davinci-003 there
    figures, facts = judged(
        tmp_path / "run" / "alpaca_eval",
        capsys,
        kind="alpaca_eval",
        predictions=str(folder / "vicuna-7b.json"),
        engine="oracle",
    )
    facts = facts["alpaca_eval"]
    theirs = {row["instruction"]: row["output"] for row in json.loads((folder / "text_davinci_003.json").read_text())}
    ours = {row["instruction"]: row["output"] for row in json.loads((folder / "vicuna-7b.json").read_text())}
    same = sum(ours[one] == theirs[one] for one in ours)
    longer = sum(len(ours[one]) > len(theirs[one]) for one in ours)
    assert facts["requests"] == 805 - same == 803 and facts["tie"] == same
    assert abs(facts["win"] - longer) <= 1 and facts["unreadable"] == 0
    assert figures["win_rate_alpaca"].value == pytest.approx((facts["win"] + same / 2) / 805)


def test_a_folder_of_an_evaluation_is_not_overwritten(outputs, tmp_path):
    output = tmp_path / "run" / "seqeval"
    results.write(output, results.Result("seqeval", "S", "s", "", 1, 0, 0, {}, depends_on={"checkpoint": "x"}), [])
    with pytest.raises(command.UserError, match="holds the results of an evaluation"):
        main(Settings("seqeval", str(outputs / "gpt-3.5-turbo.json"), str(output), engine="oracle", limit=3))
