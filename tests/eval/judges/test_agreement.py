"""Agreement with stored verdicts: by hand, against scikit-learn and SciPy, and on real reviews of GPT-4."""

import json
import subprocess
import sys

import numpy as np
import pytest

from eval.judges.agreement import Settings, agreement, counts, main
from open_instruct.core.errors import UserError


def test_labels_by_hand():
    # Of ten: both yes 4, both no 3, yes/no 2, no/yes 1. Chance: 0.6 x 0.5 + 0.4 x 0.5 = 0.5.
    first = [True] * 4 + [False] * 3 + [True] * 2 + [False]
    second = [True] * 4 + [False] * 3 + [False] * 2 + [True]
    found = agreement(first, second)
    assert found.accuracy == pytest.approx(0.7) and found.kappa == pytest.approx(0.4)
    assert found.pearson is None and found.table == {
        "True / True": 4,
        "False / False": 3,
        "True / False": 2,
        "False / True": 1,
    }
    low, high = found.intervals["kappa"]
    assert low < 0.4 < high


def test_one_rating_for_all_leaves_nothing_to_agree_on():
    found = agreement([True, True], [True, True])
    assert found.accuracy == 1 and found.kappa is None and "kappa" not in found.intervals


def test_figures_equal_those_of_scikit_learn_and_scipy():
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(1)
    first = rng.integers(1, 6, 200).astype(float)
    second = np.clip(first + rng.integers(-2, 3, 200), 1, 5).astype(float)
    found = agreement(first.tolist(), second.tolist())
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second))
    assert found.pearson == pytest.approx(pearsonr(first, second).statistic)
    assert found.spearman == pytest.approx(spearmanr(first, second).statistic)
    assert found.difference == pytest.approx(np.mean(first - second))


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_items_are_matched_by_name_and_the_rest_is_counted(tmp_path, capsys):
    mine = write(
        tmp_path / "a", [{"id": n, "following": n % 2 == 0} for n in (3, 1, 2)] + [{"id": 4, "unreadable": "x"}]
    )
    gold = write(tmp_path / "b", [{"id": n, "followed": True} for n in (1, 2, 3, 4, 5)])
    main(Settings(mine, gold, gold_field="followed"))
    matched, found = map(json.loads, capsys.readouterr().out.splitlines())
    assert matched == {"matched": 4, "in_one_file_only": 1}
    assert (found["n"], found["unreadable"], found["accuracy"]) == (3, 1, pytest.approx(1 / 3, abs=1e-4))


def test_files_that_cannot_be_matched_are_refused(tmp_path):
    mine = write(tmp_path / "a", [{"outcome": "win"}])
    with pytest.raises(UserError, match="2 rows for 1 verdicts"):
        main(Settings(mine, write(tmp_path / "b", [{"outcome": "win"}] * 2)))
    with pytest.raises(UserError, match="no field 'nothing'"):
        main(Settings(mine, mine, field="nothing"))


def test_two_scores_are_a_win_a_tie_or_a_loss(tmp_path, capsys):
    main(Settings(write(tmp_path / "a", [{"score": pair} for pair in ([9, 8], [8, 8], [7, 8.5], [-1, -1])])))
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "field": "score",
        "n": 3,
        "unreadable": 1,
        "counts": {"win": 1, "tie": 1, "lose": 1},
        "win_rate": 0,
    }
    assert counts([1.0, 5.0, 5.0])["counts"] == {"5": 2, "1": 1}


# Counted from the two scores of the 80 reviews a file by a script of a few lines that shares nothing with ours.
REAL = {
    "alpaca-13b": {"win": 3, "tie": 1, "lose": 76},
    "bard": {"win": 30, "tie": 10, "lose": 40},
    "gpt35": {"win": 44, "tie": 22, "lose": 14},
    "llama-13b": {"win": 3, "lose": 77},
}


def test_real_reviews_are_read(shared, capsys):
    folder = shared / "data" / "outputs" / "vicuna_review" / "vicuna-13b_20230322-clean-lang"
    for name, expected in REAL.items():
        main(Settings(str(folder / f"review_{name}_vicuna-13b.jsonl"), id_field="question_id"))
        found = json.loads(capsys.readouterr().out)
        assert found["counts"] == expected and found["n"] == 80 and found["unreadable"] == 0


def test_the_command_prints_one_line_for_a_file_that_is_not_there():
    done = subprocess.run(
        [sys.executable, "-m", "eval.judges.agreement", "--verdicts", "nowhere.jsonl"], capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "nowhere.jsonl: no such file" in done.stderr
