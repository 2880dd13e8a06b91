"""The oracle as judge: it knows the right answer to every instruction of the miniature world, line by line.

It is shown what the prompts of `eval/judges` show, between tags, and answers in the form that their rules ask for. A
task counts as done where its line is right.
"""

import json
import re

from open_instruct.miniature.world import read_instruction, solve


def judges(asked: str) -> bool:
    """Whether a request wants responses judged."""
    return "<instruction>" in asked and ("<response>" in asked or "<first_response>" in asked)


def verdict(asked: str, rules: str) -> str | None:
    """The verdict on what stands between the tags; None where the instruction is not of the miniature world."""
    instruction, _, words = _between(asked, "instruction").partition("\n")
    answers = solve(instruction, words.split()) if words.strip() else None
    if answers is None:
        return None
    if "<first_response>" in asked:
        shares = [_done(_between(asked, name), answers) for name in ("first_response", "second_response")]
        first, second = (1 + round(9 * sum(done) / len(done)) for done in shares)
        return json.dumps({"first": first, "second": second})
    done = _done(_between(asked, "response"), answers)
    quality = 1 + round(4 * sum(done) / len(done))
    if "[[Yes" in rules:
        return f"[[{'Yes' if all(done) else 'No'}, {quality}]]"
    tasks = [
        {"task": name, "done": right} for name, right in zip(read_instruction(instruction) or (), done, strict=True)
    ]
    return json.dumps({"tasks": tasks, "following": all(done), "quality": quality})


def _between(text: str, tag: str) -> str:
    found = re.search(rf"<{tag}>\n(.*?)\n</{tag}>", text, re.DOTALL)
    return found[1] if found else ""


def _done(response: str, answers: list[str]) -> list[bool]:
    lines = [line.strip() for line in response.split("\n") if line.strip()]
    return [place < len(lines) and lines[place] == answer for place, answer in enumerate(answers)]
