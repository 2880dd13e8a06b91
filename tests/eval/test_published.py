"""Figures that others published stand beside ours, each with its source."""

import importlib
import re

import pytest
from lm_eval.tasks import TaskManager

from eval.benchmarks import TASKS_FOLDER, MetricInfo, find
from eval.published import FILE, read
from eval.report import Settings, main
from eval.results import Metric, Result, write
from open_instruct.core.errors import UserError

OURS = Metric(0.4, 200, 0.03, 0.33, 0.47, title="Right number", about="as it says")


def run_with(folder, name, metrics, **more):
    rows = [{"id": "1", "question": "q", "prompt": "", "response": "r", "target": "t", "metrics": {"exact_match": 1.0}}]
    write(folder / name, Result(name, name.upper(), name, "about", 1, 200, 200, metrics, **more), rows)


def test_a_published_figure_stands_beside_ours_with_model_protocol_and_source(tmp_path, capsys):
    run_with(tmp_path / "results" / "mine", "gsm_cot_200", {"exact_match": OURS})
    main(Settings(runs=[str(tmp_path / "results")], output=str(tmp_path / "out")))
    text, page = ((tmp_path / "out" / f"report.{ending}").read_text() for ending in ("md", "html"))
    assert "| mine | 40.0 | this report |" in text
    (number,) = re.findall(r"^\| Human\+GPT mix \(Tulu\) \| 40\.5 \| \[(\d)\] \|$", text, re.MULTILINE)
    (source,) = re.findall(rf"^\[{number}\] (.*)$", text, re.MULTILINE)
    for told in ("2306.04751v2), table 3", "printed table", "LLaMA-1 13B", "200 items, 8-shot chain of thought"):
        assert told in source and told in page
    assert "<li><span>Human+GPT mix (Tulu)</span><b>40.5</b></li>" in page


def test_without_a_file_of_them_nothing_is_published(tmp_path):
    run_with(tmp_path / "results" / "mine", "gsm_cot_200", {"exact_match": OURS})
    main(Settings(runs=[str(tmp_path / "results")], output=str(tmp_path / "out"), published="none"))
    assert "published" not in (tmp_path / "out" / "report.md").read_text()


def test_figures_of_another_unit_do_not_stand_beside_ours(tmp_path):
    points = Metric(0.07, 200, 0.03, 0.01, 0.12, title="Win rate", unit="points")
    for unit, metric in (("points", points), ("share", OURS)):
        run_with(tmp_path / unit / "mine", "instruct_koala", {"win_rate": metric})
        main(Settings(runs=[str(tmp_path / unit)], output=str(tmp_path / unit / "out")))
        text = (tmp_path / unit / "out" / "report.md").read_text()
        assert ("| Llama-3 8B, Alpaca | +9.52 | [1] |" in text) == (unit == "points")


def test_the_file_is_whole_and_says_what_the_raw_numbers_are():
    figures = read()
    assert len(figures) > 20
    for of_metric in figures.values():
        for one in of_metric:
            assert one.source and one.kind and one.model and one.setting and one.protocol
            assert (0 <= one.value <= 1) if one.unit == "share" else (-0.5 <= one.value <= 0.5)
    for one in figures["mgsm_trans_cot_8shot", "exact_match"]:
        assert "raw metric files, not the paper's tables" in one.kind
    assert [one.value for one in figures["mgsm_trans_cot_8shot", "exact_match"]][:3] == [0.1571, 0.2655, 0.2327]
    assert figures["gsm_cot_200", "exact_match"][0].written == "14.5"


def test_every_benchmark_that_figures_are_for_has_that_metric():
    """Figures may wait for a benchmark that is not in the tree; for those that are, the names must be right."""
    manager = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False)
    known = {task for task in manager.all_subtasks}
    checked = 0
    for benchmark, metric in read():
        if benchmark in known:
            (found,) = find([benchmark], [TASKS_FOLDER], manager)
            names = [one.name for one in found.metrics] + of_judge(found.judge)
            assert metric in names, f"{FILE}: {benchmark} has no metric {metric}"
            checked += 1
    assert checked >= 15


def of_judge(kind):
    """The metrics that a kind of judge adds."""
    found = vars(importlib.import_module(f"eval.judges.{kind}")).values() if kind else []
    infos = [one for value in found for one in (value if isinstance(value, list) else [value])]
    return [one.name for one in infos if isinstance(one, MetricInfo)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sources: [", "cannot be read as published figures"),
        ("tables: []", "cannot be read as published figures"),
        ("sources: {}\ntables: [{source: nobody}]", "table 1 of `tables`: no 'nobody'"),
        (
            "sources: {s: {title: t, kind: k}}\n"
            "tables: [{source: s, setting: x, columns: [{benchmark: b, metric: m, protocol: p}], rows: {a: [1, 2]}}]",
            "table 1 of `tables`: row 'a' has 2 figures for 1 columns",
        ),
        (
            "sources: {s: {title: t, kind: k}}\n"
            "tables: [{source: s, setting: x, columns: [{name: n}], rows: {a: [1]}}]",
            "table 1 of `tables`: no 'not_compared'",
        ),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path, text, complaint):
    (tmp_path / "published.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(complaint)) as caught:
        read(tmp_path / "published.yaml")
    assert "\n" not in str(caught.value)
