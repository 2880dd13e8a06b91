"""Scores a stored answer to a question of CommonsenseQA, without a model and the data. Called by `eval.rescore`."""

from eval.scoring.choices import chosen_letter


def score_answer(response: str, answer: str) -> dict[str, float]:
    """`accuracy`: whether the letter that the response names, after any repetition of the choices, is the answer."""
    return {"accuracy": float(chosen_letter(response, dict.fromkeys("ABCDE", "")) == answer.strip())}
