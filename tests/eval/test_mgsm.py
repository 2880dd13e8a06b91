"""MGSM: what each mode asks and shows, in eleven languages, and whether a response translates first."""

import json

import pytest
from lm_eval.tasks import TaskManager

from eval.benchmarks import TASKS_FOLDER
from eval.scoring.sequence import translated_first
from eval.tasks.mgsm.mgsm import LANGUAGES, MODES, items
from open_instruct.core.errors import UserError

ENGLISH = "Mia has 4 red hats and buys 3 blue hats. How many hats does she have now?"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two questions and three examples a language."""
    folder = tmp_path / "mgsm"
    (folder / "examples").mkdir(parents=True)
    for language in LANGUAGES:
        own = ENGLISH if language == "en" else f"[{language}] Mia, 4, 3?"
        (folder / f"mgsm_{language}.tsv").write_text(f"{own}\t7\n[{language}] 2 x 1,000?\t2,000\n")
        colon = "：" if language in ("zh", "ja") else ":"
        rows = [
            {
                "question": f"Question {language}{colon} {number} and 1?",
                "answer": f"By step{colon} {language} {number} + 1 = {number + 1}. The answer is {number + 1}.",
                "answer_number": number + 1,
            }
            for number in range(3)
        ]
        (folder / "examples" / f"{language}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    return folder


def load(name):
    (task,) = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False).load([name])["tasks"].values()
    return task


def test_the_group_is_every_mode_with_and_without_examples(data):
    tasks = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False).load(["mgsm"])["tasks"]
    assert set(tasks) == {f"mgsm_{mode}_{shots}shot" for mode in MODES for shots in (0, 8)}


def test_languages_take_turns_so_that_a_limit_meets_them_all(data):
    rows = items("mgsm", "cot")["test"]
    assert [row["language"] for row in rows][:12] == [*LANGUAGES, LANGUAGES[0]]
    assert rows[3]["id"] == "de-0" and rows[14]["id"] == "de-1"
    assert [row["problem"] for row in rows] == [0] * 11 + [1] * 11


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        ("no_cot", "0 and 1?\n1\n\n1 and 1?\n2\n\n"),
        ("cot", "0 and 1?\nde 0 + 1 = 1. The answer is 1.\n\n"),
        ("cot_en", "0 and 1?\nen 0 + 1 = 1.\nThe answer is: 1\n\n"),
        (
            "trans_cot",
            "0 and 1?\nTranslation of the question into English:\n0 and 1?\nen 0 + 1 = 1.\nThe answer is: 1\n\n",
        ),
    ],
)
def test_examples_are_of_the_items_language_and_answered_as_the_mode_asks(data, mode, shown):
    task = load(f"mgsm_{mode}_8shot")
    german = task.eval_docs[3]
    prompt = task.fewshot_context(german, 2)
    assert shown in prompt
    assert prompt.endswith("[de] Mia, 4, 3?")
    instruction = german["question"].removesuffix("[de] Mia, 4, 3?")
    assert prompt.count(instruction) == (3 if instruction else prompt.count(""))
    assert ("translate" in instruction.lower()) == (mode == "trans_cot")


def test_more_examples_than_there_are_is_refused(data):
    task = load("mgsm_cot_8shot")
    with pytest.raises(UserError, match="item en-0: 8 examples asked for, there are 3"):
        task.fewshot_context(task.eval_docs[0], 8)


def test_the_figure_of_a_language_is_that_of_its_items_and_english_is_not_translated(data):
    task = load("mgsm_trans_cot_0shot")
    said = f"Translation of the question into English:\n{ENGLISH}\n4 + 3 = 7\nThe answer is: 7"
    assert task.process_results(task.eval_docs[3], [said]) == {"exact_match": 1, "translated": 1, "exact_match_de": 1}
    assert task.process_results(task.eval_docs[3], ["8"]) == {"exact_match": 0, "translated": 0, "exact_match_de": 0}
    assert task.process_results(task.eval_docs[0], [said]) == {"exact_match": 1, "exact_match_en": 1}
    other = load("mgsm_cot_en_0shot")
    assert other.process_results(other.eval_docs[3], [said]) == {"exact_match": 1, "exact_match_de": 1}
    described = {metric["metric"] for metric in task.config.metric_list}
    assert described == {"exact_match", "translated", *(f"exact_match_{language}" for language in LANGUAGES)}


@pytest.mark.parametrize(
    ("response", "translated"),
    [
        (f"Translation:\n{ENGLISH}\n7", 1),
        (f"{ENGLISH}\nShe has 7.", 1),
        (f"Question: {ENGLISH}\nAnswer: 7", 1),
        ("Mia owns four red hats and she buys 3 blue hats. How many hats has she now? 4 + 3 = 7", 1),
        ("Let's go:\n\nMia has 4 red hats and buys 3 blue ones. How many hats does she have?\n\n7", 1),
        ("Translation: the cow is green\n7", 1),  # badly done is done
        ("Mia has 4 red hats and buys 3 blue hats, so now she has 4 + 3 = 7 hats.", 0),  # reasons at once
        ("Mia hat 4 rote Hüte und kauft 3 blaue. Wie viele hat sie?\n7", 0),
        ("Translation of the question into English:", 0),
        ("7", 0),
        ("", 0),
    ],
)
def test_a_translation_is_told_from_reasoning(response, translated):
    assert translated_first(response, [ENGLISH]) == translated


def test_real_responses_that_name_their_translation_are_found(shared):
    """Of 5,000 stored responses, all that begin with the label of a translation and go on after it."""
    english = [line.split("\t")[0] for line in (shared / "data/eval/mgsm/mgsm_en.tsv").read_text().splitlines()]
    label = "Translation the question into English:"
    labelled = 0
    for path in sorted((shared / "data/outputs/mgsm").glob("*/predictions_*.jsonl")):
        for question, line in zip(english, path.read_text().splitlines(), strict=True):
            response = json.loads(line)["model_output"]
            if response.strip().startswith(label) and response.strip() != label:
                labelled += 1
                assert translated_first(response, [question])
    assert labelled > 3000


def test_all_real_items_and_examples_are_read(shared, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(shared / "data" / "eval"))
    task = load("mgsm_trans_cot_8shot")
    assert len(task.eval_docs) == 11 * 250
    for item in list(task.eval_docs)[:11]:
        prompt = task.fewshot_context(item, 8)
        assert prompt.count("Translation of the question into English:\n") == 8
        assert "Roger has 5 tennis balls." in prompt and "Question:" not in prompt


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("mgsm_de.tsv", "no tab\n", r"mgsm_de\.tsv:1: expected a question, a tab and a number"),
        ("mgsm_de.tsv", "one?\t1\n", r"mgsm_de\.tsv: 1 questions, the English file has 2"),
        ("mgsm_de.tsv", "", r"mgsm_de\.tsv: no questions"),
        ("mgsm_de.tsv", None, r"mgsm_de\.tsv: the evaluation data is not there"),
        ("examples/de.jsonl", '{"question": "?"}\n', r"de\.jsonl:1: expected question, answer and answer_number"),
        (
            "examples/de.jsonl",
            '{"question": "?", "answer": "!", "answer_number": 9}\n',
            r"de\.jsonl: not the English examples",
        ),
    ],
)
def test_data_that_is_not_whole_is_refused(data, file, text, problem):
    if text is None:
        (data / file).unlink()
    else:
        (data / file).write_text(text)
    with pytest.raises(UserError, match=problem):
        items("mgsm", "cot", shots=3)
