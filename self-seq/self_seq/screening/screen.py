"""Which rows of an instruction set to leave out before any is asked: those of evaluation sets, and near-duplicates.

`generate` calls `screen` on the input; what is dropped, and why, is listed with the rejected rows.
"""

from collections.abc import Iterable
from typing import Any

from self_seq.screening.contamination import Contamination
from self_seq.screening.duplicates import Duplicates


def screen(
    rows: Iterable[tuple[int, str]],
    threshold: float | None = 0.8,
    evaluation: Contamination | None = None,
    total: int | None = None,
) -> dict[int, dict[str, Any]]:
    """The rows to drop, by row number.

    Args:
        rows: (row number, prompt), in the order in which the first of a group of duplicates is kept; read once.
        threshold: the similarity from which on a row repeats another (see `Duplicates`); None: repeats are kept.
        evaluation: the sets that must not be trained on; None: not looked for.
        total: how many rows there are, for the progress bar.

    Returns:
        {"reason": a fixed phrase, "detail": ...} each. A row of an evaluation set has {"where", "words"} as detail, and
        one that repeats another row {"row", "similarity"}. A row of an evaluation set makes no other row a repeat.
    """
    from tqdm import tqdm

    dropped: dict[int, dict[str, Any]] = {}
    duplicates = Duplicates(threshold) if threshold is not None else None
    for number, text in tqdm(rows, desc="screening", total=total, unit=" rows"):
        if evaluation and (found := evaluation.find(text)):
            where, words = found
            dropped[number] = {
                "reason": "shares text with an evaluation set",
                "detail": {"where": where, "words": words},
            }
        elif duplicates:
            duplicates.add(number, text)
    if duplicates:
        for number, (kept, similarity) in duplicates.found().items():
            reason = "repeats another row" if similarity == 1 else "nearly repeats another row"
            dropped[number] = {"reason": reason, "detail": {"row": kept, "similarity": round(similarity, 4)}}
    return dict(sorted(dropped.items()))
