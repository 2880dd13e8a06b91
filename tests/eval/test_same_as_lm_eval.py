"""Our tasks ask and score as lm-evaluation-harness's own definitions do, item by item, on the same data.

The harness's side is its YAML as it is installed, with nothing changed but where the data comes from; each file of
the data folder is read here a second time, into the form that the harness expects of the hub. GSM8K: test_gsm.py.
"""

import csv
import hashlib
import json
import math
import random
import re
from functools import partial
from importlib.resources import files

import pytest
from datasets import Dataset
from lm_eval import evaluate
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from eval.benchmarks import TASKS_FOLDER
from eval.scoring.harness import FOLDER, definition

SEED = 0  # of drawn examples, both sides


class Drawn(LM):
    """Answers by a digest of what it is asked: another request gets another answer, the same always the same.

    "{0}" in a response is the right answer.
    """

    def __init__(self, responses=("",)):
        super().__init__()
        self.responses = responses

    def loglikelihood(self, requests, disable_tqdm=False):
        return [(-(_number(one.args) % 10_000) / 100, False) for one in requests]

    def generate_until(self, requests, disable_tqdm=False):
        found = []
        for one in requests:
            context, settings = one.args
            response = self.responses[_number(context) % len(self.responses)].replace("{0}", one.doc.get("target", ""))
            for stop in settings["until"]:
                response = response.split(stop)[0]
            found.append(response)
        return found

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


def _number(value):
    return int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:8])


@pytest.fixture(scope="module")
def data(shared):
    """The real files, for both sides."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SIT_EVAL_DATA", str(shared / "data" / "eval"))
        yield shared / "data" / "eval"


def ours(name):
    (task,) = TaskManager(include_path=[str(TASKS_FOLDER)], include_defaults=False).load([name])["tasks"].values()
    task.set_fewshot_seed(SEED)
    return task


def theirs(file, splits, num_fewshot=None):
    """The harness's task of `file`, with `splits` as its data."""
    config = load_yaml(FOLDER / file)
    config["custom_dataset"] = lambda **_: {name: Dataset.from_list(rows) for name, rows in splits.items()}
    config["num_fewshot"] = config.get("num_fewshot", 0) if num_fewshot is None else num_fewshot
    for name in ("include", "tag", "dataset_name", "group"):
        config.pop(name, None)
    task = ConfigurableTask(config=config)
    task.set_fewshot_seed(SEED)
    return task


def asked(task, limit=None):
    """All requests of each item, in the order of its choices: context and continuation, or context alone."""
    task.build_all_requests(limit=limit)
    found = {}
    for one in task.instances:
        found.setdefault(one.doc_id, []).append(one.args[: 2 if task.OUTPUT_TYPE == "multiple_choice" else 1])
    return list(found.values())


def scored(task, model, limit):
    """The logged items of a task, one an item, in the order of the data."""
    found = evaluate(
        lm=model,
        task_dict={"tasks": {task.task_name: task}, "groups": {}, "group_map": {}},
        limit=limit,
        bootstrap_iters=0,
    )
    (samples,) = found["samples"].values()
    return sorted(samples, key=lambda one: one["doc_id"])


# --- the data, in the form that the harness expects of the hub


def mmlu_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {
                "question": row["question"],
                "choices": [row[f"choice{number}"] for number in range(4)],
                "answer": int(row["answer"]),
            }
            for row in csv.DictReader(file)
        ]


def arc_rows(path):
    rows = []
    for number, row in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        question, choices, _ = (
            row["instruction"].removeprefix("Please choose the correct answer to the question: ").rsplit("\n\n", 2)
        )
        texts = re.split(r"Answer\d: ", choices)[1:]
        rows.append(
            {
                "id": str(number),
                "question": question,
                "choices": {"text": [text.rstrip() for text in texts], "label": list("ABCDE"[: len(texts)])},
                "answerKey": "ABCDE"[int(row["answer"][-1]) - 1],
            }
        )
    return rows


def mmlu_theirs(data, subject, num_fewshot):
    splits = {split: mmlu_rows(data / "mmlu" / split / f"{subject}_{split}.csv") for split in ("test", "dev")}
    return theirs(f"mmlu/default/mmlu_{subject}.yaml", splits, num_fewshot)


def bbh_theirs(data, name, form):
    rows = json.loads((data / "bbh" / "bbh" / f"{name}.json").read_text(encoding="utf-8"))["examples"]
    return theirs(f"bbh/{form}/{name}.yaml", {"test": rows}, 3)


def truthfulqa_theirs(data, name):
    """As the hub has the rows: choices and labels in two lists, free answers split at semicolons."""
    folder = data / "truthfulqa"
    if name == "truthfulqa_gen":
        with (folder / "TruthfulQA.csv").open(newline="", encoding="utf-8") as file:
            rows = [
                {
                    "question": row["Question"],
                    "correct_answers": row["Correct Answers"].split("; "),
                    "incorrect_answers": row["Incorrect Answers"].split("; "),
                }
                for row in csv.DictReader(file)
            ]
    else:
        raw = json.loads((folder / "data" / "mc_task.json").read_text(encoding="utf-8"))
        rows = [
            {
                "question": row["question"],
                **{f"mc{number}_targets": lists_of(row[f"mc{number}_targets"]) for number in (1, 2)},
            }
            for row in raw
        ]
    return theirs(f"truthfulqa/{name}.yaml", {"validation": rows})


def lists_of(answers):
    return {"choices": list(answers), "labels": list(answers.values())}


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def arc_theirs(data):
    splits = {split: arc_rows(data / "arc_challenge" / f"{split}.json") for split in ("test", "train")}
    return theirs("arc/arc_challenge.yaml", splits, 25)


@pytest.fixture(scope="module")
def hellaswag(data, tmp_path_factory):
    """The real rows, of which 700 play the training file; the folder, and the harness's task."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "hellaswag").mkdir()
    lines = (data / "hellaswag" / "hellaswag.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    splits = {"hellaswag": lines[:300], "hellaswag_train": lines[300:]}
    rows = {name: [json.loads(line) for line in part] for name, part in splits.items()}
    sources = {row["source_id"] for row in rows["hellaswag"]}
    rows["hellaswag_train"] = [row for row in rows["hellaswag_train"] if row["source_id"] not in sources]  # as released
    for name, part in rows.items():
        (folder / "hellaswag" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return folder, rows["hellaswag"], rows["hellaswag_train"]


def hellaswag_both(hellaswag, monkeypatch):
    folder, validation, train = hellaswag
    monkeypatch.setenv("SIT_EVAL_DATA", str(folder))
    return ours("hellaswag"), theirs("hellaswag/hellaswag.yaml", {"validation": validation, "train": train}, 10)


BBH = [name.removeprefix("bbh_cot_fewshot_") for name in definition("bbh/cot_fewshot/_bbh.yaml")["task"]]
FORMS = {"bbh_cot": ("cot_fewshot", "get-answer"), "bbh_direct": ("fewshot", "none")}
SAID = [
    "We add.\nSo the answer is {0}.",
    "That is so. So the answer is {0}. Then again, the answer is yes.",
    "Queen takes.\n So the answer is {0}.",
    "First.\n\nSo the answer is {0}.",
    "the answer is {0}",
    "the answer is {0}!",
    "So the answer is **{0}**.",
    "So the answer is {0}.\n\nQ: and?",
    "So the answer is 8.",
    "{0}",
    " {0}",
    "{0}\n\nQ: next",
    "No",
    "",
]


# --- what is asked


@pytest.mark.parametrize("shots", [0, 5])
def test_mmlu_asks_the_same(data, shots):
    own = ours(f"mmlu_{shots}shot")
    found = asked(own, limit=2 * 57)
    by_subject = {}
    for item, requests in zip(own.eval_docs, found, strict=False):
        by_subject.setdefault(item["subject"], []).append(requests)
    assert len(by_subject) == 57
    for subject, requests in by_subject.items():
        assert requests == asked(mmlu_theirs(data, subject, shots), limit=2), subject


def test_mmlu_has_every_question_of_every_subject(data):
    found = {}
    for item in ours("mmlu_0shot").eval_docs:
        found.setdefault(item["subject"], []).append({name: item[name] for name in ("question", "choices", "answer")})
    assert sum(map(len, found.values())) == 14_042
    assert found == {name: mmlu_rows(data / "mmlu" / "test" / f"{name}_test.csv") for name in found}


def test_the_categories_of_mmlu_are_the_harnesss(data):
    groups = {}
    for item in ours("mmlu_0shot").eval_docs:
        groups.setdefault(item["category"], set()).add(item["subject"])
    assert {name: len(subjects) for name, subjects in groups.items()} == {
        "stem": 19,
        "humanities": 13,
        "social_sciences": 12,
        "other": 13,
    }


def test_arc_asks_the_same(data):
    own = asked(ours("arc_challenge"))
    assert len(own) == 1172
    assert own[:40] == asked(arc_theirs(data), limit=40)
    assert {len(requests) for requests in own} == {3, 4, 5}


def test_hellaswag_asks_the_same_with_a_training_file(hellaswag, monkeypatch):
    own, other = hellaswag_both(hellaswag, monkeypatch)
    assert asked(own, limit=80) == asked(other, limit=80)


@pytest.mark.parametrize("name", ["truthfulqa_mc1", "truthfulqa_mc2", "truthfulqa_gen"])
def test_truthfulqa_asks_the_same(data, name):
    own = asked(ours(name))
    assert len(own) == 790 and own == asked(truthfulqa_theirs(data, name))


@pytest.mark.parametrize("name", FORMS)
def test_bbh_asks_and_scores_the_same(data, name):
    form, rule = FORMS[name]
    own = {}
    for one in scored(ours(name), Drawn(SAID), limit=4 * 27):
        own.setdefault(one["doc"]["task"], []).append(one)
    assert sorted(own) == sorted(BBH)
    right = 0
    for task in BBH:
        other = [one for one in scored(bbh_theirs(data, task, form), Drawn(SAID), limit=4) if one["filter"] == rule]
        assert [one["arguments"][0][0] for one in own[task]] == [one["arguments"][0][0] for one in other], task
        assert [one["lm_eval_match"] for one in own[task]] == [one["exact_match"] for one in other], task
        right += sum(one["exact_match"] for one in other)
    assert 0 < right < 4 * 27


# --- how it is scored


def assert_same_scores(own, other, metrics):
    assert [one["arguments"] for one in own] == [one["arguments"] for one in other]
    assert [[one[name] for name in metrics] for one in own] == [[one[name] for name in metrics] for one in other]
    assert len({tuple(one[name] for name in metrics) for one in own}) > 1


def first_of_each(data, count):
    """The harness's scores of the first question of the first `count` subjects of MMLU."""
    subjects = [item["subject"] for item in ours("mmlu_5shot").eval_docs.select(range(count))]
    return lambda model: [one for name in subjects for one in scored(mmlu_theirs(data, name, 5), model, limit=1)]


def both_ways(name, data, hellaswag, monkeypatch, count):
    """Our task and the harness's, as functions of a model that give scored items, and the metrics to compare."""
    if name == "mmlu":
        own, other = ours("mmlu_5shot"), first_of_each(data, count)
        return partial(scored, own, limit=count), other, ["acc"]
    own, other = (
        hellaswag_both(hellaswag, monkeypatch) if name == "hellaswag" else (ours("arc_challenge"), arc_theirs(data))
    )
    return partial(scored, own, limit=count), partial(scored, other, limit=count), ["acc", "acc_norm"]


@pytest.mark.parametrize("name", ["mmlu", "arc_challenge", "hellaswag"])
def test_choices_are_scored_the_same(name, data, hellaswag, monkeypatch):
    own, other, metrics = both_ways(name, data, hellaswag, monkeypatch, 30)
    assert_same_scores(own(Drawn()), other(Drawn()), metrics)


@pytest.mark.parametrize("name", ["truthfulqa_mc1", "truthfulqa_mc2"])
def test_truthfulqa_is_scored_the_same(data, name):
    assert_truthfulqa(data, name, Drawn(), None)


def assert_truthfulqa(data, name, model, limit):
    """But for items all of whose answers are so unlikely that the harness divides nought by nought."""
    own, other = (scored(task, model, limit) for task in (ours(name), truthfulqa_theirs(data, name)))
    assert [one["arguments"] for one in own] == [one["arguments"] for one in other]
    values = [(mine["acc"], one["acc"]) for mine, one in zip(own, other, strict=True) if not math.isnan(one["acc"])]
    assert len(values) > 0.7 * len(own) and len({round(mine, 6) for mine, _ in values}) > 1
    assert [mine for mine, _ in values] == pytest.approx([one for _, one in values], abs=1e-9)


@pytest.fixture(scope="module")
def miniature():
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(files("open_instruct.miniature") / "base"), batch_size=16, device="cpu", max_length=384)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mmlu", "arc_challenge", "hellaswag"])
def test_choices_of_a_real_model_are_scored_the_same(name, data, hellaswag, monkeypatch, miniature):
    own, other, metrics = both_ways(name, data, hellaswag, monkeypatch, 12)
    assert_same_scores(own(miniature), other(miniature), metrics)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["truthfulqa_mc1", "truthfulqa_mc2"])
def test_truthfulqa_of_a_real_model_is_scored_the_same(data, name, miniature):
    assert_truthfulqa(data, name, miniature, 24)


@pytest.mark.slow
def test_answers_of_a_real_model_to_bbh_are_scored_the_same(data, miniature):
    tasks = [ours("bbh_direct"), *(bbh_theirs(data, task, "fewshot") for task in sorted(BBH)[:4])]
    for task in tasks:
        task.set_config(key="generation_kwargs", value={"max_gen_toks": 16}, update=True)
    own = scored(tasks[0], miniature, limit=4)
    other = [one for task in tasks[1:] for one in scored(task, miniature, limit=1)]
    assert [one["resps"][0][0].split("Q")[0].split("\n\n")[0] for one in own] == [one["resps"][0][0] for one in other]
    assert [one["lm_eval_match"] for one in own] == [one["exact_match"] for one in other]


def test_ifeval_scores_the_same_and_a_response_has_one_score(data):
    """But for two prompts for which the harness draws what it checks (`score` in our task says why)."""
    said = [
        "**Yes.** Mr. Smith said so, on 3 May. <<Title>>\n\n* one\n* two\n\nP.S. bye [name]",
        "NO, IT IS NOT.",
        "ja, das ist so",
    ]
    own = ours("ifeval")  # first: it lays out what the harness's checkers would fetch
    other = theirs("ifeval/ifeval.yaml", {"train": rows_of(data / "ifeval" / "input_data.jsonl")})
    names = [f"{level}_level_{how}_acc" for level in ("prompt", "inst") for how in ("strict", "loose")]
    once, harness = (scored(task, Drawn(said), limit=None) for task in (own, other))
    drawn = [one["doc"] for one in once if one["doc"]["key"] in (1122, 1129)]
    scores = set()
    for seed in range(12):
        random.seed(seed)
        scores.add(repr([own.process_results(item, ["abcdefghijklm" * 6]) for item in drawn]))  # half of all letters
    assert len(drawn) == 2 and len(scores) == 1
    compared = [pair for pair in zip(once, harness, strict=True) if pair[1]["doc"]["key"] not in (1122, 1129)]
    assert len(compared) == 539
    for mine, one in compared:
        assert mine["arguments"][0][0] == one["arguments"][0][0]
        assert [mine[name] for name in names] == [one[name] for name in names]
    assert 0 < sum(one["prompt_level_strict_acc"] for one in once) < 541
