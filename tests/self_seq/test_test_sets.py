"""Tests of `self_seq.test_sets`: XQuAD and CommonsenseQA in the forms of the task-driven training sets."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from open_instruct.core.records import read_rows
from self_seq.task_driven.forms import instruction_of
from self_seq.test_sets import CSQA_INSTRUCTION, XQUAD_INSTRUCTION

LANGUAGES = ("de", "en", "es", "vi", "zh")


def run(folder: Path, *flags: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "self_seq.test_sets", "--output_dir", "out", *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def rows(path: Path) -> list[dict]:
    return [row for _, row in read_rows(path, may_be_empty=True)]


def squad(*questions: tuple[str, str, str, list[str]]) -> dict:
    """Questions in XQuAD's format: id, context, question, answers."""
    paragraphs = [
        {"context": context, "qas": [{"id": name, "question": text, "answers": [{"text": one} for one in answers]}]}
        for name, context, text, answers in questions
    ]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}


@pytest.fixture
def xquad(tmp_path: Path) -> Path:
    english = squad(("a", "It is red.", "Which colour?", ["red", "red"]), ("b", "He left.", "Who left?", ["He"]))
    german = squad(("b", "Er ging.", "Wer ging?", ["Er"]), ("a", "Es ist rot.", "Welche Farbe?", ["rot"]))
    (tmp_path / "xquad.en.json").write_text(json.dumps(english))
    (tmp_path / "xquad.de.json").write_text(json.dumps(german))
    return tmp_path


def test_the_forms_of_a_question(xquad: Path):
    done = run(xquad, "--xquad", "xquad.en.json", "xquad.de.json")
    assert done.returncode == 0, done.stderr
    common = {"id": "a", "dataset": "xquad", "language": "de", "answers": ["rot"], "answers_en": ["red"]}
    text, english = "Context: Es ist rot.\nQuestion: Welche Farbe?", "Context: It is red.\nQuestion: Which colour?"
    then = XQUAD_INSTRUCTION[0].lower() + XQUAD_INSTRUCTION[1:]
    forms = {
        form: rows(xquad / f"out/xquad_{form}_de.jsonl") for form in ("plain", "repeat", "paraphrase", "translate")
    }
    assert forms["plain"][1] == common | {
        "form": "plain",
        "instruction": XQUAD_INSTRUCTION,
        "input": text,
        "output": "rot",
        "intermediate": None,
    }
    assert forms["repeat"][1] == common | {
        "form": "repeat",
        "instruction": f"First repeat the input, then {then}",
        "input": text,
        "output": f"{text}\nrot",
        "intermediate": text,
    }
    assert forms["paraphrase"][1] == common | {
        "form": "paraphrase",
        "instruction": f"First paraphrase the input, then {then}",
        "input": text,
        "output": "rot",
        "intermediate": None,
    }
    # found by id: the German file has another order
    assert forms["translate"][1] == common | {
        "form": "translate",
        "instruction": f"First translate the input into English, then {then}",
        "input": text,
        "output": f"{english}\nred",
        "intermediate": english,
        "answers": ["red"],
    }
    assert not (xquad / "out/xquad_translate_en.jsonl").exists()


def test_questions_that_cannot_be_used_are_listed_and_no_form_has_them(xquad: Path):
    german = squad(
        ("a", "Es ist rot.", "Welche Farbe?", ["rot"]),
        ("a", "Es ist blau.", "Welche Farbe?", ["blau"]),
        ("b", "Er ging.", "Wer ging?", [" "]),
        ("c", "Sie kam.", "Wer kam?", ["Sie"]),
    )
    (xquad / "xquad.de.json").write_text(json.dumps(german))
    done = run(xquad, "--xquad", "xquad.de.json", "xquad.en.json")
    assert done.returncode == 0, done.stderr
    assert {(one["id"], one["reason"]) for one in rows(xquad / "out/rejected.jsonl")} == {
        ("a", "a question of this id stands further up"),
        ("b", "no answer"),
        ("c", "no question of this id in English"),
    }
    for form in ("plain", "repeat", "paraphrase", "translate"):
        assert [one["answers_en"] for one in rows(xquad / f"out/xquad_{form}_de.jsonl")] == [["red"]]
    assert "xquad.de.json: 4 questions = 1 in every form + 3 rejected" in done.stdout


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["xquad.de.json"], "xquad.en.json is missing"),
        (["xquad.en.json", "german.json"], "german.json: expected the name xquad.LANGUAGE.json"),
        (["xquad.en.json", "xquad.fr.json"], "xquad.fr.json: cannot be read"),
        (["xquad.en.json", "xquad.ru.json"], "xquad.ru.json: not of XQuAD's format"),
        ([], "nothing to do"),
    ],
)
def test_wrong_files_are_one_line(xquad: Path, files: list[str], message: str):
    (xquad / "xquad.ru.json").write_text('{"data": [{"paragraphs": [{"qas": [{}]}]}]}')
    done = run(xquad, *(["--xquad", *files] if files else []))
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (xquad / "out").exists()


ORIGINAL = {
    "id": "q1",
    "question": {
        "question_concept": "door",
        "stem": "Where is a door?",
        "choices": [{"label": "A", "text": "house"}, {"label": "B", "text": "lake, sea"}],
    },
    "answerKey": "B",
}


def csqa(folder: Path, *given: dict) -> subprocess.CompletedProcess:
    (folder / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    return run(folder, "--csqa", "dev.jsonl")


def test_commonsense_questions_as_released(tmp_path: Path):
    done = csqa(tmp_path, ORIGINAL)
    assert done.returncode == 0, done.stderr
    text = "Question: Where is a door?\nChoices: A:house, B:lake, sea"
    (one,) = rows(tmp_path / "out/csqa_repeat.jsonl")
    assert one["instruction"].startswith("First repeat the input, then answer the question")
    assert (one["id"], one["input"], one["output"], one["answers"]) == ("q1", text, f"{text}\nB", ["B"])
    assert rows(tmp_path / "out/csqa_plain.jsonl")[0]["output"] == "B"
    assert rows(tmp_path / "out/csqa_paraphrase.jsonl")[0]["instruction"].startswith("First paraphrase the input")


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"answerKey": "C"}, "the answer 'C' is none of the choices A, B"), ({"answerKey": ""}, "no answer")],
)
def test_a_commonsense_question_without_a_right_answer_is_listed(tmp_path: Path, change: dict, reason: str):
    done = csqa(tmp_path, ORIGINAL, ORIGINAL | {"id": "q2"} | change)
    assert done.returncode == 0, done.stderr
    assert [(one["id"], one["reason"]) for one in rows(tmp_path / "out/rejected.jsonl")] == [("q2", reason)]


def test_the_test_split_whose_answers_are_kept_back_is_refused(tmp_path: Path):
    hidden = copy.deepcopy(ORIGINAL)
    del hidden["answerKey"]
    done = csqa(tmp_path, hidden)
    assert done.returncode == 1 and "no question can be used; the first one: no answer" in done.stderr


def test_real_xquad(shared: Path, tmp_path: Path):
    """1,190 questions a language; the answer of every form is one that the stored files give."""
    folder = shared / "data/eval/xquad"
    done = run(tmp_path, "--xquad", *sorted(folder.glob("xquad.*.json")))
    assert done.returncode == 0, done.stderr
    gold, contexts = {}, {}
    for language in LANGUAGES:
        for article in json.loads((folder / f"xquad.{language}.json").read_text())["data"]:
            for paragraph in article["paragraphs"]:
                for one in paragraph["qas"]:
                    gold[language, one["id"]] = one["answers"][0]["text"]
                    contexts[language, one["id"]] = paragraph["context"]
    for language in LANGUAGES:
        for form in ("plain", "repeat", "paraphrase", "translate"):
            if (form, language) == ("translate", "en"):
                continue
            made = rows(tmp_path / f"out/xquad_{form}_{language}.jsonl")
            assert len(made) == len({one["id"] for one in made}) == 1190
            answer_language = "en" if form == "translate" else language
            for one in made:
                key = (answer_language, one["id"])
                assert one["answers"] == [gold[key].strip()]
                assert one["output"].endswith(gold[key].strip())
                assert contexts[language, one["id"]].strip() in one["input"]
                if form in ("repeat", "translate"):
                    assert contexts[key].strip() in one["intermediate"] and one["output"].startswith(
                        one["intermediate"]
                    )
    assert rows(tmp_path / "out/rejected.jsonl") == []


def test_real_commonsense_questions_in_both_formats(shared: Path, tmp_path: Path):
    """The stored repeat form, and the same questions put back into the original format, give the same rows."""
    source = shared / "data/eval/csqa_repeat/commonsense_qa_repeat.json"
    stored, original = rows(source), []
    for number, row in enumerate(stored):
        stem, _, choices = row["input"].removeprefix("Question: ").partition("\nChoices: ")
        parts = re.split(r"(?:^|, )([A-E]):", choices)[1:]
        listed = [{"label": label, "text": text} for label, text in zip(parts[::2], parts[1::2], strict=True)]
        original.append({"id": str(number), "answerKey": row["output"], "question": {"stem": stem, "choices": listed}})
    for name in ("stored", "original"):
        (tmp_path / name).mkdir()
    done = run(tmp_path / "stored", "--csqa", source)
    assert done.returncode == 0 and "1,221 questions = 1,221 in every form + 0 rejected" in done.stdout, done.stderr
    done = csqa(tmp_path / "original", *original)
    assert done.returncode == 0, done.stderr
    for form in ("plain", "repeat", "paraphrase"):
        made = rows(tmp_path / f"stored/out/csqa_{form}.jsonl")
        assert made == rows(tmp_path / f"original/out/csqa_{form}.jsonl")
        assert [one["answers"] for one in made] == [[row["output"]] for row in stored]
        assert [one["input"] for one in made] == [row["input"] for row in stored]


def test_training_and_test_sets_word_a_form_alike(tmp_path: Path):
    """What a model has learned to follow is what it is asked."""
    from open_instruct.core.records import Instruction

    assert csqa(tmp_path, ORIGINAL).returncode == 0
    source = {"instruction": CSQA_INSTRUCTION, "input": "Question: x", "output": "A"}
    (tmp_path / "train.json").write_text(json.dumps([source]))
    command = [sys.executable, "-m", "self_seq.task_driven", "--input", "train.json", "--output", "sit.jsonl"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (trained,) = rows(tmp_path / "sit.jsonl")
    (tested,) = rows(tmp_path / "out/csqa_repeat.jsonl")
    assert trained["instruction"] == tested["instruction"]
    assert instruction_of(Instruction.from_json(source, "here:1"), ["repeat"]) == tested["instruction"]
