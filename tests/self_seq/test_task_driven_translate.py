"""Tests of `self_seq.task_driven --task translate` and of the script that runs it.

The parallel rows of the real-data tests are XQuAD's: question, context and answer as instruction, input and output.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from open_instruct.core.records import read_instructions, read_rows
from self_seq.task_driven.forms import MARK, UNCHANGED

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("de", "es", "zh")


def row(number: int, language: str, **other: str) -> dict:
    """Every third row has no input; the others a number, as real ones often have."""
    given = "" if number % 3 == 2 else f"{language} text {number + 100}"
    return {"instruction": f"{language} do {number}.", "input": given, "output": f"{language} {number}"} | other


def write(folder: Path, **rows: list[dict]) -> None:
    for language, content in rows.items():
        (folder / f"{language}.json").write_text(json.dumps(content, ensure_ascii=False))


def run(folder: Path, *flags: str | int, languages=LANGUAGES) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "self_seq.task_driven", "--task", "translate", "--output", "out/sit.jsonl"]
    command += ["--english", "en.json", "--translations", *(f"{language}={language}.json" for language in languages)]
    return subprocess.run([*command, *map(str, flags)], capture_output=True, text=True, cwd=folder)


def made(folder: Path, *flags: str | int) -> list[dict]:
    done = run(folder, *flags)
    assert done.returncode == 0, done.stderr
    return [one for _, one in read_rows(folder / "out/sit.jsonl")]


def rejected(folder: Path) -> list[dict]:
    return [one for _, one in read_rows(folder / "out/sit.rejected.jsonl", may_be_empty=True)]


@pytest.fixture
def parallel(tmp_path: Path) -> Path:
    """90 rows in four languages, 60 of them with an input."""
    write(tmp_path, **{language: [row(n, language) for n in range(90)] for language in ("en", *LANGUAGES)})
    return tmp_path


def test_instruction_and_answer_stay_english_and_the_input_does_not(parallel: Path):
    for one in made(parallel, "--rows_a_language", 10):
        n, english = one["idx"], row(one["idx"], "en")
        if one[MARK] == UNCHANGED:
            assert one == english | {"language": "en", "idx": n, MARK: UNCHANGED}
            continue
        assert one["instruction"] == f"First translate the input into English, then en do {n}."
        assert one["input"] == row(n, one["language"])["input"]
        assert one["output"] == f"{english['input']}\n{english['output']}"


def test_each_language_has_its_size_and_no_row_is_drawn_twice(parallel: Path):
    result = made(parallel, "--rows_a_language", 10)
    assert Counter(one["language"] for one in result) == {"de": 10, "es": 10, "zh": 10, "en": 60}
    assert sorted(one["idx"] for one in result) == list(range(90))
    assert [one["idx"] for one in result] != list(range(90))


def test_the_seed_decides_the_rows_and_their_order(parallel: Path):
    first = made(parallel, "--rows_a_language", 10)
    assert made(parallel, "--rows_a_language", 10) == first
    other = made(parallel, "--rows_a_language", 10, "--seed", 1)
    assert {one["idx"] for one in other if one["language"] == "de"} != {
        one["idx"] for one in first if one["language"] == "de"
    }


def test_labels(parallel: Path):
    result = made(parallel, "--rows_a_language", 10, "--labels")
    one = next(one for one in result if one["language"] == "de")
    english = row(one["idx"], "en")
    assert one["output"] == f"Translation into English:\n{english['input']}\nResult: {english['output']}"


def test_more_rows_than_there_are_is_refused_with_the_most_there_can_be(parallel: Path):
    done = run(parallel)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "3 languages need 14,250 rows with an input in each, and there are 60; expected 1 to 20" in done.stderr
    assert not (parallel / "out").exists()


@pytest.mark.parametrize(
    ("language", "number", "given", "reason"),
    [
        ("de", 3, " ", "the input is empty in de"),
        ("zh", 3, "en text 103", "the input in zh is the English one: nothing to translate"),
        ("es", 2, "hola", "no input in English, but one in es"),
    ],
    ids=["empty", "not translated", "not in English"],
)
def test_a_row_that_is_not_translated_stays_english_and_is_listed(
    parallel: Path, language: str, number: int, given: str, reason: str
):
    rows = [row(n, language) for n in range(90)]
    rows[number]["input"] = given
    write(parallel, **{language: rows})
    result = made(parallel, "--rows_a_language", 19)
    (line,) = rejected(parallel)
    assert (line["row"], line["reason"], line["written"]) == (number, reason, True)
    assert next(one for one in result if one["idx"] == number)["language"] == "en"
    assert len(result) == 90


def test_files_of_other_lengths_are_refused(parallel: Path):
    write(parallel, es=[row(n, "es") for n in range(89)])
    done = run(parallel, "--rows_a_language", 10)
    assert done.returncode == 1
    assert "es.json: ends after 89 rows, others go on" in done.stderr


@pytest.mark.parametrize("name", ["id", "idx"])
def test_rows_with_other_ids_are_refused_with_their_line(parallel: Path, name: str):
    for language in ("en", *LANGUAGES):
        rows = [row(n, language, **{name: f"r{n}"}) for n in range(90)]
        if language == "zh":
            rows[40], rows[41] = rows[41], rows[40]
        (parallel / f"{language}.json").write_text("".join(json.dumps(one) + "\n" for one in rows))
    done = run(parallel, "--rows_a_language", 10)
    assert done.returncode == 1
    assert f"zh.json:41: {name} is 'r41', and at en.json:41 'r40'" in done.stderr


def test_inputs_in_other_rows_are_noticed(parallel: Path):
    write(parallel, de=[row(n + 1, "de") for n in range(90)])
    done = run(parallel, "--rows_a_language", 10)
    assert done.returncode == 1
    assert "60 of 90 rows have an input in only one of the two languages: de.json is not parallel" in done.stderr


@pytest.mark.parametrize(
    "translations",
    [["de.json"], ["de=de.json", "de=es.json"], ["en=de.json"], ["de=de.json", "es=de.json"], ["de=en.json"]],
)
def test_translations_that_make_no_sense_are_refused(parallel: Path, translations: list[str]):
    done = run(parallel, "--rows_a_language", 10, "--translations", *translations)
    assert done.returncode == 1 and done.stderr.startswith("error: --translations") and done.stderr.count("\n") == 1


# --- real rows


def xquad_rows(folder: Path, language: str) -> list[dict]:
    articles = json.loads((folder / f"data/eval/xquad/xquad.{language}.json").read_text())["data"]
    return [
        {
            "instruction": question["question"],
            "input": paragraph["context"],
            "output": question["answers"][0]["text"],
        }
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory) -> Path:
    """1,190 parallel rows and 1,000 of Alpaca without an input, by turns."""
    folder = tmp_path_factory.mktemp("real")
    alpaca = read_instructions(shared / "data/train/alpaca/alpaca_random_9k.json")
    plain = [one.to_json() for one in alpaca if not one.input][:1000]
    for language in ("en", "de", "es", "zh", "vi"):
        rows = []
        for n, one in enumerate(xquad_rows(shared, language)):
            rows += [one, *plain[n : n + 1]]
        write(folder, **{language: rows})
    return folder


def test_real_parallel_rows(real: Path):
    result = made(real, "--rows_a_language", 300)
    assert Counter(one["language"] for one in result) == {"de": 300, "es": 300, "zh": 300, "en": 1290}
    english = json.loads((real / "en.json").read_text())
    rows = {language: json.loads((real / f"{language}.json").read_text()) for language in LANGUAGES}
    for one in result:
        source = english[one["idx"]]
        if one["language"] == "en":
            assert (one["input"], one["output"]) == (source["input"], source["output"])
        else:
            assert one["input"] == rows[one["language"]][one["idx"]]["input"] != source["input"]
            assert one["output"] == f"{source['input']}\n{source['output']}"


def test_real_rows_that_are_one_question_off_are_noticed(real: Path, tmp_path: Path):
    """Every row has an input in each language, so only what stands in the inputs can tell."""
    for language in ("en", *LANGUAGES):
        rows = [one for one in json.loads((real / f"{language}.json").read_text()) if one["input"]]
        by = 5 if language == "es" else 0
        write(tmp_path, **{language: rows[by:] + rows[:by]})
    done = run(tmp_path, "--rows_a_language", 100)
    assert done.returncode == 1 and "es.json is not parallel to en.json" in done.stderr
    assert "share one with their translation" in done.stderr


def script(folder: Path, **settings: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return subprocess.run(
        ["bash", ROOT / "self-seq/scripts/generation_multilingual.sh"],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"SIT_ENV": "active", "PATH": path, "OUTPUT_DIR": str(folder / "out")} | settings,
    )


def test_the_script_on_real_rows(real: Path, tmp_path: Path):
    """The four languages of the script; Vietnamese stands in for Russian."""
    files = {name.upper(): str(real / f"{name}.json") for name in ("en", *LANGUAGES)}
    done = script(tmp_path, **files, RU=str(real / "vi.json"), ROWS_A_LANGUAGE="250")
    assert done.returncode == 0, done.stderr
    languages = Counter(one["language"] for _, one in read_rows(tmp_path / "out/sit.jsonl"))
    assert languages == {"de": 250, "es": 250, "ru": 250, "zh": 250, "en": 1190}


def test_the_script_says_where_missing_files_come_from(tmp_path: Path):
    done = script(tmp_path, DATA_DIR=str(tmp_path))
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"{tmp_path}/alpaca_data_cleaned.en.json: no such file" in done.stderr
    assert "hplt-project/monolingual-multilingual-instruction-tuning" in done.stderr
