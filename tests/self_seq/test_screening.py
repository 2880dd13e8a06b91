"""Tests of `self_seq.screening`, `duplicates` and `contamination`; with real rows where the shared data is present."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows
from self_seq.screening.contamination import Contamination
from self_seq.screening.duplicates import Duplicates
from self_seq.screening.screen import screen
from self_seq.words import scripts, words

LONG = (
    "Describe in your own words how a bill becomes a law in a country with two chambers of parliament, and say at "
    "which point the president can stop it, for how long, and what both chambers can do about it afterwards."
)
QUESTION = (
    "A baker sells 12 loaves in the morning and half as many in the afternoon of each day; how many loaves is that "
    "in a week in which Sunday is a day of rest?"
)


def screened(*texts: str, threshold: float | None = 0.8, evaluation: Contamination | None = None) -> dict:
    return screen(enumerate(texts), threshold, evaluation)


def evaluation(folder, name: str, content: str | bytes, **settings) -> Contamination:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Contamination([file], **settings)


def test_words_are_compared_without_case_width_and_punctuation():
    assert words("Don’t PANIC, ＷＯＲＬＤ!") == ["don", "t", "panic", "world"]
    assert words("世界 and ไทย") == ["世", "界", "and", "ไ", "ท", "ย"]
    assert scripts("使用Adobe Illustrator创建标志") == {"CJK": 0.75, "LATIN": 0.25}
    assert scripts("12 + 3 = ?") == {}


# --- near-duplicates


def test_the_first_of_a_group_is_kept_and_the_others_name_it():
    other = "Name three rivers that flow into the Black Sea."
    found = screened(LONG, other, LONG.upper() + "!", LONG.replace("country", "state"))
    assert list(found) == [2, 3]
    assert found[2] == {"reason": "repeats another row", "detail": {"row": 0, "similarity": 1.0}}
    assert found[3]["reason"] == "nearly repeats another row"
    assert found[3]["detail"]["row"] == 0 and 0.8 <= found[3]["detail"]["similarity"] < 1


def test_similarity_is_the_exact_share_of_common_runs_of_three_words():
    # of "a b c d e f" and "a b c d e g": abc bcd cde in common, def and deg not
    found = screened("a b c d e f", "a b c d e g", threshold=0.6)
    assert found[1]["detail"] == {"row": 0, "similarity": 0.6}
    assert screened("a b c d e f", "a b c d e g", threshold=0.61) == {}


def test_a_chain_of_similar_rows_is_measured_against_kept_rows_only():
    rows = ["a b c d e f g h", "b c d e f g h i", "c d e f g h i j"]  # neighbours 5/7, ends 4/8
    found = screened(*rows, threshold=0.7)
    assert list(found) == [1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Write a sorting function in C++.", "Write a sorting function in C#."),
        ("What is 5 + 3?", "What is 5 * 3?"),
        ("Name a river.", "Name a lake."),
        ("", " "),
    ],
)
def test_different_rows_are_no_duplicates(one, other):
    assert screened(one, other) == {}


def test_chinese_is_compared_by_characters():
    text = "请用自己的话描述泰姬陵的建筑风格，并说明它为什么成为世界文化遗产之一，然后比较它与紫禁城的不同之处。"
    other = "请写一首关于春天的诗。"
    found = screened(text, other, text.replace("请用", "用"))
    assert list(found) == [2] and found[2]["detail"]["similarity"] > 0.9


def test_row_numbers_are_those_given_and_no_threshold_keeps_repeats():
    assert list(screen([(7, LONG), (90, LONG)])) == [90]
    assert screen([(7, LONG), (90, LONG)], threshold=None) == {}


@pytest.mark.parametrize("threshold", [0, -1, 1.2])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(UserError, match="similarity"):
        Duplicates(threshold)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="abc de", min_size=1, max_size=30), max_size=20))
def test_kept_rows_differ_and_dropped_ones_name_a_kept_row_like_them(texts):
    found = screened(*texts, threshold=1.0)
    kept = [i for i in range(len(texts)) if i not in found]
    for row, why in found.items():
        assert why["detail"]["row"] in kept and why["detail"]["row"] < row
        assert set(words(texts[row])) == set(words(texts[why["detail"]["row"]]))
    spelled = [tuple(words(texts[i])) for i in kept if words(texts[i])]
    assert len(set(spelled)) == len(spelled)


# --- contamination


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("set.jsonl", json.dumps({"id": 1}) + "\n" + json.dumps({"turns": [{"text": QUESTION}]}) + "\n", 2),
        ("set.json", json.dumps([{"q": "short"}, {"q": QUESTION}]), 2),
        ("set.json", json.dumps({"version": 1, "examples": [{"q": QUESTION, "target": "108"}]}), 1),
        ("set.json", json.dumps({"q": "short"}) + "\n" + json.dumps({"q": QUESTION}) + "\n", 2),
        ("set.csv", f'"a","b"\n"{QUESTION}","108"\n', 2),
        ("set.tsv", f'said "so\tno\n{QUESTION}\t108\n', 2),
        ("set.txt", f"\n\n{QUESTION}\n", 3),
        ("set.jsonl.gz", gzip.compress(json.dumps({"q": QUESTION}).encode(), mtime=0), 1),
    ],
)
def test_thirteen_words_in_common_are_found_in_every_kind_of_file(tmp_path, name, content, line):
    index = evaluation(tmp_path, name, content)
    where, run = index.find("Solve: a BAKER sells 12 loaves in the morning, and half as many in the cellar.")
    assert where == f"{tmp_path / name}:{line}"
    assert run == "a baker sells 12 loaves in the morning and half as many in"
    assert index.find("A baker sells 12 loaves in the morning and half as many after.") is None  # twelve words
    assert index.find("") is None and index.find(LONG) is None


def test_n_can_be_set(tmp_path):
    index = evaluation(tmp_path, "set.txt", QUESTION, n=8)
    assert index.find("Our baker sells 12 loaves in the morning and sleeps.") is not None
    with pytest.raises(UserError, match="too common"):
        Contamination([tmp_path], n=3)


def test_a_short_text_counts_as_a_whole_line_or_sentence_only(tmp_path):
    items = [
        "An apple a day keeps the doctor away.",
        "Please answer.\nQuestion: Where can you get a lizard for your home?",
    ]
    index = evaluation(tmp_path, "set.json", json.dumps(items))
    assert index.find("Think first. An apple a day keeps the doctor away! Is it so?")[0].endswith(":1")
    assert index.find("Where can you get a lizard for your home?\nOptions:\n- zoo\n- shop")[0].endswith(":2")
    assert index.find('He says "an apple a day keeps the doctor away" a lot.') is None
    assert index.find("Where can you get a lizard for your home, and when?") is None


def test_what_stands_in_many_items_and_mere_numbers_do_not_count(tmp_path):
    form = "For which of these two scenarios does the main character do something that is clearly wrong"
    numbers = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"
    index = evaluation(
        tmp_path, "set.json", json.dumps([f"{form}, case {i}?" for i in range(11)] + [numbers, QUESTION])
    )
    assert index.find(form) is None
    assert index.find(f"Sort these: {numbers}") is None
    assert index.find(QUESTION) is not None


def test_chinese_needs_twice_as_many_characters(tmp_path):
    text = "一家面包店每天上午卖出十二个面包下午卖出上午的一半那么一周里它总共能卖出多少个面包呢"
    index = evaluation(tmp_path, "set.txt", text)
    assert index.find(f"请回答：{text[:26]}") == (f"{tmp_path / 'set.txt'}:1", text[:26])
    assert index.find(f"请回答：{text[:25]}，谢谢您的帮助") is None


def test_a_folder_is_searched_and_other_files_are_left_alone(tmp_path):
    (tmp_path / "mmlu").mkdir()
    (tmp_path / "README.md").write_text("no set")
    (tmp_path / "mmlu" / "law.csv").write_text(f'"{QUESTION}",A\n')
    assert Contamination([tmp_path]).find(QUESTION)[0] == f"{tmp_path / 'mmlu' / 'law.csv'}:1"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("set.jsonl", '{"a": 1}\n{"a": \n', r"set\.jsonl:2: cannot be read"),
        ("set.json", "{", r"set\.json:1: cannot be read"),
        ("set.txt", b"\xff\xfe\xfa", "not UTF-8"),
        ("set.jsonl.gz", gzip.compress(b'{"a": 1}', mtime=0)[:-9], "cannot be read"),
        ("set.parquet", "x", "not a kind of file"),
        ("set.txt", "too short", "no text of 8 words"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        evaluation(tmp_path, name, content)
    with pytest.raises(UserError, match="no such file"):
        Contamination([tmp_path / "none"])


def test_a_row_of_an_evaluation_set_is_dropped_and_makes_no_other_a_repeat(tmp_path):
    index = evaluation(tmp_path, "set.txt", QUESTION)
    found = screened(QUESTION, LONG, QUESTION, evaluation=index)
    assert list(found) == [0, 2]
    for row in (0, 2):
        assert found[row]["reason"] == "shares text with an evaluation set"
        assert found[row]["detail"]["where"] == f"{tmp_path / 'set.txt'}:1"
        assert len(found[row]["detail"]["words"].split()) == 13


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from("red green blue black white round square".split()), min_size=13, max_size=40), st.data()
)
def test_every_run_of_an_indexed_text_is_found(tmp_path_factory, tokens, data):
    index = evaluation(tmp_path_factory.mktemp("set"), "set.txt", " ".join(tokens))
    start = data.draw(st.integers(0, len(tokens) - 13))
    assert index.find("say: " + ", ".join(tokens[start : start + 13])) is not None


# --- real rows


@pytest.fixture(scope="module")
def real_sets(shared):
    return Contamination([shared / "data" / "eval"])


def test_no_item_of_a_real_evaluation_set_goes_through(shared, real_sets):
    items = [row["question"] for _, row in read_rows(shared / "data" / "eval" / "gsm" / "test.jsonl")]
    long_enough = [item for item in items if len(words(item)) >= 13]
    assert len(long_enough) > 1300
    assert [item for item in long_enough if real_sets.find("Please solve this.\n" + item) is None] == []


def test_real_training_rows_are_rarely_dropped_and_always_with_the_words_in_common(shared, real_sets):
    rows = [row["question"] for _, row in read_rows(shared / "data" / "train" / "gsm8k" / "train.jsonl")]
    found = screen(enumerate(rows), evaluation=real_sets)
    assert 0 < len(found) < 20
    for number, why in found.items():
        if "words" in why["detail"]:
            assert why["detail"]["words"] in " ".join(words(rows[number]))
        else:
            assert why["detail"]["row"] not in found
    assert found == screen(enumerate(rows), evaluation=real_sets)
