"""Scores an answer to a question of BBH, without a model and without the data. Called by the task and `eval.rescore`.

The rule of Tulu v1 (arXiv 2306.04751): what follows the first "So the answer is", else all of the response, equals the
answer but for case and punctuation. Ours differs in that: the full stop may be missing; "-5" is not "5"; brackets are
compared where the answer is nothing else (theirs takes any bracket for the right one); without the phrase the first
line counts, and what follows it does not.
"""

import re
import string

from eval.scoring.sequence import first_line

_ANSWER = re.compile(r"So the answer is:?\s+(.*?)(?:\.(?!\d)|\n|$)")
_PUNCTUATION = re.compile(rf"(?!-\d)[{re.escape(string.punctuation)}]")


def score_answer(response: str, answer: str) -> dict[str, float]:
    """`exact_match`: whether the response's answer is the right one."""
    found = _ANSWER.search(response)
    said = found[1] if found else first_line(response)
    return {"exact_match": float(_plain(said, answer) == _plain(answer, answer))}


def _plain(text: str, right: str) -> str:
    """Small letters without punctuation, single spaces; without spaces where the right answer is all punctuation."""
    if not _PUNCTUATION.sub("", right).strip():
        return "".join(text.split())
    return " ".join(_PUNCTUATION.sub("", text).lower().split())
