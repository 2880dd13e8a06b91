"""open_instruct/phased/proxy.py and rank_correlation.py: difficulty without a judge."""

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from open_instruct.core.chat import encode, set_template
from open_instruct.core.errors import UserError
from open_instruct.phased import proxy, score
from open_instruct.phased.rank_correlation import spearman

BASE = Path(__file__).parents[2] / "open_instruct" / "miniature" / "base"
ROWS = [
    {"instruction": "Reverse the list.", "input": "apple pear fig", "output": "fig pear apple"},
    {"instruction": "Name the first item.", "input": "plum lime", "output": "plum", "score": "2\n"},
    {"instruction": "Copy the list.", "input": "kiwi mango", "output": " "},
    {"instruction": "Count the items.", "input": "a b", "output": "two fig mango apple pear plum", "score": 5},
]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def scores(tmp_path, rows, method, **more):
    folder = tmp_path / method
    score.main(score.Settings(input_file=[str(rows)], output_dir=str(folder), method=method, base=str(BASE), **more))
    return [json.loads(line) for line in (folder / "scored.jsonl").read_text().splitlines()]


def own_loss(row):
    """As transformers works it out, one row at a time."""
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    set_template(tokenizer, "tulu")
    turns = [{"role": "user", "content": f"{row['instruction']}\n{row['input']}"}]
    (ids,), (labels,) = encode([[*turns, {"role": "assistant", "content": row["output"]}]], tokenizer)
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    answer = [label for label in labels if label != -100]
    given = model(torch.tensor([ids]), labels=torch.tensor([labels])).loss.item()
    alone = [tokenizer.bos_token_id, *answer]
    return given, model(torch.tensor([alone]), labels=torch.tensor([[-100, *answer]])).loss.item()


@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_losses_are_those_of_the_model_whatever_stands_beside_a_row(tmp_path, rows, batch_tokens):
    found = scores(tmp_path, rows, "ratio", batch_tokens=batch_tokens)
    assert [row["instruction"] for row in found] == [ROWS[n]["instruction"] for n in (0, 1, 3)]
    for row in (found[0], found[2]):
        given, alone = own_loss(row)
        assert row["losses"]["loss"] == pytest.approx(given, rel=1e-4)
        assert row["losses"]["alone"] == pytest.approx(alone, rel=1e-4)
        assert row["score"] == pytest.approx(given / alone, rel=1e-4)
    assert found[1]["published_score"] == 2


def test_a_row_without_an_answer_is_listed(tmp_path, rows, capsys):
    scores(tmp_path, rows, "loss")
    (rejected,) = [json.loads(line) for line in (tmp_path / "loss" / "rejected.jsonl").read_text().splitlines()]
    assert rejected["instruction"] == "Copy the list." and rejected["failures"] == [{"reason": "no answer"}]
    assert "4 in = 3 scored + 1 rejected" in capsys.readouterr().out


def test_what_is_journaled_is_not_worked_out_again(tmp_path, rows, monkeypatch):
    before = scores(tmp_path, rows, "loss")
    monkeypatch.setattr(proxy, "_losses", lambda *_: pytest.fail("worked out again"))
    assert scores(tmp_path, rows, "loss") == before


def test_a_killed_run_works_out_only_the_rest(tmp_path, rows, monkeypatch):
    losses, calls = proxy._losses, []

    def dies(model, batch):
        calls.append(len(batch))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return losses(model, batch)

    monkeypatch.setattr(proxy, "_losses", dies)
    with pytest.raises(KeyboardInterrupt):
        scores(tmp_path, rows, "loss", batch_tokens=1)
    calls.clear()
    monkeypatch.setattr(proxy, "_losses", lambda model, batch: calls.append(len(batch)) or losses(model, batch))
    assert len(scores(tmp_path, rows, "loss", batch_tokens=1)) == 3
    assert (
        sum(calls) == 2 * 2
    )  # of three rows with an answer one was done; each is foreseen with and without instruction


def test_an_instruction_that_fills_the_window_has_no_loss(tmp_path, rows):
    with pytest.raises(UserError, match="none of the 4 rows got a score, most because: the instruction leaves no room"):
        scores(tmp_path, rows, "loss", max_length=4)


def test_ranks_with_ties_are_correlated_as_by_hand():
    # Ranks 1, 2.5, 2.5, 4 and 2, 1, 3.5, 3.5: products of deviations 0.75 + 1.5, squares 4.5 and 4.5.
    rho, low, high = spearman([1, 2, 2, 9], [5, 3, 8, 8])
    assert rho == pytest.approx(2.25 / 4.5) and low < rho < high
    half = 1.959964 * math.sqrt(1 + rho**2 / 2)
    assert high == pytest.approx(math.tanh(math.atanh(rho) + half))


def test_a_measure_that_is_the_same_for_all_has_no_correlation():
    assert spearman([1, 1, 1, 1], [1, 2, 3, 4]) is None
    assert spearman([1, 2, 3], [1, 2, 3]) is None
    assert spearman([1, 2, 3, 4], [9, 8, 7, 6]) == (-1, -1, -1)


def test_a_base_whose_losses_are_no_numbers_is_one_line(tmp_path, rows, monkeypatch):
    monkeypatch.setattr(proxy, "_losses", lambda model, batch: [math.nan] * len(batch))
    with pytest.raises(UserError, match="none of the 4 rows got a score, most because: the base's loss is no finite"):
        scores(tmp_path, rows, "loss")
