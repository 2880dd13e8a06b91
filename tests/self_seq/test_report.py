"""The report of stage 1: figures that the files hold, on one page that fetches nothing and that no row can break."""

import json
import re
import shutil
import subprocess
import tracemalloc
from html import unescape
from html.parser import HTMLParser

import pytest

from open_instruct.core.errors import UserError
from self_seq.report import survey as surveying
from self_seq.report.__main__ import Settings, main
from self_seq.report.charts import Series, histogram, leading_verbs, sunburst
from self_seq.report.page import _marked, write_report
from self_seq.report.survey import Lengths, Sample, Verbs, survey
from self_seq.report.verbs import root_verb

# As `finished_run` puts it into what models and people wrote.
NASTY = '</script><script>alert(1)</script> <img src=x onerror=alert(2)> {{ 7 * 7 }} ``` | --- & "quoted" \u2028'


def page_of(folder):
    write_report(folder)
    return (folder / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """What the page would fetch or run, whether its elements are closed in order, and its text."""

    VOID = {"meta", "input", "br", "link", "img", "hr", "line", "path", "rect", "polygon"}

    def __init__(self, text):
        super().__init__()
        self.links, self.open, self.scripts, self.handlers, self.tags, self.text = [], [], 0, [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "action", "data", "poster")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        self.scripts += tag == "script"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def words_of(page):
    """The page's text with single spaces."""
    found = Page(re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL))
    return re.sub(r"\s+", " ", " ".join(found.text))


def test_nothing_that_was_written_by_others_becomes_markup_and_nothing_is_fetched(finished_run):
    rows = [
        {
            **dict.fromkeys(("instruction", "input", "output"), f"After {NASTY}"),
            "id": NASTY,
            "options": [NASTY],
            "original_instruction": f"Before {NASTY}",
        }
    ]
    more = {key: NASTY for key in ("name", "file", "license", "url")}
    nasty = {
        "source": more,
        "generator": {"name": NASTY, NASTY: NASTY},
        "settings": {NASTY: NASTY},
        "rows_screened": {NASTY: 4},
        "tokens": {NASTY: {"answers": 1, "in": 2, "out": 3}},
        "published": {"name": NASTY, "iterations": []},
        "rows_written": 1,
        "rows_in": 11,
    }
    page = page_of(finished_run(rows=rows, statistics=nasty))
    found = Page(page)
    assert found.open == [] and found.links == [] and found.handlers == []
    assert found.scripts == 1 and not {"img", "iframe", "link", "object", "form"} & found.tags
    assert not re.search(r"@import|url\(", page)
    text = words_of(page)
    assert text.count("alert(1)") > 8 and "{{ 7 * 7 }}" in text and " 49 " not in text


def test_the_counts_of_the_run_add_up_on_the_page(finished_run):
    text = words_of(page_of(finished_run()))
    assert "50 in = 6 screened out + 4 dropped + 40 written." in text
    assert "− 6: 4 × near-duplicate, 2 × contaminated" in text
    assert "40 rows 30 of them rewritten" in text
    assert "does not add up" not in text and "There is no" not in text


def test_counts_that_do_not_add_up_are_said(finished_run):
    text = words_of(page_of(finished_run(statistics={"rows_in": 60, "rows_written": 41})))
    assert "(does not add up)" in text and "The counts do not add up: 60 rows in" in text
    assert "sit.jsonl holds 40 rows, but the run counted 41 written ones" in text


def test_options_stand_beside_the_published_ones(finished_run):
    page = page_of(finished_run())
    first, second = re.findall(r'<dl class="options">(.*?)</dl>', page, re.DOTALL)
    bars = re.findall(r'<i style="width:([\d.]+)%">', first)
    assert bars == ["0.00", "24.5", "0.00", "51.24", "75.00", "7.41", "22.73", "16.85", "2.27"]
    assert "theirs" not in second and re.findall(r"<em>([\d.]+)", second) == ["9.09", "0.00", "0.00", "90.91"]
    assert "published: Alpaca, Llama-3-70B-Instruct" in words_of(page)


def test_the_judge_the_tokens_and_the_cost_are_told(finished_run):
    text = words_of(page_of(finished_run()))
    assert "openai counted the tasks of 20 rewritten rows" in text
    assert "In 16 of 18 (88.9 %, 95 % interval 67.2 to 96.9)" in text
    assert "on average 2.22 instead of 1.17. 2 of its counts could not be read" in text
    assert "classify 84 8,400 840 10.0" in text and "all 128 9,280 1,830" in text
    assert "1 min 40 s of asking, 18 answer tokens a second. Cost at the given prices: 0.25." in text


def test_the_rate_is_of_the_answers_whose_seconds_were_counted(finished_run):
    spent = {"respond_sit": {"answers": 10, "tokens_in": 100, "tokens_out": 500, "seconds": 5.0}}
    text = words_of(page_of(finished_run(statistics={"spent": spent, "seconds": 5.0})))
    assert "5 s of asking, 100 answer tokens a second." in text


def test_a_folder_without_statistics_is_counted_anew_and_says_so(finished_run):
    folder = finished_run(it=False)
    (folder / "statistics.json").unlink()
    (folder / "run.json").unlink()
    text = words_of(page_of(folder))
    assert "There is no statistics.json" in text and "There is no run.json" in text
    assert "44 in = 4 dropped + 40 written." in text
    assert "in percent of the rows that were written" in text and "75.00 %" in text
    assert "answer to the original" not in text and "How many tasks" not in text and "What it took" not in text


@pytest.mark.parametrize(
    "missing", ["rows_in", "rows_screened", "iterations", "tokens", "seconds", "source", "generator"]
)
def test_what_the_statistics_lack_is_said(finished_run, missing):
    folder = finished_run()
    path = folder / "statistics.json"
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != missing}))
    assert f"statistics.json does not say: {missing}." in words_of(page_of(folder))


def test_a_folder_that_is_no_run_or_damaged_is_refused(finished_run, tmp_path):
    with pytest.raises(UserError, match="no sit.jsonl here"):
        write_report(tmp_path)
    folder = finished_run()
    for name in ("statistics.json", "run.json"):
        whole = (folder / name).read_text()
        for text in ("{", "[]"):
            (folder / name).write_text(text)
            with pytest.raises(UserError, match=rf"{name}: is no JSON"):
                write_report(folder)
        (folder / name).write_text(whole)
    with (folder / "sit.jsonl").open("a") as file:
        file.write('{"id": 1, "instr')
    with pytest.raises(UserError, match=r"sit\.jsonl:41: not JSON"):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_a_run_without_a_row_still_has_a_report(finished_run):
    text = words_of(page_of(finished_run(rows=[], statistics={"rows_written": 0, "rows_dropped": 50})))
    assert "50 in = 6 screened out + 44 dropped + 0 written." in text and "No instruction was rewritten." in text


def test_training_files_that_do_not_match_are_said_and_no_answers_mixed(finished_run):
    folder = finished_run()
    lines = (folder / "it.jsonl").read_text().splitlines(keepends=True)
    (folder / "it.jsonl").write_text("".join(lines[1:]))
    found = survey(folder)
    assert found.faults == ["it.jsonl and sit.jsonl do not hold the same rows in the same order."]
    assert (found.sit_rows, found.it_rows) == (40, 39) and all(pair.it_answer is None for pair in found.pairs)


def test_pairs_are_rewritten_rows_and_the_same_each_time(finished_run):
    folder = finished_run()
    found = survey(folder)
    assert len(found.pairs) == 20 == len({pair.id for pair in found.pairs})
    assert all(pair.before != pair.after and pair.it_answer == "Short." for pair in found.pairs)
    assert found.pairs == survey(folder).pairs
    assert page_of(folder).count('<article class="pair">') == 20


def test_added_words_are_marked_and_the_text_stays_whole():
    before, after = "Name the items.", "First name the items,\n\n then sort them. "
    marked = _marked(before, after)
    assert "".join(text for text, _ in marked) == after
    assert [text for text, added in marked if added] == ["First", "then sort them."]
    assert _marked("", "All new")[0] == ("All new", True) and _marked("Gone", "") == []


def test_a_sample_is_even():
    times = [0] * 50
    for seed in range(400):
        sample = Sample(10)
        sample._random.seed(seed)
        for number in range(50):
            if (place := sample.place()) is not None:
                sample.put(place, number)
        assert len(set(sample.kept)) == 10
        for number in sample.kept:
            times[number] += 1
    assert 45 < min(times) and max(times) < 120  # 80 expected, standard deviation 8


def test_lengths_and_their_quantiles():
    lengths = Lengths()
    for words in [1] * 50 + [3] * 45 + [100_000] * 5:
        lengths.add("word " * words)
    assert lengths.texts == 100 and lengths.longest == 100_000 and lengths.mean == pytest.approx(5001.85)
    assert [lengths.quantile(share) for share in (0, 0.5, 0.51, 0.95, 0.96)] == [1, 1, 3, 3, 10_000]


def test_the_histogram_shows_every_text(finished_run):
    lengths = Lengths()
    for words in range(200):
        lengths.add("word " * words)
    drawing = histogram("Lengths", [Series("a <b> name", "run-0", lengths)])
    bars = re.findall(r"<title>a &lt;b&gt; name, ([\w ]+) words: ([\d.]+) %</title>", drawing)
    assert sum(float(share) for _, share in bars) == pytest.approx(100, abs=0.5)
    assert bars[0] == ("0 to 4", "2.5") and bars[-1] == ("195 and more", "2.5") and len(bars) == 40


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("Write a short story about a king.", ("write", "story")),
        ("First leave out the last item, then count the items.", ("leave", "item")),
        ("Please list 3 breakfast food items.", ("list", "item")),
        ("Name the four types of teeth humans have.", ("name", "type")),
        ("Given the data points (x= 10, y=20) calculate the mean.", ("calculate", "mean")),
        ("Create a quick and easy way to store data.", ("create", "way")),
        ("Explain why the sky is blue.", ("explain", None)),
        ("What is the capital of Spain?", None),
        ("1. Rewrite the sentence.", ("rewrite", "sentence")),
        ("", None),
        ("???", None),
        ("写一个故事", None),
    ],
)
def test_root_verbs(instruction, expected):
    assert root_verb(instruction) == expected


def test_the_verbs_drawn_are_the_most_frequent():
    verbs = Verbs()
    for number in range(30):
        for _ in range(30 - number):
            verbs.add((f"verb{number}", f"thing{number % 7}"))
    for thing, times in (("a", 6), ("b", 5), ("c", 4), ("d", 3), ("e", 2)):
        for _ in range(times):
            verbs.add(("verb0", thing))
    verbs.add(("explain", None))
    verbs.add(None)
    leading = leading_verbs(verbs)
    assert [verb for verb, _, _ in leading] == [f"verb{number}" for number in range(20)]
    assert leading[0] == ("verb0", 50, [("thing0", 30), ("a", 6), ("b", 5), ("c", 4)])
    assert verbs.instructions == 465 + 20 + 2 and verbs.with_verb == 465 + 20 + 1


def test_words_in_the_drawing_are_escaped_and_a_single_pair_fills_the_ring():
    verbs = Verbs()
    verbs.add(("<b>", "</svg><script>"))
    drawing = sunburst('a "title"', verbs, {"<b>": 0})
    assert "<script>" not in drawing and "<b>" not in drawing and "&lt;/svg&gt;&lt;script&gt;: 1 (100.0 %)" in drawing
    assert drawing.count("<path") == 2 and "nan" not in drawing


def test_the_page_draws_the_verbs_of_its_rows(finished_run):
    page = page_of(finished_run())
    assert "<title>write story: 30 (75.0 %)</title>" in page and "<title>describe lake: 10 (25.0 %)</title>" in page
    assert "verb and object found in 100.0 %" in words_of(page)


def test_many_reasons_are_counted_and_no_more_kept_than_fit(finished_run):
    folder = finished_run()
    with (folder / "rejected.jsonl").open("w") as file:
        for number in range(1000):
            failure = {"step": "respond_sit", "reason": f"reason {number if number % 2 else 0}", "answer": ""}
            file.write(json.dumps({"id": number, "dropped": True, "failures": [failure]}) + "\n")
    found = survey(folder)
    assert sum(told.rows for told in found.rejected.values()) == 1000 and len(found.rejected) == 201
    assert next(iter(found.rejected)) == "respond_sit: reason 0"
    assert all(len(told.examples.kept) <= 3 for told in found.rejected.values())


def test_memory_does_not_grow_with_the_rows(finished_run, monkeypatch):
    monkeypatch.setattr(surveying, "VERB_ROWS", 50)
    folder = finished_run()
    lines = {name: (folder / f"{name}.jsonl").read_text() for name in ("sit", "it", "rejected")}
    peaks = []
    for times in (30, 600):
        for name, text in lines.items():
            (folder / f"{name}.jsonl").write_text(text * times)
        tracemalloc.start()
        found = survey(folder)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.sit_rows == 40 * times
    assert peaks[1] < 1.3 * peaks[0] + 200_000, peaks


def test_the_command_writes_the_page_and_the_card(finished_run, capsys):
    folder = finished_run()
    main(Settings(output_dir=str(folder)))
    assert str(folder / "report.html") in capsys.readouterr().out
    assert {"report.html", "README.md"} <= {path.name for path in folder.iterdir()}


def test_a_browser_shows_it_and_runs_nothing_of_the_rows(finished_run, tmp_path):
    """The script of the page works, and none that a row brought; on a phone nothing is wider than the screen."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs chromium")
    nasty = {"instruction": f"Write a story {NASTY}", "original_instruction": "Write a story", "output": NASTY}
    folder = finished_run(rows=[{"id": n, "input": NASTY, "options": ["C"], **nasty} for n in range(5)])
    page = page_of(folder)
    probe = (
        "<script>const put = (n) => document.body.dataset.told = n;"
        'document.querySelector(".piece").dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));'
        "put([document.documentElement.scrollWidth <= innerWidth, innerWidth, window.alerted].join());</script>"
    )
    watched = page.replace("<head>", "<head><script>window.alerted = 0; alert = () => alerted++;</script>", 1)
    (tmp_path / "phone.html").write_text(watched.replace("</body>", f"{probe}</body>"))
    frame = tmp_path / "frame.html"
    frame.write_text(
        '<iframe src="phone.html" style="width:390px;height:800px"></iframe><pre id="told"></pre><script>'
        'onload = () => { const page = document.querySelector("iframe").contentDocument;'
        'document.getElementById("told").textContent = page.body.dataset.told + ";" + '
        'page.querySelector("figure output:not(:empty)").textContent; }</script>'
    )
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
        + ["--allow-file-access-from-files", "--virtual-time-budget=3000"]
        + [f"--user-data-dir={tmp_path / 'profile'}", f"file://{frame}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout)
    assert told and unescape(told.group(1)) == "true,390,0;write: 5 (100.0 %)", done.stdout[-500:] + done.stderr[-1000:]
