# ruff: noqa: E501 (a row of data is easier read in few lines)
"""MBPP: both published formats, answers of several forms, and the task in the harness. The rows are our own."""

import importlib.util
import json
from pathlib import Path

import pytest

from eval import code_answers, sandbox
from eval.sandbox import Limits
from open_instruct.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
needs_walls = pytest.mark.skipif(bool(sandbox._problem()), reason=f"no sandbox here: {sandbox._problem()}")
PATIENT = Limits(seconds=30.0)  # for a machine that is busy


def row(number, text, code, tests, **more):
    """As in the published file, whose code has Windows line ends."""
    return {
        "text": text,
        "code": code.replace("\n", "\r\n"),
        "task_id": number,
        "test_setup_code": "",
        "test_list": tests,
        "challenge_test_list": [],
        **more,
    }


ROWS = [
    row(2, "Write a function to double a number.", "def double(x):\n\treturn 2 * x", ["assert double(2) == 4"]),
    row(3, "Write a function to negate a number.", "def negate(x):\n  return -x", ["assert negate(2) == -2"]),
    row(4, "Write a function to name the type of a number.", "def kind(x):\n  return 'int'", ["assert kind(2) == 'int'"]),
    row(11, "Write a function to sum a list.", "def total(xs):\n  return sum(xs)", ["assert total([1, 2]) == 3", "assert total([]) == 0"]),
    row(12, "Write a function for the set of common items.", "def common(a, b):\n  return tuple(set(a) & set(b))",
        ["assert set(common((1, 2), (2, 3))) == set((2,))"]),
    row(13, "Write a function to find the depth of a list of nodes.",
        "class Node:\n  def __init__(self, data):\n    self.data = data\n    self.next = None\ndef depth(node):\n"
        "  return 0 if node is None else 1 + depth(node.next)",
        ["assert depth(root) == 2", "assert depth(root.next) == 1"], test_setup_code="root = Node(1)\r\nroot.next = Node(2)"),
    row(14, "Write a function to take a root.", "import math\ndef root(x):\n  return math.sqrt(x)",
        ["assert math.isclose(root(2), 1.4142135, rel_tol=1e-6)"]),
    row(511, "Write a function of the next split.", "def other():\n  return 1", ["assert other() == 1"]),
]  # fmt: skip


@pytest.fixture
def data(tmp_path, monkeypatch):
    (tmp_path / "mbpp").mkdir()
    (tmp_path / "mbpp" / "mbpp.jsonl").write_text("".join(json.dumps(one) + "\n" for one in ROWS))
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    return tmp_path / "mbpp"


def problems():
    """The task's module, as lm_eval loads it: by its path."""
    spec = importlib.util.spec_from_file_location("mbpp_problems", ROOT / "eval/tasks/mbpp/problems.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_walls
def test_solutions_of_the_data_pass_and_wrong_ones_do_not(data):
    module = problems()
    splits = module.items("mbpp/mbpp.jsonl")
    assert [one["task_id"] for one in splits["prompt"]] == [2, 3, 4]
    tests = list(splits["test"])
    assert [one["task_id"] for one in tests] == [11, 12, 13, 14]
    codes = {one["task_id"]: one["code"] for one in ROWS}
    right = sandbox.run([module.case(one, codes[one["task_id"]]) for one in tests], PATIENT)
    assert [one for one in right if not one.passed] == []
    wrong = [codes[one["task_id"]].replace("return ", "return None and ") for one in tests]
    assert [one.passed for one in sandbox.run(list(map(module.case, tests, wrong)), PATIENT)] == [False] * 4


@needs_walls
def test_a_module_that_the_tests_name_is_not_the_programs(data):
    module = problems()
    (one,) = [one for one in module.items("mbpp/mbpp.jsonl")["test"] if one["task_id"] == 14]
    cheat = "class math:\n  isclose = staticmethod(lambda *a, **k: True)\ndef root(x): return 0.0"
    (found,) = sandbox.run([module.case(one, cheat)], PATIENT)
    assert found == sandbox.Verdict(False, "failed: AssertionError: ")


@needs_walls
def test_the_sanitized_format_is_read(data):
    rows = [
        {"source_file": "x", "task_id": number, "prompt": "Write a function.", "code": "def f(x):\n  return math.pi",
         "test_imports": ["import math"], "test_list": ["assert math.isclose(f(1), math.pi)"]}
        for number in (2, 3, 4, 11)
    ]  # fmt: skip
    (data / "sanitized-mbpp.json").write_text(json.dumps(rows))
    (one,) = problems().items("mbpp/sanitized-mbpp.json")["test"]
    assert (one["name"], one["names"]) == ("f", ["f"]) and "import math" in one["tests"]
    found = sandbox.run(
        [problems().case(one, f"import math\n{rows[0]['code']}"), problems().case(one, "f = abs")], PATIENT
    )
    assert [one.passed for one in found] == [True, False]


@needs_walls
def test_answers_of_several_forms_are_read(data):
    code = "import math\n\ndef total(xs):\n    return math.fsum(xs)"
    forms = {
        "bare": code,
        "published marks": f"{code}\n[DONE]",
        "fenced": f"```python\n{code}\n```",
        "fenced with prose": f"Sure!\n\n```python\n{code}\n```\nIt's a sum. For example:\n```\ntotal([1])\n```",
        "cut off": f"Sure!\n```python\n{code}",
        "prose": f"Here you are:\n\n{code}\n\nIt's a sum, isn't it?",
        "with tests": f"```python\n{code}\n\nassert total([1, 2]) == 3\n```",
        "an example first": f"Use it as\n```python\nprint(total([1]))\n```\nThe code:\n```python\n{code}\n```",
        "lambda": "total = lambda xs: sum(xs)",
    }
    module = problems()
    (one,) = [one for one in module.items("mbpp/mbpp.jsonl")["test"] if one["task_id"] == 11]
    found = sandbox.run([module.case(one, code_answers.written("total", text)) for text in forms.values()], PATIENT)
    assert {name: one for name, one in zip(forms, found, strict=True) if not one.passed} == {}
    texts = ["", "I cannot.", "```\n```", "def other(xs): return sum(xs)", "total"]
    found = sandbox.run([module.case(one, code_answers.written("total", text)) for text in texts], PATIENT)
    assert [one.passed for one in found] == [False] * len(texts)


@needs_walls
@pytest.mark.parametrize(("task", "chat"), [("mbpp_pass10", True), ("mbpp_completion_pass10", False)])
def test_the_task_runs_in_the_harness(task, chat, data):
    from lm_eval import evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    asked = []

    class Answering(LM):
        """Right for the list's sum in every second answer, wrong elsewhere."""

        tokenizer_name = "none"

        def generate_until(self, requests, disable_tqdm=False):
            asked.extend(request.args for request in requests)
            code = "def total(xs):\n    return sum(xs)"
            right = f"```python\n{code}\n```" if chat else f"{code}\n"
            return [
                right
                if "to sum a list" in request.args[0].split("Write")[-1] + request.args[0][-300:] and place % 2
                else "pass"
                for place, request in enumerate(requests)
            ]

        def apply_chat_template(self, chat_history, add_generation_prompt=True):
            turns = "".join(f"<{turn['role']}>{turn['content']}" for turn in chat_history)
            return turns + "<assistant>" * add_generation_prompt

        def loglikelihood(self, requests):
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    loaded = TaskManager(include_path=str(ROOT / "eval" / "tasks"), include_defaults=False).load([task])
    found = evaluate(
        lm=Answering(), task_dict=loaded, bootstrap_iters=0, apply_chat_template=chat, fewshot_as_multiturn=chat
    )
    samples = {one["doc"]["task_id"]: one for one in found["samples"][task]}
    assert len(asked) == 4 * 20
    assert samples[11]["pass_at_10"] == pytest.approx(code_answers.pass_at_k(20, 10, 10))
    assert [samples[number]["pass_at_10"] for number in (12, 13, 14)] == [0.0] * 3
    prompt, settings = asked[0]
    assert settings["temperature"] == 0.8 and settings["top_p"] == 0.95
    assert prompt.index("double") < prompt.index("negate") < prompt.index("kind") < prompt.index("to sum a list")
    if chat:
        assert prompt.count("<user>") == 4 and prompt.count("```python") == 3 and prompt.endswith("<assistant>")
        assert "[BEGIN]" not in prompt and not settings["until"]
    else:
        assert prompt.count("[BEGIN]\n") == 3 and prompt.count("[DONE]") == 3 and prompt.endswith("[BEGIN]")
        assert settings["until"] == ["[DONE]"]


@pytest.mark.parametrize(
    ("change", "told"),
    [({"test_list": []}, "'test_list'"), ({"code": None}, "'code'"), ({"test_list": ["assert ("]}, "no Python"),
     ({"test_list": ["assert True"]}, "call no function")],
)  # fmt: skip
def test_what_is_no_problem_is_told(change, told, data, monkeypatch):
    monkeypatch.setattr(sandbox, "require", lambda: None)
    (data / "mbpp.jsonl").write_text(json.dumps(ROWS[0]) + "\n" + json.dumps({**ROWS[1], **change}) + "\n")
    with pytest.raises(UserError, match=f"mbpp.jsonl:2: .*{told}"):
        problems().items("mbpp/mbpp.jsonl")


def test_missing_data_and_examples_are_told(data, monkeypatch):
    monkeypatch.setattr(sandbox, "require", lambda: None)
    with pytest.raises(UserError, match="evaluation data is not there"):
        problems().items("mbpp/other.jsonl")
    (data / "mbpp.jsonl").write_text(json.dumps(ROWS[3]) + "\n")
    with pytest.raises(UserError, match="not the tasks 2, 3 and 4"):
        problems().items("mbpp/mbpp.jsonl")
