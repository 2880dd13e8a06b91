"""The page in a browser: what a reader sees, clicks and types, and that nothing a model wrote can do harm."""

import base64
import importlib.util
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from eval.packing import LONGEST
from eval.report import Settings, main
from eval.results import Metric, Result, write

ROOT = Path(__file__).resolve().parents[2]
SHOWN = "document.querySelector('.card').innerText"
COUNT = "document.querySelector('.filters output').textContent"
SETTLED = "document.querySelector('#predictions').ariaBusy === 'false'"
HOSTILE = {
    "script": "</script><script>window.harmed = 1</script>",
    "image": "<img src=x onerror='window.harmed = 1'><svg onload='window.harmed = 1'>",
    "comment": "<!-- predictions --><!--<script>",
    "template": "{{ 7 * 7 }} {% raw %}",
    "control": "bell \x07 null \x00 escape \x1b[31m delete \x7f return \r\n end",
    "direction": "\u202eright to left\u202c \u0627\u0644\u062c\u0648\u0627\u0628 \u200f 42",
    "long": "x" * 1_000_000,
    "empty": "",
}


def load_chromium():
    spec = importlib.util.spec_from_file_location("chromium", ROOT / "benchmarks" / "chromium.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chromium = load_chromium()
needs_browser = pytest.mark.skipif(chromium.executable() is None, reason="needs chromium")


def made(folder, name, rows, order=0, unit="share", n_available=0, steps=0):
    """A benchmark whose leading metric is `right`, from {id, question, response, target, right, ...}."""
    values = [row["right"] for row in rows]
    mean = sum(values) / len(values)
    lead = Metric(mean, len(values), 0.1, mean, mean, title="Right", about="as it says", unit=unit, over="items")
    result = Result(
        benchmark=name,
        title=f"The {name}",
        short=name,
        about="some items",
        order=order,
        n=len(rows),
        n_available=n_available or len(rows),
        metrics={"right": lead} | {f"step_{k}": replace(lead, title="", position=k) for k in range(1, steps + 1)},
        depends_on={"checkpoint": folder.name},
    )
    lines = []
    for one in rows:
        done = len(one["response"].splitlines())
        metrics = {"right": one["right"]} | {f"step_{k}": float(done >= k) for k in range(1, steps + 1)}
        lines.append({**{key: one[key] for key in one if key != "right"}, "metrics": metrics})
    write(folder / name, result, lines)


def row(number, response, right, **more):
    base = {"id": f"item-{number}", "question": f"Question {number}?\nIts second line.", "prompt": "", "target": "t"}
    return {**base, "response": response, "right": right, **more}


def picture_bytes(colour):
    written = io.BytesIO()
    Image.new("RGB", (900, 600), colour).save(written, "PNG")
    return written.getvalue()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two runs on three benchmarks: many items, hostile answers, and pictures with verdicts of a judge."""
    results = tmp_path_factory.mktemp("report") / "results"
    for place, run in enumerate(("one", "two")):
        folder = results / run
        rows = [row(n, f"{run} says word-{n}", float(n % 10 < 5 + 2 * place if n % 3 else n % 2)) for n in range(3_000)]
        made(folder, "many", rows, order=0)
        rows = [
            {**row(n, HOSTILE[kind], 0.0), "id": kind, "question": HOSTILE[kind][:1000]}
            for n, kind in enumerate(HOSTILE)
        ]
        made(folder, "hostile", rows, order=1)
        (folder / "vqa").mkdir()
        (folder / "vqa" / "red.png").write_bytes(picture_bytes("red"))
        (folder / "vqa" / "fake.png").write_bytes(b"<svg onload='window.harmed = 1'>")
        uri = "data:image/png;base64," + base64.b64encode(picture_bytes("blue")).decode()
        rows = [
            row(0, "Description: red. Answer: cat", 4.0, image="red.png", description="all red", answer="a cat"),
            row(1, "dog", 2.5, image=uri),
            row(2, "cow", 1.0, image="fake.png"),
            row(3, "owl", 5.0, image="nowhere.png"),
            row(4, "fox", 3.0, image="data:text/html;base64,PHNjcmlwdD4="),
        ]
        made(folder, "vqa", rows, order=2, unit="score", n_available=9)
        rows = [
            row(n, "\n".join(f"line {k}" for k in range(1, done + 1)), float(done == 2), target="line 1\nline 2")
            for n, done in enumerate((1 + place, 0, 3))
        ]
        made(folder, "chains", rows, order=3, steps=2)
        verdict = {"id": "item-0", "verdict": {"quality": 4, "tasks": [{"task": "see <b>", "done": True}]}}
        (folder / "vqa" / "verdicts.jsonl").write_text(json.dumps(verdict) + "\n")
    path = results.parent / "report.html"
    main(Settings(runs=[str(results)], output=str(path)))
    return path


@pytest.fixture(scope="module")
def browser(page):
    if chromium.executable() is None:
        pytest.skip("needs chromium")
    with chromium.Chromium() as opened:
        opened.open(page)
        opened.until(f"{SHOWN}.includes('Question')")
        yield opened


def choose(browser, field, value):
    """Choose in a list, or write into a field, as a reader does."""
    browser.run(
        f"(() => {{ const field = document.querySelector('.filters [name={field}]'); field.value = {json.dumps(value)};"
        "field.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def start(browser, benchmark="0"):
    choose(browser, "text", "")
    choose(browser, "benchmark", benchmark)
    choose(browser, "show", "all")
    browser.run("document.activeElement.blur()")
    browser.until(SETTLED)


def test_the_page_opens_on_what_the_runs_differ_in(browser):
    browser.open(Path(browser.run("decodeURIComponent(location.pathname)")))
    browser.until(f"{COUNT} === '400 of 3,000 items'")
    browser.until(f"{SHOWN}.includes('item-5 ')")  # the first that one has wrong and two has right
    assert browser.run("[...document.querySelectorAll('.card .verdict')].map(one => one.textContent)") == [
        "wrong",
        "right",
    ]


def test_only_the_rows_in_sight_are_elements_and_all_can_be_scrolled_to(browser):
    start(browser)
    browser.until(f"{COUNT} === '3,000 of 3,000 items'")
    assert browser.run("document.querySelectorAll('.row').length") < 60
    # The list grows to its length with the next frame: whoever is quicker than that scrolls again.
    scroll = "document.querySelector('.list').scrollTop = 1e9"
    last = "[...document.querySelectorAll('.row .id')].some(one => one.textContent === 'item-2999')"
    browser.until(f"({scroll}, {last})")
    assert browser.run("document.querySelectorAll('.row').length") < 60


@pytest.mark.parametrize(
    ("show", "found"),
    [("wrong:0", 1_500), ("right:0", 1_500), ("wrong:1", 1_100), ("right:1", 1_900), ("differ", 400)],
)
def test_items_are_found_by_who_is_right(browser, show, found):
    start(browser)
    choose(browser, "show", show)
    browser.until(f"{COUNT} === '{found:,} of 3,000 items'")


def test_texts_are_searched_in_all_parts_and_within_a_filter(browser):
    start(browser)
    choose(browser, "text", "TWO says Word-299")  # of a part that nobody looked at yet
    browser.until(f"{COUNT} === '11 of 3,000 items'")
    browser.until(f"{SHOWN}.includes('two says word-299')")
    choose(browser, "show", "wrong:0")
    browser.until(f"/^[1-9] of/.test({COUNT})")
    choose(browser, "text", "nobody said this")
    browser.until(f"{COUNT} === '0 of 3,000 items'")
    assert "No item is as asked for" in browser.run(SHOWN)


def test_a_search_that_is_overtaken_by_another_leaves_nothing_behind(browser):
    start(browser)
    for text in ("word", "word-1", "word-12", "word-123"):
        choose(browser, "text", text)
    browser.until(f"{COUNT} === '11 of 3,000 items'")


def test_the_keyboard_goes_through_items(browser):
    start(browser)
    browser.until(f"{SHOWN}.includes('1 of 3000')")
    for key, expected in (("j", "2 of 3000"), ("j", "3 of 3000"), ("k", "2 of 3000")):
        browser.press(key)
        browser.until(f"{SHOWN}.includes('{expected}')")
    browser.press("d")
    browser.until(f"{COUNT} === '400 of 3,000 items'")
    browser.press("/")
    browser.press("j")  # now a letter of the search
    browser.until("document.querySelector('[name=text]').value === 'j'")
    browser.press("Escape")
    browser.press("b")
    browser.until(f"{SHOWN}.includes('The hostile') || {SHOWN}.includes('No item')")
    start(browser)
    browser.run("document.querySelector('.list').focus()")
    for key, expected in (("ArrowDown", "2 of 3000"), ("End", "3000 of 3000"), ("Home", "1 of 3000")):
        browser.press(key)
        browser.until(f"{SHOWN}.includes('{expected}')")


def test_a_run_can_be_hidden(browser):
    start(browser)
    browser.run("document.querySelector('.shown input[value=\"1\"]').click()")
    browser.until(f"!{SHOWN}.includes('two says')")
    assert browser.run("[...document.querySelector('[name=show]').options].map(one => one.value)") == [
        *("all", "wrong:0", "right:0"),
    ]
    browser.run("document.querySelector('.shown input[value=\"1\"]').click()")
    browser.until(f"{SHOWN}.includes('two says')")


def test_nothing_that_a_model_wrote_does_harm(browser):
    start(browser, "1")
    seen = {}
    for place, kind in enumerate(HOSTILE):
        browser.until(f"{SHOWN}.includes('item {kind} ')")
        seen[kind] = browser.run("document.querySelectorAll('.card .answer .text')[1].textContent")
        if place + 1 < len(HOSTILE):
            browser.press("j")
    assert browser.run("window.harmed") is None
    assert browser.run("document.querySelectorAll('.card script, .card svg, .card img').length") == 0
    assert seen["script"] == HOSTILE["script"] and seen["image"] == HOSTILE["image"]
    assert seen["template"] == HOSTILE["template"] and seen["comment"] == HOSTILE["comment"]
    assert seen["control"] == "bell ␇ null ␀ escape ␛[31m delete ␡ return ␍\n end"
    assert seen["direction"] == HOSTILE["direction"] and seen["empty"] == "(empty)"
    assert len(seen["long"]) < 21_000 and f"Show all {LONGEST:,}"[:-3] in seen["long"]


def test_marks_of_direction_stay_within_their_text(browser):
    start(browser, "1")
    choose(browser, "text", "right to left")
    browser.until(f"{SHOWN}.includes('item direction')")
    styles = browser.run(
        "[...document.querySelectorAll('.card .text, .row .line')].map(one => getComputedStyle(one).unicodeBidi)"
    )
    assert styles and set(styles) == {"isolate"}


def test_a_picture_its_description_and_the_judges_words_are_shown(browser):
    start(browser, "2")
    browser.until(f"{SHOWN}.includes('item-0')")
    browser.until("document.querySelector('.card img').naturalWidth === 360")
    words = browser.run(SHOWN)
    for told in ("all red", "a cat", "verdict quality", "verdict tasks 1", "see <b> · done", "partial"):
        assert told in words
    browser.press("j")
    browser.until("document.querySelector('.card img').naturalWidth === 360 && " + f"{SHOWN}.includes('item-1')")
    assert browser.run("[...document.querySelectorAll('.card .verdict')].map(one => one.textContent)") == [
        *("2.50", "2.50"),
    ]
    for number in (2, 3, 4):
        browser.press("j")
        browser.until(f"{SHOWN}.includes('item-{number}')")
        assert browser.run("document.querySelector('.card img')") is None
    assert browser.run("window.harmed") is None


def test_lines_stand_beside_steps_and_one_that_is_missing_is_shown(browser):
    start(browser, "3")
    browser.until(f"{SHOWN}.includes('item-0')")
    lines = "[...document.querySelectorAll('.card .lines')].map(one => one.innerText.split(/\\s*\\n/).join('|'))"
    assert browser.run(lines) == ["✓|line 1|✗|nothing", "✓|line 1|✓|line 2"]
    browser.press("j")
    browser.press("j")
    browser.until(f"{SHOWN}.includes('item-2')")
    assert browser.run(lines)[0] == "✓|line 1|✓|line 2|✗|line 3"  # one too many


def test_what_is_no_picture_is_counted_and_told(page):
    text = page.with_suffix(".md").read_text()
    assert "> 3 pictures are left out: not a picture that can be read (first in " in text  # two files and a data URI
    assert "> 2 pictures are left out: the file is not there, or cannot be read (first in " in text


def test_any_two_runs_can_be_compared(browser):
    rows = "[...document.querySelectorAll('#compare tbody tr:first-child td')].map(one => one.innerText)"
    first = browser.run(rows)
    assert first[2:4] == ["50.0%", "63.3%"] and first[4].startswith("+13.3") and first[-1] == "two"
    browser.run(
        "(() => { const form = document.querySelector('#compare form'); form.first.value = 'two';"
        "form.second.value = 'one'; form.dispatchEvent(new Event('input')); })()"
    )
    turned = browser.run(rows)
    assert turned[2:4] == ["63.3%", "50.0%"] and turned[4].startswith("-13.3") and turned[-1] == "two"
    assert turned[5].split(" : ") == first[5].split(" : ")[::-1]


@needs_browser
def test_the_page_fits_a_phone(page):
    with chromium.Chromium(width=390, height=844, dark=True) as phone:
        phone.open(page)
        phone.until(f"{SHOWN}.includes('Question')")
        assert phone.run("document.documentElement.scrollWidth") <= 390
        assert phone.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        phone.until("document.querySelectorAll('.row').length > 1")  # the list is drawn with the next frame
        phone.run("document.querySelectorAll('.row')[1].click()")
        phone.until(f"{SHOWN}.includes('2 of 400')")


def test_the_page_is_small(page):
    """A text that never ends is cut, and the rest is packed."""
    assert os.path.getsize(page) < 1_000_000
