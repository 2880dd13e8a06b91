"""How near a description is to the references that people wrote: BLEU-4 and ROUGE-L, one figure a description."""

from collections.abc import Sequence
from functools import cache
from typing import Any


def bleu(description: str, references: Sequence[str]) -> float:
    """Sentence BLEU-4 (Papineni et al. 2002) against all references at once, from 0 to 1.

    sacreBLEU's, lower case, with exponential smoothing, so that a short description without a common 4-gram is not
    nothing. The mean over descriptions is not corpus BLEU.
    """
    return min(1.0, _bleu().sentence_score(description, list(references)).score / 100)


def rouge_l(description: str, references: Sequence[str]) -> float:
    """ROUGE-L F1 (Lin 2004), of the reference that is nearest, from 0 to 1."""
    return max(_rouge().score(reference, description)["rougeL"].fmeasure for reference in references)


@cache
def _bleu() -> Any:
    from sacrebleu.metrics import BLEU  # imported when first needed: half a second

    return BLEU(lowercase=True, effective_order=True)


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"])
