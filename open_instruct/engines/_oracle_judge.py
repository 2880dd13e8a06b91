"""The oracle as judge: it knows the right answer to every instruction of the miniature world, line by line.

It is shown what the prompts of `eval/judges` show between tags, or two answers as the `alpaca_eval` package shows them,
and answers in the form that is asked for. A task of the miniature counts as done where its line is right.

Of any other instruction it knows nothing and goes by length: a sentence of it is a task, done when the response has as
many sentences, and the longer of two responses is better. Of an answer to TruthfulQA's questions it sees whether the
words of a known answer stand in it. That runs all of a judge's path; its figures mean nothing.
"""

import json
import re

from open_instruct.miniature.world import read_instruction, solve

_MOST_TASKS = 50
_GRADE_A_TASK = 1.5  # above 1, the grade of a single task: so two tasks are at 2.5, three at 4


def judges(asked: str) -> bool:
    """Whether a request wants responses judged."""
    if "<question>" in asked and "<known_answers>" in asked:
        return True
    shown = ("<response>", "<first_response>", "<output>")
    return "<instruction>" in asked and any(tag in asked for tag in shown) or _is_alpaca(asked)


def verdict(asked: str, rules: str) -> str:
    """The verdict on what is shown, in the form that the rules ask for."""
    if _is_alpaca(asked):
        return _ranking(asked)
    if "<question>" in asked:
        return _truth(_between(asked, "known_answers"), _between(asked, "response"))
    if "<response>" not in asked and "<first_response>" not in asked:
        return _grades(asked)
    instruction, _, words = _between(asked, "instruction").partition("\n")
    answers = solve(instruction, words.split()) if words.strip() else None
    if "<first_response>" in asked:
        responses = [_between(asked, name) for name in ("first_response", "second_response")]
        first, second = (_score(response, answers) for response in responses)
        return json.dumps({"first": first, "second": second})
    response = _between(asked, "response")
    if answers is None:
        names = _sentences(_between(asked, "instruction"))[:_MOST_TASKS] or ["nothing"]
        done = [place < len(_sentences(response)) for place in range(len(names))]
    else:
        names, done = list(read_instruction(instruction) or ()), _done(response, answers)
    quality = 1 + round(4 * sum(done) / len(done))
    if "[[Yes" in rules:
        return f"[[{'Yes' if all(done) else 'No'}, {quality}]]"
    tasks = [{"task": name[:60], "done": right} for name, right in zip(names, done, strict=True)]
    return json.dumps({"tasks": tasks, "following": all(done), "quality": quality}, ensure_ascii=False)


def _truth(known: str, response: str) -> str:
    """True where no known false answer stands in the response; informative where a known answer does."""
    answers = {
        label.strip(): [one.strip(" .").lower() for one in rest.split(";") if one.strip(" .")]
        for label, _, rest in (line.partition(":") for line in known.splitlines())
    }
    true, false = (any(one in response.lower() for one in answers.get(label, [])) for label in ("true", "false"))
    return json.dumps({"truthful": not false, "informative": true or false})


def _score(response: str, answers: list[str] | None) -> int:
    """From 1 to 10."""
    if answers is None:
        return 1 + min(9, len(response) // 200)
    done = _done(response, answers)
    return 1 + round(9 * sum(done) / len(done))


def _done(response: str, answers: list[str]) -> list[bool]:
    lines = [line.strip() for line in response.split("\n") if line.strip()]
    return [place < len(lines) and lines[place] == answer for place, answer in enumerate(answers)]


def _is_alpaca(asked: str) -> bool:
    return '"model": "model_1"' in asked and '"model": "model_2"' in asked


def _ranking(asked: str) -> str:
    """The list that alpaca_eval's prompt wants: the longer answer has rank 1."""
    _, first, second = re.split(r'"model": "model_[12]",\s*"answer": """', asked)[-3:]
    ranks = (1, 2) if len(first.partition('"""')[0]) >= len(second.partition('"""')[0]) else (2, 1)
    return str([{"model": f"model_{number}", "rank": rank} for number, rank in enumerate(ranks, start=1)])


def _grades(asked: str) -> str:
    """How hard a row is: by the tasks of its instruction, and by the lines or sentences of its output."""
    instruction, output = (_between(asked, name) for name in ("instruction", "output"))
    tasks = read_instruction(instruction) or _sentences(instruction)
    lines = [sentence for line in output.split("\n") for sentence in _sentences(line)]
    difficulty, step = (min(5.0, 1 + _GRADE_A_TASK * (max(len(found), 1) - 1)) for found in (tasks, lines))
    return f"Difficulty: {difficulty:g}\nStep: {step:g}"


def _between(text: str, tag: str) -> str:
    found = re.search(rf"<{tag}>\n(.*?)\n</{tag}>", text, re.DOTALL)
    return found[1] if found else ""


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.?!])\s+", text.strip()) if part]
