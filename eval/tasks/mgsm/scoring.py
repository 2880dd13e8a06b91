"""Scores a stored answer to a question of MGSM, without a model and without the data. Called by `eval.rescore`."""

from eval.scoring.numbers import number_match


def score_answer(response: str, answer: str | int | float) -> dict[str, float]:
    """`exact_match`: whether the response's last number is the answer."""
    return {"exact_match": number_match(response, answer)}
