"""Takes a model's response apart: the description it gave, and its answer. Evaluation and the metrics use it."""

import re
from dataclasses import dataclass

_ANSWER = re.compile(r"\banswer\s*:", re.IGNORECASE)
_DESCRIPTION = re.compile(r"\bdescription\s*:", re.IGNORECASE)


@dataclass(frozen=True)
class Parts:
    """A response taken apart.

    Attributes:
        description: what stands between "Description:" and the last "Answer:", or the end; "" where it says neither
            first.
        answer: what stands after the last "Answer:"; all of a response without that mark.
        followed: whether a description came first and an answer after it, both with text.
    """

    description: str
    answer: str
    followed: bool


def parts_of(response: str) -> Parts:
    """The description and the answer. A response that is cut off inside its description has no answer: "".

    The last "Answer:" counts, since a description may hold the word; only the first line after it is the answer, what
    a model goes on to write is not.
    """
    marks = list(_ANSWER.finditer(response))
    opening = _DESCRIPTION.search(response)
    if not marks:
        if opening:
            return Parts(response[opening.end() :].strip(), "", False)
        return Parts("", _first_line(response), False)
    last = marks[-1]
    answer = _first_line(response[last.end() :])
    before = response[: last.start()]
    opening = _DESCRIPTION.search(before)
    description = before[opening.end() :].strip() if opening else ""
    return Parts(description, answer, bool(description and answer))


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "").strip()
