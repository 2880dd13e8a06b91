"""open_instruct/phased/win_rates.py: the table over sets, the weighted average and the curve."""

import json

import pytest

from eval.judges import agreement
from eval.judges.__main__ import Settings as JudgeSettings
from eval.judges.__main__ import main as judge
from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows
from open_instruct.phased import published, win_rates
from open_instruct.phased.win_rates import Rate, Settings


def verdicts(folder, name, win, tie, lose, unreadable=0, available=None, **more):
    """metrics.json as `eval.judges` writes it, in what is read of it (`test_it_reads_what_the_judges_write`)."""
    n = win + tie + lose
    rate = (win + tie / 2) / n - 0.5 if n else None
    said = {
        "win": win,
        "tie": tie,
        "lose": lose,
        "unreadable": unreadable,
        "n": n,
        "win_rate": rate,
        "interval": [-0.1, 0.1],
        **more,
    }
    raw = {"n": n + unreadable, "n_available": available or n + unreadable, "judges": {"pairwise": said}}
    path = folder / name / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(raw))


def rate(value, n):
    return Rate(n, 0, 0, 0, value, value, value, False)


def test_the_average_weighs_sets_by_their_items_as_published():
    # Table 2, Llama-2 7B and Llama-3 8B on Alpaca.
    sizes = [size for _, size in published.SETS.values()]
    for values, average in (
        ([4.17, 6.42, 5.56, 6.88, 9.31, 14.34], 7.26),
        ([3.05, 9.67, 9.52, 7.50, 6.32, 12.60], 7.64),
    ):
        sets = {name: rate(value, n) for name, value, n in zip(published.SETS, values, sizes, strict=True)}
        assert win_rates.average(sets).value == pytest.approx(average, abs=0.006)


def test_unreadable_verdicts_are_counted_and_in_no_figure(tmp_path):
    verdicts(tmp_path, "instruct_koala", win=3, tie=2, lose=1, unreadable=4)
    verdicts(tmp_path, "instruct_vicuna", win=0, tie=1, lose=1, unreadable=0)
    sets = win_rates.read(tmp_path, [])
    assert sets["instruct_koala"].value == pytest.approx(100 * (4 / 6 - 0.5))
    both = win_rates.average(sets)
    assert (both.win, both.tie, both.lose, both.unreadable, both.n) == (3, 3, 2, 4, 8)
    assert both.value == pytest.approx(100 * (4.5 / 8 - 0.5))  # of all items together
    assert both.low < both.value < both.high


def test_the_sets_stand_in_the_order_of_the_publication(tmp_path):
    for name in ("own", "instruct_vicuna", "instruct_self_instruct"):
        verdicts(tmp_path, name, 1, 1, 1)
    assert list(win_rates.read(tmp_path, [])) == ["instruct_self_instruct", "instruct_vicuna", "own"]


def test_a_line_of_the_curve_goes_on_as_the_training_did():
    compared = {
        name: {"koala": rate(n, 10)} for n, name in enumerate(("1", "1-2", "1-2-3", "random-1", "random-1-2", "3"))
    }
    lines = win_rates.courses(compared)
    assert [(name, [(point.label, point.step) for point in points]) for name, points in lines] == [
        ("1-2-3", [("1", 1), ("1-2", 2), ("1-2-3", 3)]),
        ("random-1-2", [("random-1", 1), ("random-1-2", 2)]),
        ("3", [("3", 1)]),
    ]


def test_a_run_that_is_compared_alone_stands_where_its_training_ended():
    names = ("1-2-3", "random-1-2-3", "1+2+3", "1+2-3", "llama-2-7b")
    lines = win_rates.courses({name: {"koala": rate(1, 10)} for name in names})
    assert [point.step for _, points in lines for point in points] == [3, 3, 1, 2, 1]


def test_a_set_of_which_only_some_items_were_answered_is_marked(tmp_path):
    verdicts(tmp_path, "instruct_vicuna", win=40, tie=39, lose=1)
    verdicts(tmp_path, "instruct_koala", win=4, tie=0, lose=0)
    verdicts(tmp_path, "own", win=4, tie=0, lose=0)
    found = win_rates.read(tmp_path, [])
    assert [name for name, one in found.items() if one.partial] == ["instruct_koala"]


def test_table_page_curve_and_figures_are_written(tmp_path, capsys):
    for name, counts in {"1": (1, 0, 3), "1-2": (2, 0, 2), "1-2-3": (3, 0, 1)}.items():
        verdicts(tmp_path / name, "instruct_koala", *counts, available=9)
    compared = [f"{name}={tmp_path / name}" for name in ("1", "1-2", "1-2-3")]
    win_rates.main(Settings(compared=compared, reference="1+2+3", output_dir=str(tmp_path / "out")))
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines()[:-1])) <= 80
    assert "-25.00*" in told and "+25.00*" in told
    for text in (told, (tmp_path / "out" / "win_rates.md").read_text()):
        assert "* only some of the items were answered and judged" in text
    assert ["1-2-3", "+7.26", "+7.35"] in [line.split() for line in told.splitlines()]  # published
    figures = json.loads((tmp_path / "out" / "win_rates.json").read_text())
    assert [figures["runs"][name]["average"]["value"] for name in ("1", "1-2", "1-2-3")] == [-25, 0, 25]
    drawing = (tmp_path / "out" / "win_rates.svg").read_text()
    heights = [float(part.split('"')[0]) for part in drawing.split('cy="')[1:]]
    assert len(heights) == 3 and heights[0] > heights[1] > heights[2]  # it grows


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no such comparison; judge first"),
        (lambda folder: folder.mkdir(), "holds no verdicts"),
        (lambda folder: verdicts(folder, "koala", 0, 0, 0, unreadable=3), "none of its 3 items has readable verdicts"),
        (
            lambda folder: verdicts(folder, "koala", 1, 0, 0) or (folder / "koala/metrics.json").write_text("{}"),
            "holds no verdicts of",
        ),
    ],
)
def test_a_comparison_without_verdicts_is_one_line(tmp_path, make, message):
    folder = tmp_path / "a_vs_b"
    make(folder)
    with pytest.raises(UserError, match=message) as error:
        win_rates.read(folder, [])
    assert "\n" not in str(error.value)


def test_runs_on_different_sets_are_not_put_into_one_table(tmp_path):
    verdicts(tmp_path / "a", "koala", 1, 0, 0)
    verdicts(tmp_path / "b", "vicuna", 1, 0, 0)
    with pytest.raises(UserError, match="not all runs were judged on the same sets"):
        compared = [f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}"]
        win_rates.main(Settings(compared=compared, reference="c", output_dir=str(tmp_path / "out")))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            {"engine": {"name": "openai", "model": "gpt-4.1"}},
            "a by oracle pairwise 73; b by openai gpt-4.1 pairwise 73",
        ),
        ({"prompt": "mine 12"}, "a by oracle pairwise 73; b by oracle mine 12"),
        ({"reference": "of later"}, "koala: the runs were compared with different answers"),
    ],
)
def test_runs_of_another_judge_or_against_other_answers_are_not_put_into_one_table(tmp_path, what, message):
    judged = {"engine": {"name": "oracle"}, "prompt": "pairwise 73", "reference": "of then"}
    verdicts(tmp_path / "a", "koala", 1, 0, 0, **judged)
    verdicts(tmp_path / "b", "koala", 1, 0, 0, **(judged | what))
    with pytest.raises(UserError, match=message):
        compared = [f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}"]
        win_rates.main(Settings(compared=compared, reference="c", output_dir=str(tmp_path / "out")))


def test_it_reads_what_the_judges_write(tmp_path):
    question = "First reverse the list, then count the items.\napple pear fig"
    ours = ["fig pear apple\nthree", "fig pear apple\nthree", "no", "fig pear apple"]
    theirs = ["no", "fig pear apple\nthree", "fig pear apple", "no"]
    for name, answers in (("ours", ours), ("theirs", theirs)):
        rows = [
            {"id": n, "question": f"{question} {'plum ' * n}".strip(), "response": one} for n, one in enumerate(answers)
        ]
        rows = [{**row, "question": question} if n == 0 else row for n, row in enumerate(rows)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge(
        JudgeSettings(
            kind="pairwise",
            predictions=str(tmp_path / "ours.jsonl"),
            reference=str(tmp_path / "theirs.jsonl"),
            output_dir=str(tmp_path / "a_vs_b" / "koala"),
            engine="oracle",
        )
    )
    said = json.loads((tmp_path / "a_vs_b" / "koala" / "metrics.json").read_text())["judges"]["pairwise"]
    found = win_rates.read(tmp_path / "a_vs_b", ["koala"])["koala"]
    assert (
        (found.win, found.tie, found.lose) == (said["win"], said["tie"], said["lose"])
        and found.n == 4
        and found.win > 0
    )
    assert found.value == pytest.approx(100 * ((found.win + found.tie / 2) / 4 - 0.5))
    assert [found.low, found.high] == [100 * end for end in said["interval"]]


def test_real_verdicts_make_the_average_of_all_their_items(shared, tmp_path):
    folder = shared / "data" / "outputs" / "vicuna_review" / "vicuna-13b_20230322-clean-lang"
    outcomes = {"win": 0, "tie": 0, "lose": 0}
    for path in sorted(folder.glob("*.jsonl")):
        found = agreement.counts([agreement._rating(row["score"]) for _, row in read_rows(path)])
        counts = {name: found["counts"].get(name, 0) for name in outcomes}
        outcomes = {name: outcomes[name] + counts[name] for name in outcomes}
        verdicts(tmp_path, path.stem, **counts, unreadable=found["unreadable"])
    every = win_rates.average(win_rates.read(tmp_path, []))
    assert every.n + every.unreadable == 320
    assert every.value == pytest.approx(100 * ((outcomes["win"] + outcomes["tie"] / 2) / every.n - 0.5))
