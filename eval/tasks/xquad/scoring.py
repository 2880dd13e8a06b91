"""Scores a stored answer to a question of XQuAD, without a model and without the data. Called by `eval.rescore`."""

from eval.scoring import spans
from eval.scoring.sequence import split_answer


def score_answer(response: str, answer: str | list[str]) -> dict[str, float]:
    """`containment`, `f1` and `exact_match` of the response's answer, and `follow`: whether it is marked as one.

    Args:
        response: a translation and the answer, or the answer alone.
        answer: the right answer, or several.
    """
    _, said, marked = split_answer(response)
    return spans.scores(said, [answer] if isinstance(answer, str) else answer) | {"follow": float(marked)}
