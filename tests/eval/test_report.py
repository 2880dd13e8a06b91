"""The report: figures as they were measured, on pages that need nothing else."""

import base64
import json
import re
import shutil
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from eval.report import Settings, main
from eval.results import Metric, Result, read, read_run, write
from eval.tables import terminal
from open_instruct.core.errors import UserError
from open_instruct.core.intervals import interval, standard_error

LENGTHS = {"single": 1, "pairs": 2, "chains": 3, "longer": 4}
TITLES = {"single": "single", "pairs": "unseen pairs", "chains": "unseen chains of 3", "longer": "chains of 4"}


def metric(values, **more):
    low, high = interval(values)
    return Metric(sum(values) / len(values), len(values), standard_error(values), low, high, **more)


def result(short, followed, n_available=0, **depends_on):
    """A result whose item i follows the first `followed[i]` steps, and its predictions."""
    steps = LENGTHS[short]
    metrics = {
        "all_steps": metric([float(n == steps) for n in followed], title="All steps right", about="each line is right"),
        "steps_followed": metric(
            [n / steps for n in followed], title="Share of steps right", about="lines that are right"
        ),
        **{f"step_{k}": metric([float(n >= k) for n in followed], position=k) for k in range(1, steps + 1)},
    }
    made = Result(
        benchmark=f"miniature_{short}",
        title=TITLES[short],
        short=short,
        about=f"{steps} at a time",
        order=steps,
        n=len(followed),
        n_available=n_available or len(followed),
        metrics=metrics,
        depends_on={"checkpoint": "c", "data": "d", "task": "t", **depends_on},
    )
    predictions = [
        {
            "id": f"{short}-{number}",
            "question": f"Do {steps} things.\napple {number}",
            "prompt": "...",
            "response": "\n".join(f"line {k} </script><b>bold</b>" for k in range(1, n + 1)),
            "target": "\n".join(f"line {k} </script><b>bold</b>" for k in range(1, steps + 1)),
            "metrics": {
                "all_steps": float(n == steps),
                "steps_followed": n / steps,
                **{f"step_{k}": float(n >= k) for k in range(1, steps + 1)},
            },
        }
        for number, n in enumerate(followed)
    ]
    return made, predictions


@pytest.fixture
def runs(tmp_path):
    """Two runs: `it` stops after the first step, `sit` follows all but every fifth."""
    for run in ("it", "sit"):
        for short, steps in LENGTHS.items():
            followed = [1] * 30 if run == "it" else [steps if number % 5 else steps - 1 for number in range(30)]
            write(tmp_path / "results" / run / f"miniature_{short}", *result(short, followed, checkpoint=run))
    return tmp_path / "results"


def report(runs, output, *names, **more):
    main(Settings(runs=[f"{name}={runs / name}" for name in names or ("it", "sit")], output=str(output), **more))


def test_a_runs_name_stays_a_text_in_every_file(runs, tmp_path):
    name = """a 'b" <script>|$x_{y}$ \\input{secret}"""
    main(Settings(runs=[f"{name}={runs / 'it'}"], output=str(tmp_path / "report")))
    page, text, paper = ((tmp_path / "report" / f"report.{ending}").read_text() for ending in ("html", "md", "tex"))
    assert "&lt;script&gt;|$x" in page and "<script>|" not in page
    assert r"""| a 'b" &lt;script>\|$x""" in text and "<script>" not in text
    assert r"\textbackslash{}input" in paper and r"\input" not in paper


@pytest.mark.parametrize("name", ["two\nlines", "colour\x1b[31m"])
def test_a_runs_name_with_control_characters_is_refused(runs, tmp_path, name):
    (runs / "it").rename(runs / name)
    with pytest.raises(UserError, match="a run cannot be called"):
        main(Settings(runs=[str(runs)], output=str(tmp_path / "report")))


@pytest.mark.parametrize("name", ["../it/miniature_single", "miniature_single"])
def test_a_result_of_another_folder_is_refused(runs, tmp_path, name):
    """Not read from where it leads, and not shown in place of the folder that it is a copy of."""
    made, predictions = result("chains", [3] * 3)
    write(runs / "sit" / "copy", replace(made, benchmark=name), predictions)
    with pytest.raises(UserError, match=r"sit/copy/metrics\.json: is of benchmark .*miniature_single"):
        report(runs, tmp_path / "report")


def test_results_json_holds_the_leading_figure_of_each_benchmark(runs, tmp_path):
    report(runs, tmp_path / "report", seed=3, seconds=61.5)
    assert json.loads((tmp_path / "report" / "results.json").read_text()) == {
        "it": {"single": 1.0, "pairs": 0.0, "chains": 0.0, "longer": 0.0},
        "sit": {"single": 0.8, "pairs": 0.8, "chains": 0.8, "longer": 0.8},
        "seed": 3,
        "seconds": 61.5,
    }


def test_the_terminal_table_fits_80_columns_and_says_what_was_measured(runs, tmp_path, capsys):
    report(runs, tmp_path / "report")
    printed = capsys.readouterr().out
    tables = printed.split("\n\nthe page")[0]
    assert max(map(len, tables.splitlines())) <= 80
    all_right, shares, compared = tables.split("\n\n")
    assert "All steps right" in all_right and "Share of steps right" in shares
    assert re.search(r"^it +100\.0 \(88\.6-100\) +0\.0 \(0-11\.4\)", all_right, re.MULTILINE)
    assert re.search(r"^sit +80\.0 \(62\.7-90\.5\)", all_right, re.MULTILINE)
    assert re.search(r"^it +100\.0 \(88\.6-100\) +50\.0 \(33\.2-66\.8\) +33\.3", shares, re.MULTILINE)
    assert compared.startswith("sit against it, on the same items\n")
    assert re.search(r"^unseen pairs: All steps right +\+80\.0 \(.* to .*\) +p <0\.001$", compared, re.MULTILINE)


def test_what_intervals_were_taken_over_is_said(runs, tmp_path, capsys):
    made, predictions = result("pairs", [2, 1] * 15)
    lead = replace(made.metrics["all_steps"], over="10 task combinations")
    made = replace(made, metrics={**made.metrics, "all_steps": lead}, clusters="10 task combinations")
    write(runs / "it" / "miniature_pairs", made, predictions)
    report(runs, tmp_path / "report")
    printed, text = capsys.readouterr().out, (tmp_path / "report" / "report.md").read_text()
    page = (tmp_path / "report" / "report.html").read_text()
    for told in (printed, text):
        sentence = "95 % intervals over task combinations (10 in unseen pairs); over items where that is longer."
        assert sentence in " ".join(told.split())
    assert "30 items, 10 task combinations" in text and "30 items, 10 task combinations" in page
    assert 'title="95 % interval over 10 task combinations"' in page


def test_the_legend_tells_what_the_runs_are(runs, tmp_path, capsys):
    report(runs, tmp_path / "report", about=["sit=a = b <i>chains</i>"])
    page, text = ((tmp_path / "report" / f"report.{ending}").read_text() for ending in ("html", "md"))
    assert capsys.readouterr().out.startswith("sit: a = b <i>chains</i>\n\nAll steps right")
    assert "- **sit**: a = b &lt;i>chains&lt;/i>\n" in text
    assert "<dd>a = b &lt;i&gt;chains&lt;/i&gt;</dd>" in page
    for wrong in ("sat=chains", "sit"):
        with pytest.raises(UserError, match="--about .*: write NAME=TEXT, with one of these names: it, sit"):
            report(runs, tmp_path / "report", about=[wrong])


@pytest.mark.parametrize("status", ["running", "failed", "finished"])
def test_a_run_that_did_not_end_is_marked(runs, tmp_path, capsys, status):
    (runs / "it" / "run.json").write_text(json.dumps({"status": status}))
    report(runs, tmp_path / "report")
    for text in (capsys.readouterr().out, (tmp_path / "report" / "report.html").read_text()):
        assert ("The evaluation of it did not end" in text) == (status != "finished")


def test_more_benchmarks_than_fit_go_on_below(runs):
    (made, _) = result("pairs", [2, 1, 2])
    many = {
        f"benchmark_{n}": Result(**{**vars(made), "benchmark": f"benchmark_{n}", "title": f"title {n}"})
        for n in range(11)
    }
    table = terminal({"a run with quite a long name": many})
    assert max(map(len, table.splitlines())) <= 80
    for n in range(11):
        assert len(re.findall(rf"title {n}\b", table)) == 2  # once in each of the two tables


def embedded(page):
    """What the page's scripts read first."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL).group(1))


def unpacked(page, benchmark, part):
    """A part of the page's predictions; part 0 is the index."""
    (packed,) = re.findall(rf'id="part-{benchmark}-{part}">([A-Za-z0-9+/=]*)</script>', page)
    return json.loads(zlib.decompress(base64.b64decode(packed)))


class Links(HTMLParser):
    """Collects what a page would fetch, and checks that its elements are closed in order."""

    VOID = {"meta", "input", "br", "link", "img", "hr", "circle", "line", "polyline"}

    def __init__(self):
        super().__init__()
        self.found, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("src", "href", "action", "data", "poster")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_fetches_nothing_and_no_models_text_becomes_html(runs, tmp_path):
    report(runs, tmp_path / "report", title="A <b>title</b>")
    page = (tmp_path / "report" / "report.html").read_text()
    links = Links()
    links.feed(page)
    assert all(link.startswith("#") for link in links.found) and links.open == []
    assert not re.search(r"https?://|@import|url\(", page)
    assert "<b>bold</b>" not in page and "<b>title</b>" not in page
    data = embedded(page)
    assert [run for run, _ in data["runs"]] == ["it", "sit"]
    number = next(place for place, one in enumerate(data["benchmarks"]) if one["title"] == "unseen pairs")
    index, items = unpacked(page, number, 0), unpacked(page, number, 1)
    assert index["ids"][1] == "pairs-1" and [marks[1] for marks in index["marks"]] == ["0", "1"]
    assert items[1] == [
        "Do 2 things.\napple 1",
        "line 1 </script><b>bold</b>\nline 2 </script><b>bold</b>",
        "",
        [
            ["line 1 </script><b>bold</b>", [0.0, 0.5], [1.0, 0.0], "", "", []],
            ["line 1 </script><b>bold</b>\nline 2 </script><b>bold</b>", [1.0, 1.0], [1.0, 1.0], "", "", []],
        ],
    ]


def test_the_plot_has_each_runs_share_at_each_position(runs, tmp_path):
    report(runs, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    charts = [one for one in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "steps right by position" in one]
    assert len(charts) == 3  # single tasks have no second position
    points = re.findall(r"<title>(.*?)</title></circle>", charts[1])
    assert [point.split(" % ")[0] for point in points] == [
        *("it, step 1: 100.0", "it, step 2: 0.0", "it, step 3: 0.0"),
        *("sit, step 1: 100.0", "sit, step 2: 100.0", "sit, step 3: 80.0"),
    ]
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', charts[1])]
    assert heights[0] == heights[3] == heights[4] < heights[5] < heights[1] == heights[2]


def test_markdown_has_the_tables_and_the_positions(runs, tmp_path):
    report(runs, tmp_path / "report", seed=0, seconds=75)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| sit | 80.0 (62.7-90.5) | 80.0 (62.7-90.5) | 80.0 (62.7-90.5) | 80.0 (62.7-90.5) |" in text
    assert "| unseen pairs | it | 100.0 (88.6-100) | 0.0 (0-11.4) |  |  |" in text
    assert "2 runs · 4 benchmarks · 120 items · seed 0 · made in 1 min 15 s" in text
    assert "| unseen pairs | All steps right | 30 | 0.0% | 80.0% | +80.0 (" in text
    for row in re.findall(r"^\|.*$", text, re.MULTILINE):
        assert row.count("|") in (6, 7, 9)


def test_a_folder_of_runs_and_a_single_run_are_read_too(runs, tmp_path):
    main(Settings(runs=[str(runs)], output=str(tmp_path / "all")))
    assert list(json.loads((tmp_path / "all" / "results.json").read_text())) == ["it", "sit", "seed", "seconds"]
    main(Settings(runs=[str(runs / "sit")], output=str(tmp_path / "one" / "mine.html")))
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["mine.html", "mine.md", "mine.tex", "results.json"]
    assert list(json.loads((tmp_path / "one" / "results.json").read_text())) == ["sit", "seed", "seconds"]


def test_figures_that_do_not_compare_are_marked(runs, tmp_path, capsys):
    write(runs / "it" / "miniature_pairs", *result("pairs", [1] * 5, n_available=30, checkpoint="other", data="older"))
    report(runs, tmp_path / "report")
    printed, page = capsys.readouterr().out, (tmp_path / "report" / "report.html").read_text()
    for text in (printed, page, (tmp_path / "report" / "report.md").read_text()):
        assert "results of it come from different checkpoints" in text
        assert "different versions of unseen pairs (data)" in text
        assert "unseen pairs*" in text or "partial: 5 of 30 items" in text


def test_runs_with_other_metrics_are_shown_and_marked(runs, tmp_path, capsys):
    made, predictions = result("pairs", [2, 1, 2], task="newer")
    made = replace(made, metrics={"exact": made.metrics["all_steps"]})
    write(runs / "sit" / "miniature_pairs", made, predictions)
    report(runs, tmp_path / "report")
    assert "different versions of unseen pairs (task)" in capsys.readouterr().out
    assert json.loads((tmp_path / "report" / "results.json").read_text())["sit"]["pairs"] == pytest.approx(2 / 3)


def test_a_folder_may_have_an_equals_sign_in_its_name(runs, tmp_path, monkeypatch):
    (runs / "sit").rename(runs / "lr=0.1")
    monkeypatch.chdir(runs)
    for number, given in enumerate((str(runs / "lr=0.1"), "lr=0.1", "sit=lr=0.1")):
        main(Settings(runs=[given], output=str(tmp_path / str(number))))
        name = "sit" if given.startswith("sit") else "lr=0.1"
        assert list(json.loads((tmp_path / str(number) / "results.json").read_text()))[0] == name
    with pytest.raises(UserError, match=r"a=b: no runs here"):
        main(Settings(runs=["results/a=b"], output=str(tmp_path / "report")))


def test_a_run_that_lacks_a_benchmark_shows_none(runs, tmp_path, capsys):
    shutil.rmtree(runs / "it" / "miniature_single")
    report(runs, tmp_path / "report")
    assert re.search(r"^it +- +0\.0", capsys.readouterr().out, re.MULTILINE)
    assert "not evaluated" in (tmp_path / "report" / "report.html").read_text()
    assert "single" not in json.loads((tmp_path / "report" / "results.json").read_text())["it"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["x=nowhere"], "nowhere: no such folder. Evaluate first"),
        (["nowhere"], "nowhere: no runs here. Evaluate first"),
        (["seed=nowhere"], "a run cannot be called 'seed'"),
        (["x=a", "x=b"], "two runs are called 'x': a and b"),
    ],
)
def test_what_is_no_run_is_refused(given, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=complaint):
        main(Settings(runs=given, output=str(tmp_path / "report")))
    assert not (tmp_path / "report").exists()


def test_an_empty_run_and_a_damaged_file_are_refused(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no results here"):
        read_run(tmp_path / "empty")
    path = runs / "it" / "miniature_pairs" / "metrics.json"
    for text in ("{", "[]", "{}", path.read_text().replace('"low"', '"lower"')):
        path.write_text(text)
        with pytest.raises(UserError, match=r"metrics\.json: not a result of eval\.run"):
            read_run(runs / "it")


def test_a_result_is_read_as_it_was_written(tmp_path):
    made, predictions = result("longer", [4, 2, 0])
    write(tmp_path, made, predictions)
    assert read(tmp_path) == made
    assert [step.value for step in made.steps()] == [2 / 3, 2 / 3, 1 / 3, 1 / 3]


def test_every_figure_of_some_items_only_is_marked(runs, tmp_path, capsys):
    write(runs / "it" / "miniature_pairs", *result("pairs", [1] * 5, n_available=30, checkpoint="it"))
    report(runs, tmp_path / "report")
    printed = capsys.readouterr().out
    text, latex, page = ((tmp_path / "report" / f"report.{ending}").read_text() for ending in ("md", "tex", "html"))
    assert max(map(len, printed.split("\n\nthe page")[0].splitlines())) <= 80
    for told in (printed, text):
        assert re.search(r"\bit\b.* 0\.0\* \(0-43\.4\)", told) and not re.search(r"sit.*80\.0\*", told)
    assert "| unseen pairs | it | 100.0* (56.6-100) | 0.0* (0-43.4) |" in text
    assert "| unseen pairs | All steps right | 5* |" in text
    assert r"0.0* \scriptsize(0--43.4)" in latex and "only some of the items were evaluated" in latex
    assert page.count('title="only some of the items were evaluated">*</b>') == 2  # both tables, this run alone
    assert len(re.findall(r'<figcaption>[^<]* <b class="partial">partial</b>', page)) == 2  # overview and positions


@pytest.mark.parametrize("damage", ["missing", "cut off", "of another kind"])
def test_predictions_that_are_missing_or_damaged_cost_one_line_and_no_figure(runs, tmp_path, capsys, damage):
    path = runs / "it" / "miniature_pairs" / "predictions.jsonl"
    text = path.read_text()
    path.unlink()
    if damage != "missing":
        path.write_text(text[:-40] if damage == "cut off" else '{"id": "pairs-0", "answer": "?"}\n')
    report(runs, tmp_path / "report")
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("note: Predictions of it on unseen pairs are not on this page, or not all: ") == 1
    assert "predictions.jsonl" in printed and "0.0 (0-11.4)" in printed
    data = embedded((tmp_path / "report" / "report.html").read_text())
    assert [one["count"] for one in data["benchmarks"]] == [30, 30, 30, 30]  # the other run's are there


def test_verdicts_that_are_damaged_cost_a_line_and_no_prediction(runs, tmp_path, capsys):
    (runs / "it" / "miniature_pairs" / "verdicts.jsonl").write_text('{"id": "pairs-0", "quality": 4}\n{"id": "pai')
    report(runs, tmp_path / "report")
    assert "Verdicts on it, unseen pairs, are not on this page: " in " ".join(capsys.readouterr().out.split())
    index = unpacked((tmp_path / "report" / "report.html").read_text(), 1, 0)
    assert [marks.count("-") for marks in index["marks"]] == [0, 0]


def test_two_chosen_runs_are_compared_in_their_order(runs, tmp_path, capsys):
    report(runs, tmp_path / "report", compare=["sit", "it"])
    printed = capsys.readouterr().out
    assert "it against sit, on the same items" in printed
    assert re.search(r"^unseen pairs: All steps right +-80\.0 \(-90\.5 to -59\.3\)", printed, re.MULTILINE)
    assert "| 80.0% | 0.0% | -80.0 (" in (tmp_path / "report" / "report.md").read_text()
    for wrong in (["sit"], ["sit", "sit"], ["sit", "sat"]):
        with pytest.raises(UserError, match="--compare .*: name two of the runs: it, sit"):
            report(runs, tmp_path / "report", compare=wrong)


def test_answers_to_other_questions_under_the_same_id_are_not_compared(runs, tmp_path, capsys):
    made, predictions = result("pairs", [2] * 30, checkpoint="it")
    predictions = [{**one, "question": "Another?"} if n < 10 else one for n, one in enumerate(predictions)]
    write(runs / "sit" / "miniature_pairs", made, predictions)
    report(runs, tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| unseen pairs | All steps right | 20 |" in text
    assert "10 answers on unseen pairs are to other questions under the same id" in text


def test_clusters_of_the_predictions_are_compared_whole(runs, tmp_path):
    for run, followed in (("it", [1] * 30), ("sit", [2] * 15 + [1] * 15)):
        made, predictions = result("pairs", followed, checkpoint=run)
        rows = [{**one, "cluster": str(n // 15)} for n, one in enumerate(predictions)]
        write(runs / run / "miniature_pairs", replace(made, clusters="2 task combinations"), rows)
    report(runs, tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("| unseen pairs | All steps right"))
    assert "| 30 in 2 task combinations | 0.0% | 50.0% | +50.0 (0.0 to +100.0) |" in line
    assert line.endswith("| neither |")


def test_questions_on_one_picture_are_one_cluster(runs, tmp_path):
    """Stage LAVIS speaks of clusters of images, and names the image of each question."""
    for run, followed in (("it", [1] * 30), ("sit", [2] * 15 + [1] * 15)):
        made, predictions = result("pairs", followed, checkpoint=run)
        rows = [{**one, "image": f"{n // 10}.jpg"} for n, one in enumerate(predictions)]
        write(runs / run / "miniature_pairs", replace(made, clusters="3 images"), rows)
    report(runs, tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| unseen pairs | All steps right | 30 in 3 images |" in text
    assert "> 6 pictures are left out: the file is not there" in text  # of each run three, however many ask about them


def test_figures_that_are_no_shares_keep_their_unit(tmp_path, capsys):
    for run, marks in (("it", [2.0, 3.0]), ("sit", [4.0, 5.0])):
        low, high = interval(marks, shares=False)
        lead = Metric(sum(marks) / 2, 2, 0.5, low, high, title="Quality", about="of 5", unit="score")
        won = Metric(0.25, 2, 0.1, -0.1, 0.5, title="Win rate", about="less one half", unit="points")
        made = Result("seqeval", "SeqEval", "seqeval", "chains", 1, 2, 2, {"quality": lead, "win_rate": won})
        texts = {"question": "q", "response": "r", "target": ""}
        rows = [{"id": f"{mark % 2}", **texts, "metrics": {"quality": mark, "win_rate": 0.5}} for mark in marks]
        write(tmp_path / "results" / run / "seqeval", made, rows)
    report(tmp_path / "results", tmp_path / "report")
    printed = capsys.readouterr().out
    assert "Quality, 1 to 5 (95 % interval)" in printed and "it   2.50 (2.00-3.00)" in printed
    assert "Win rate, percentage points (95 % interval)" in printed and "+25.0 (-10.0 to +50.0)" in printed
    assert "SeqEval: Quality" in printed and "+2.00 (" in printed
    page = (tmp_path / "report" / "report.html").read_text()
    assert embedded(page)["benchmarks"][0]["words"] == ["4 and more", "below 4"]
    assert [marks for marks in unpacked(page, 0, 0)["marks"]] == ["00", "11"]


def test_latex_prints_whatever_stands_in_names(runs, tmp_path):
    (runs / "it").rename(runs / "a_b & 100%")
    report(runs, tmp_path / "report", "a_b & 100%", "sit")
    text = (tmp_path / "report" / "report.tex").read_text()
    assert r"a\_b \& 100\% & 100.0 \scriptsize(88.6--100) & 0.0 \scriptsize(0--11.4)" in text
    for table in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        for line in re.findall(r"^.*(?= \\\\$)", table[1], re.MULTILINE):
            assert len(re.findall(r"(?<!\\)&", line)) == len(table[0]) - 1
    assert text.count("{") == text.count("}")


def test_parts_of_a_metric_are_plotted(tmp_path):
    languages = ("en", "de", "zh")
    metrics = {"right": metric([1.0, 0.0, 1.0] * 4, title="Right")}
    metrics |= {f"right_{one}": metric([1.0] * place + [0.0] * (3 - place)) for place, one in enumerate(languages)}
    metrics |= {f"right_of_{part}": metric([1.0, 0.0]) for part in (2, 3, "more")}
    metrics["translated"] = metric([1.0] * 12, title="Translated")
    rows = [{"id": "1", "question": "q", "response": "r", "target": "t", "metrics": {"right": 1.0}}]
    write(tmp_path / "run" / "mgsm", Result("mgsm", "MGSM", "mgsm", "", 1, 12, 12, metrics), rows)
    main(Settings(runs=[str(tmp_path / "run")], output=str(tmp_path / "out")))
    page = (tmp_path / "out" / "report.html").read_text()
    charts = [one for one in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "MGSM: Right" in one]
    assert len(charts) == 2
    assert "MGSM: Right, of …" in page and re.findall(r"<title>run, (\w+)", charts[1]) == ["2", "3", "more"]
    assert re.findall(r"<title>(run, \w+: [\d.]+)", charts[0]) == ["run, en: 0.0", "run, de: 33.3", "run, zh: 66.7"]


def test_figures_of_different_judges_are_told_apart(tmp_path, capsys):
    oracle, gpt = {"name": "oracle", "content": "1"}, {"name": "openai", "model": "gpt-4.1"}
    right, wrong = [2] * 20, [0] * 20
    for run, judge, values in (("a", oracle, right), ("b", gpt, wrong), ("c", oracle, wrong)):
        made, predictions = result("pairs", values)
        judges = {"pairwise": {"engine": judge, "metrics": ["all_steps"]}}
        write(tmp_path / "results" / run / made.benchmark, replace(made, judges=judges), predictions)
    paths = {run: str(tmp_path / "results" / run) for run in "abc"}
    told = (
        "unseen pairs was judged by different judges (a by oracle; b by openai gpt-4.1), so its figures do not compare."
    )
    main(Settings(runs=[paths["a"], paths["b"]], output=str(tmp_path / "two")))
    report = (tmp_path / "two" / "report.md").read_text()
    assert told in report and told in (tmp_path / "two" / "report.html").read_text()
    assert verdicts(report) == {"All steps right": "judged unlike", "Share of steps right": "a"}
    main(Settings(runs=[paths["a"], paths["c"]], output=str(tmp_path / "same")))
    report = (tmp_path / "same" / "report.md").read_text()
    assert "do not compare" not in report and set(verdicts(report).values()) == {"a"}


def verdicts(report):
    """Which run is better beyond chance, by metric, of the table of differences in Markdown."""
    table = report[report.index("better beyond chance") :].partition("\n\n")[0].splitlines()[2:]
    return {cells[2].strip(): cells[-2].strip() for cells in (line.split("|") for line in table)}


@pytest.mark.parametrize(
    ("what", "told"), [("prompt", "with different prompts"), ("reference", "against different answers")]
)
def test_figures_of_one_judge_that_was_asked_otherwise_are_told_apart(what, told, tmp_path):
    for run, value in (("a", "one"), ("b", "other"), ("c", "one")):
        made, predictions = result("pairs", [2, 1])
        judged = {"prompt": "p", "reference": "r", what: value}
        write(tmp_path / run / made.benchmark, replace(made, judges={"pairwise": judged}), predictions)
    for other in "bc":
        main(Settings(runs=[str(tmp_path / "a"), str(tmp_path / other)], output=str(tmp_path / "out")))
        report = (tmp_path / "out" / "report.md").read_text()
        assert (f"unseen pairs was judged {told}, so its figures do not compare." in report) == (other == "b")
