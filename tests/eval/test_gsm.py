"""GSM8K: the last number, and the same verdicts as lm-evaluation-harness's own definition."""

import json
from decimal import Decimal
from pathlib import Path

import lm_eval.tasks
import pytest
import yaml
from lm_eval import evaluate
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from eval.benchmarks import TASKS_FOLDER
from eval.scoring.numbers import last_number, number_match
from open_instruct.core.errors import UserError

GOLD = ["18", "3", "70,000", "-10", "2,125", "540", "1,450,000", "5", "0", "64", "12", "20"]
# Responses around a gold number; {0} is the number as it stands in the data.
SAID = [
    "The answer is {0}.",
    "So she has {0}",
    "5 + 7 = {0}. The answer is ${0}.",
    "The answer is {0}.00.",
    "It is {0}... I think",
    "The answer is {0}. Or is it 9?",
    "I do not know.",
    "",
    "{0} dollars, of which 1/2 is left: The answer is {0}",
    "A: 4 - 1 = 3\n#### {0}",
    "that makes ({0})",
    "about {0}%",
]


class Scripted(LM):
    """A model of lm_eval that answers from a list, and keeps what it was asked."""

    def __init__(self, responses):
        super().__init__()
        self.responses, self.prompts = responses, []

    def generate_until(self, requests, disable_tqdm=False):
        self.prompts = [request.args[0] for request in requests]
        return [self.responses[request.doc_id % len(self.responses)] for request in requests]

    def loglikelihood(self, requests):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError


@pytest.fixture
def questions(tmp_path, monkeypatch) -> Path:
    """A question for each pair of GOLD and SAID, in the data folder."""
    path = tmp_path / "data" / "gsm" / "test.jsonl"
    path.parent.mkdir(parents=True)
    rows = [
        {"question": f"How many are {number} and none?", "answer": f"It is <<1+1=2>>2.\n#### {gold}"}
        for number, (gold, _) in enumerate((gold, said) for gold in GOLD for said in SAID)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path / "data"))
    return path


def ours(name):
    return TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False).load([name])


def harness_own(questions, folder):
    """gsm8k_cot as lm-evaluation-harness defines it, on our file."""
    own = Path(lm_eval.tasks.__file__).parent / "gsm8k" / "gsm8k-cot.yaml"
    changed = {"task": "theirs", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(questions)}}}
    config = {**yaml.safe_load(own.read_text()), **changed}
    del config["dataset_name"], config["tag"]
    folder.mkdir()
    (folder / "theirs.yaml").write_text(yaml.safe_dump(config))
    return TaskManager(include_path=[str(folder)], include_defaults=False).load(["theirs"])


def verdicts(task, model, **settings):
    found = evaluate(lm=model, task_dict=task, bootstrap_iters=0, **settings)
    (samples,) = found["samples"].values()
    by_rule = {}
    for sample in samples:
        by_rule.setdefault(sample["filter"], {})[sample["doc_id"]] = sample
    return by_rule


def assert_same_verdicts(own, theirs):
    assert own["none"].keys() == theirs["strict-match"].keys()
    for rule in ("flexible-extract", "strict-match"):
        name = rule.replace("-", "_")
        assert [own["none"][at][name] for at in own["none"]] == [theirs[rule][at]["exact_match"] for at in theirs[rule]]


def test_prompts_and_verdicts_are_the_harnesss_own_item_by_item(questions, tmp_path):
    said = [text.format(gold) for gold in GOLD for text in SAID]
    mine, other = Scripted(said), Scripted(said)
    own, theirs = verdicts(ours("gsm_cot"), mine), verdicts(harness_own(questions, tmp_path / "tasks"), other)
    assert mine.prompts == other.prompts and len(mine.prompts) == len(said)
    assert mine.prompts[0].count("\nA:") == 9
    assert_same_verdicts(own, theirs)
    flexible = [one["flexible_extract"] for one in own["none"].values()]
    assert 0 < sum(flexible) < len(flexible)

    # Our own rule, which leads, differs where the harness compares texts: "18.00" is not "18", "18..." is "...".
    differing = {
        SAID[at % len(SAID)] for at, one in own["none"].items() if one["exact_match"] != one["flexible_extract"]
    }
    assert differing == {"The answer is {0}.00.", "It is {0}... I think"}
    assert all(one["exact_match"] for at, one in own["none"].items() if SAID[at % len(SAID)] in differing)


@pytest.mark.slow
def test_verdicts_on_a_real_model_are_the_harnesss_own(questions, tmp_path, checkpoint):
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(checkpoint), batch_size=8, device="cpu", max_length=256)
    tasks = [ours("gsm_cot"), harness_own(questions, tmp_path / "tasks")]
    for loaded in tasks:
        for task in loaded["tasks"].values():
            task.set_config(key="generation_kwargs", value={"max_gen_toks": 24}, update=True)
    own, theirs = (verdicts(task, model, limit=24) for task in tasks)
    assert [one["resps"] for one in own["none"].values()] == [one["resps"] for one in theirs["strict-match"].values()]
    assert len({one["resps"][0][0] for one in own["none"].values()}) > 1
    assert_same_verdicts(own, theirs)


def test_direct_examples_show_the_number_alone(questions):
    model = Scripted(["18"])
    verdicts(ours("gsm_direct"), model, limit=1)
    assert "How many trees did the grove workers plant today?\nA: 6\n\nQ: " in model.prompts[0]
    assert "The answer is" not in model.prompts[0]


def test_the_subset_is_drawn_as_tulu_draws_it(shared, monkeypatch):
    """200 of the 1,319 by Python's own random numbers with seed 42, as in open-instruct."""
    import random

    monkeypatch.setenv("SIT_EVAL_DATA", str(shared / "data" / "eval"))
    (task,) = ours("gsm_cot_200")["tasks"].values()
    random.seed(42)
    assert [int(item["id"]) for item in task.eval_docs] == random.sample(list(range(1319)), 200)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It costs $1,450.", "1450"),
        ("1.450", "1450"),
        ("1 450", "1450"),
        ("1\u202f450,50", "1450.50"),
        ("1.234,56", "1234.56"),
        ("1,234.56", "1234.56"),
        ("2,5", "2.5"),
        ("0.125", "0.125"),
        ("The answer is: 34.00", "34"),
        ("12.05.2020", "2020"),
        ("1, 2, 3", "3"),
        ("16 - 3", "3"),
        ("16-3", "3"),
        ("(5) -3", "3"),
        ("= -3", "-3"),
        ("The answer is -$3.", "-3"),
        ("−7", "-7"),
        (".5", "0.5"),
        ("3/4", "4"),
        ("১৮টি", "18"),
        ("答案是１２。", "12"),
        ("٣٤", "34"),
        ("18.", "18"),
        ("no number", None),
        ("", None),
    ],
)
def test_the_last_number_is_read_by_value(text, value):
    assert last_number(text) == (None if value is None else Decimal(value))


def test_a_gold_answer_without_a_number_is_an_error():
    with pytest.raises(ValueError, match="holds no number"):
        number_match("18", "eighteen")


@pytest.mark.parametrize(
    "row", [{"question": "?"}, {"question": "?", "answer": "#### none"}, {"question": 1, "answer": "1"}]
)
def test_a_row_that_is_no_question_is_refused_with_its_line(questions, row):
    with questions.open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=rf"test\.jsonl:{len(GOLD) * len(SAID) + 1}: "):
        ours("gsm_cot")
