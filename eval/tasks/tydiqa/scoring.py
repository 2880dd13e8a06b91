"""Scores a stored answer to a question of TyDiQA, without a model and without the data. Called by `eval.rescore`."""

from eval.scoring import spans
from eval.scoring.sequence import first_line


def score_answer(response: str, answer: str | list[str]) -> dict[str, float]:
    """`containment`, `f1` and `exact_match` of the response's first line.

    Args:
        response: the answer.
        answer: the right answer, or several.
    """
    return spans.scores(first_line(response), [answer] if isinstance(answer, str) else answer)
