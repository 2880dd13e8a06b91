"""XQuAD: SQuAD's figures in many scripts, what counts as the answer of a response, and as a translation before it."""

import json
import random

import pytest
from lm_eval.tasks import TaskManager

from eval.benchmarks import TASKS_FOLDER
from eval.scoring import spans
from eval.scoring.sequence import split_answer
from eval.tasks.xquad.xquad import LANGUAGES
from open_instruct.core.errors import UserError

SCRIPTS = {
    "latin": "the a an Name of 1,5 two. Ünder!",
    "cyrillic": "жизнь 5 лет, год.",
    "han": "北京 你好。一九,",
    "arabic": "مدينة كبيرة ، ثلاثة؟",
    "devanagari": "दिल्ली में है। दो",
    "thai": "กรุงเทพ มหานคร ๑๒ ",
}
CONTEXT = {
    "en": "Bonn lies on the Rhine. It has 330,000 people.",
    "de": "Bonn liegt am Rhein. Es hat 330.000 Einwohner.",
}
QUESTION = {"en": "Which river does Bonn lie on?", "de": "An welchem Fluss liegt Bonn?"}
ANSWER = {"en": "the Rhine", "de": "Rhein"}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two questions in English and German, and two examples in both."""
    folder = tmp_path / "xquad"
    (folder / "few_shot").mkdir(parents=True)
    for language in ("en", "de"):
        qas = [
            {"id": name, "question": QUESTION[language], "answers": [{"text": ANSWER[language], "answer_start": 0}]}
            for name in ("q1", "q2")
        ]
        paragraphs = [{"context": CONTEXT[language], "qas": qas}]
        (folder / f"xquad.{language}.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
        example = {"context": f"C {language}", "question": f"Q {language}?", "answers": {"text": [f"A {language}"]}}
        (folder / "few_shot" / f"xquad_few_shot_{language}.jsonl").write_text(2 * (json.dumps(example) + "\n"))
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    return folder


def load(name):
    (task,) = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False).load([name])["tasks"].values()
    return task


def test_f1_and_exact_match_are_those_of_the_squad_script():
    """1,000 random pairs in six scripts, against the script as transformers keeps it, and torchmetrics' own."""
    from torchmetrics.functional.text import squad
    from transformers.data.metrics.squad_metrics import compute_exact, compute_f1

    chance = random.Random(0)
    seen = set()
    for _ in range(1000):
        words = [text.split() for text in chance.sample(list(SCRIPTS.values()), 2)]
        letters = "".join(words[0])
        right = " ".join(chance.choices(words[0], k=chance.randint(0, 5)))
        said = chance.choice(
            [right, right.upper() + ".", " ".join(chance.sample(right.split(), len(right.split()))) + " the"]
            + [" ".join(chance.choices(words[0] + words[1], k=chance.randint(0, 6)))]
            + ["".join(chance.choices(letters + " ", k=8))]
        )
        exact, f1 = spans.exact_match(said, [right]), spans.f1(said, [right])
        assert exact == compute_exact(right, said), (said, right)
        assert f1 == pytest.approx(compute_f1(right, said), abs=1e-12), (said, right)
        answers = {"answers": {"answer_start": [0], "text": [right]}, "id": "0"}
        found = squad([{"prediction_text": said, "id": "0"}], [answers])
        assert found["exact_match"] == 100 * exact, (said, right)
        assert found["f1"] == pytest.approx(100 * f1, abs=1e-4), (said, right)  # in float32
        seen.add(round(f1, 2))
    assert len(seen) > 10


def test_the_best_of_several_right_answers_counts():
    assert spans.scores("Vikings", ["Northmen", "the Vikings"]) == {"containment": 1, "f1": 1, "exact_match": 1}


@pytest.mark.parametrize(
    ("answer", "right", "contained"),
    [
        ("It is the Rhine.", "Rhine", 1),
        ("Rhine", "the river Rhine", 1),
        ("", "Rhine", 0),  # the published scorer counted an empty answer as right
        (".", "Rhine", 0),
        ("e", "Rhine", 0),
        ("1945", "5", 0),
        ("330,000", "330", 0),
        ("330.000 Einwohner", "330.000", 1),
        ("在北京。", "北京", 1),
        ("서울은", "서울", 1),
        ("１９４５年", "1945", 1),
        ("Rhineland", "Rhine", 0),
    ],
)
def test_containment_cuts_no_word_and_no_number(answer, right, contained):
    assert spans.containment(answer, [right]) == contained


@pytest.mark.parametrize(
    ("response", "before", "answer", "marked"),
    [
        (
            "Context: Bonn...\nQuestion: Which?\nAnswer: the Rhine\nBecause.",
            "Context: Bonn...\nQuestion: Which?\n",
            "the Rhine",
            True,
        ),
        ("Question: Which?\n**Final answer:** Rhine", "Question: Which?\n", "Rhine", True),
        ("Translation.\nAnswer:\n\nRhine", "Translation.\n", "Rhine", True),
        ("The answer is Rhine.", "The ", "Rhine.", True),
        ("Bonn lies there. So the answer is: Rhine", "Bonn lies there. So the ", "Rhine", True),
        ("Übersetzung\nAntwort: Rhein", "Übersetzung\n", "Rhein", True),
        ("翻译\n答案：莱茵河", "翻译\n", "莱茵河", True),
        ("1. Question: Which?\n2. Answer: Rhine", "1. Question: Which?\n", "Rhine", True),
        ("Answer: Main\nNo.\nAnswer: Rhine", "Answer: Main\nNo.\n", "Rhine", True),
        ("Translated.\nRhine", "Translated.", "Rhine", False),
        ("Rhine", "", "Rhine", False),
        ("", "", "", False),
        ("Answer:", "", "", True),
        ("A: it says so. The answerer is Bob", "", "A: it says so. The answerer is Bob", False),
    ],
)
def test_the_answer_is_the_marked_line_or_the_last(response, before, answer, marked):
    assert split_answer(response) == (before, answer, marked)


def test_an_item_is_held_against_both_languages(data):
    task = load("xquad_translate")
    german = task.eval_docs[1]
    assert (german["id"], german["language"]) == ("de-q1", "de")
    said = f"Context: {CONTEXT['en']}\nQuestion: {QUESTION['en']}\nAnswer: Rhine"
    found = task.process_results(german, [said])
    assert (found["exact_match_en"], found["exact_match"], found["follow"], found["translated"]) == (1, 0, 1, 1)
    assert (found["containment_en_de"], found["f1_en_de"], found["f1_de"], found["follow_de"]) == (1, 1, 0, 1)
    found = task.process_results(german, ["Rhein"])
    assert (found["exact_match_en"], found["exact_match"], found["follow"], found["translated"]) == (0, 1, 0, 0)
    english = task.process_results(task.eval_docs[0], [said])
    assert english["f1_en_en"] == 1 and "follow" not in english and "translated" not in english
    described = {metric["metric"] for metric in task.config.metric_list}
    assert set(found) | set(english) <= described


def test_a_translation_without_an_answer_is_no_answer(data):
    """The context holds the right answer, so a response that only translates would count as right."""
    task = load("xquad_translate")
    found = task.process_results(task.eval_docs[1], [f"{QUESTION['en']}\n{CONTEXT['en']}"])
    assert (found["containment_en"], found["f1_en"], found["translated"]) == (0, 0, 1)


def test_examples_are_in_the_items_language_with_their_translation(data):
    task = load("xquad_translate_4shot")
    prompt = task.fewshot_context(task.eval_docs[1], 2)
    assert prompt.count("\nContext: C de\nQuestion: Q de?\nContext: C en\nQuestion: Q en?\nAnswer: A en\n\n") == 2
    assert prompt.endswith(f"\nContext: {CONTEXT['de']}\nQuestion: {QUESTION['de']}")


def test_absent_languages_are_told(data, capsys):
    load("xquad_translate")
    assert "no file xquad.LANGUAGE.json of es, ru, zh, ar, vi, th, tr, hi, el" in capsys.readouterr().err


def test_other_questions_than_the_english_ones_are_refused(data):
    path = data / "xquad.de.json"
    path.write_text(path.read_text().replace("q2", "q3"))
    with pytest.raises(UserError, match=r"xquad\.de\.json: not the same questions"):
        load("xquad_translate")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "not of SQuAD's format"),
        ("{", "not of SQuAD's format"),
        ('{"data": []}', "no question in it"),
        (
            '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": 1, "question": "?", "answers": []}]}]}]}',
            "no answer",
        ),
    ],
)
def test_a_file_of_another_format_is_refused(data, text, problem):
    (data / "xquad.en.json").write_text(text)
    with pytest.raises(UserError, match=rf"xquad\.en\.json: .*{problem}"):
        load("xquad_translate")


def test_all_real_questions_and_examples_are_read(shared, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(shared / "data" / "eval"))
    task = load("xquad_translate_4shot")
    there = [one for one in LANGUAGES if (shared / f"data/eval/xquad/xquad.{one}.json").is_file()]
    assert len(task.eval_docs) == 1190 * len(there) and len(there) >= 5
    for item in list(task.eval_docs)[: len(there)]:
        assert task.fewshot_context(item, 4).count("\nAnswer: ") == 4
        assert task.process_results(item, [f"Answer: {item['answers_en'][0]}"])["exact_match_en"] == 1
