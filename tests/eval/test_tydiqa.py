"""TyDiQA: questions of both kinds of files, Tulu's draw of them, one example in the question's language."""

import json
import random

import pytest
from lm_eval.tasks import TaskManager

from eval.benchmarks import TASKS_FOLDER
from eval.tasks.tydiqa.tydiqa import items
from open_instruct.core.errors import UserError


def squad(language, count, start=0):
    """Paragraphs in the format of the gold passage task."""
    return [
        {
            "context": f"{language} text {number} says {number * 11}.",
            "qas": [
                {
                    "id": f"{language}-{number}",
                    "question": f"What says {number}?",
                    "answers": [{"text": f"{number * 11}"}],
                }
            ],
        }
        for number in range(start, start + count)
    ]


@pytest.fixture
def released(tmp_path, monkeypatch):
    """Both files of the gold passage task: 130 Finnish and 3 Korean questions, 5 for training in each."""
    folder = tmp_path / "tydiqa"
    folder.mkdir()
    test = squad("korean", 3) + squad("finnish", 130)
    training = squad("korean", 5, 1000) + squad("finnish", 5, 1000)
    (folder / "tydiqa-goldp-v1.1-dev.json").write_text(json.dumps({"data": [{"paragraphs": test}]}))
    (folder / "tydiqa-goldp-v1.1-train.json").write_text(json.dumps({"data": [{"paragraphs": training}]}))
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    return folder


def load(name):
    (task,) = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False).load([name])["tasks"].values()
    return task


def test_questions_and_examples_are_drawn_as_tulu_draws_them(released):
    """Seed 42: languages in alphabetic order, at most 100 questions each, then an example of each."""
    rows = items("tydiqa", True, per_language=100, shots=1)["test"]
    chance = random.Random(42)
    finnish = [f"finnish-{number}" for number in chance.sample(range(130), 100)]
    shown = {language: chance.sample(range(1000, 1005), 1)[0] for language in ("finnish", "korean")}
    assert [row["id"] for row in rows if row["language"] == "finnish"] == finnish
    assert [row["id"] for row in rows if row["language"] == "korean"] == [f"korean-{number}" for number in range(3)]
    for row in rows:
        assert f"{row['language']} text {shown[row['language']]} says" in row["examples"][0]["question"]
    assert [row["language"] for row in rows][:8] == ["finnish", "korean"] * 3 + ["finnish"] * 2


def test_the_passage_is_shown_or_not_and_words_are_in_the_language(released):
    gold, closed = load("tydiqa_gold_passage"), load("tydiqa_closed_book")
    prompt = gold.fewshot_context(gold.eval_docs[1], 1)
    assert prompt.endswith("지문: korean text 0 says 0.\n질문: What says 0?\n답:") and prompt.count("지문:") == 2
    prompt = closed.fewshot_context(closed.eval_docs[1], 1)
    assert "text" not in prompt and prompt.endswith("\n질문: What says 0?\n답:") and prompt.count("답:") == 2


def test_the_first_line_is_scored_for_all_and_for_its_language(released):
    task = load("tydiqa_gold_passage")
    item = task.eval_docs[1]
    found = task.process_results(item, [f" {item['answers'][0]}\nand more"])
    assert found == {"containment": 1, "f1": 1, "exact_match": 1, "f1_korean": 1, "exact_match_korean": 1}
    assert set(found) <= {metric["metric"] for metric in task.config.metric_list}


def document(language, answers, **changes):
    """A document as originally released; the answers lie in its second passage."""
    text = "Ensimmäinen kappale.\nToinen kappale: vuonna 1869."
    middle = len("Ensimmäinen kappale.\n".encode())

    def annotation(answer):
        start = text.encode().find(answer.encode()) if answer else -1
        end = start + len(answer.encode()) if answer else -1
        span = {"plaintext_start_byte": start, "plaintext_end_byte": end}
        return {"passage_answer": {"candidate_index": 1 if answer else -1}, "minimal_answer": span}

    edges = [(0, middle - 1), (middle, len(text.encode()))]
    return {
        "language": language,
        "example_id": 7,
        "document_plaintext": text,
        "question_text": "Milloin?",
        "passage_answer_candidates": [{"plaintext_start_byte": low, "plaintext_end_byte": high} for low, high in edges],
        "annotations": [annotation(answer) for answer in answers],
        **changes,
    }


@pytest.fixture
def documents(tmp_path, monkeypatch):
    folder = tmp_path / "tydiqa"
    folder.mkdir()
    rows = [document("finnish", ["1869", "", "vuonna 1869"]), document("thai", ["", ""])]
    (folder / "tiny_dev.jsonl.gz").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "small_gold_annotation.jsonl").write_text(json.dumps(document("korean", ["1869"])) + "\n")
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    return folder


def test_annotated_documents_stand_in_and_that_is_told(documents, capsys):
    (row,) = items("tydiqa", True, shots=1)["test"]
    assert row["answers"] == ["1869", "vuonna 1869"]
    assert "Teksti: Toinen kappale: vuonna 1869.\nKysymys: Milloin?" in row["question"]
    assert "지문:" in row["examples"][0]["question"]  # no Finnish one there
    told = capsys.readouterr().err
    assert "1 of the 2 documents in tiny_dev.jsonl.gz have a short answer" in told
    assert told.count("no example in finnish; one of another language is shown") == 1


@pytest.mark.parametrize(
    "changes", [{"annotations": None}, {"passage_answer_candidates": []}, {"document_plaintext": 5}]
)
def test_a_row_that_is_no_document_is_refused_with_its_line(documents, changes):
    (documents / "tiny_dev.jsonl.gz").write_text(json.dumps(document("finnish", ["1869"], **changes)) + "\n")
    with pytest.raises(UserError, match=r"tiny_dev\.jsonl\.gz:1: not a document of TyDiQA"):
        items("tydiqa", True)


def test_a_language_without_a_prompt_is_refused(documents):
    (documents / "tiny_dev.jsonl.gz").write_text(json.dumps(document("latin", ["1869"])) + "\n")
    with pytest.raises(UserError, match="no prompt in 'latin'; there are: arabic, bengali"):
        items("tydiqa", True)


def test_without_any_file_the_released_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"tydiqa-goldp-v1\.1-dev\.json: the evaluation data is not there"):
        items("tydiqa", True)


def test_the_real_documents_are_read(shared, monkeypatch):
    """Four of the eleven have a short answer: enough to run, too few to measure anything."""
    monkeypatch.setenv("SIT_EVAL_DATA", str(shared / "data" / "eval"))
    if (shared / "data/eval/tydiqa/tydiqa-goldp-v1.1-dev.json").is_file():
        pytest.skip("the gold passage task itself is there")
    rows = items("tydiqa", True, per_language=100, shots=1)["test"]
    assert [row["language"] for row in rows] == ["arabic", "finnish", "indonesian", "telugu"]
    for row in rows:
        assert row["answers"][0] in row["question"] and len(row["examples"]) == 1
