"""An answer that is a few words of text: XQuAD and TyDiQA.

`exact_match` and `f1` are those of SQuAD's official script (Rajpurkar et al., 2016), which was made for English: it
takes off ASCII punctuation and English articles, and words are what spaces part. In Chinese or Thai its F1 is nearly
exact match; `containment` is there for these, and for answers in whole sentences.
"""

import re
import string
import unicodedata
from collections import Counter

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Scripts with spaces between words; others join words (Chinese), or prefixes and endings to them (Arabic, Korean).
_WORD_SCRIPTS = {"LATIN", "GREEK", "CYRILLIC"}


def scores(answer: str, right: list[str]) -> dict[str, float]:
    """`containment`, `f1` and `exact_match` of an answer, each from 0 to 1.

    Args:
        answer: what the model answered, without what stands around it.
        right: the right answers, at least one.
    """
    return {
        "containment": containment(answer, right),
        "f1": f1(answer, right),
        "exact_match": exact_match(answer, right),
    }


def normalised(text: str) -> str:
    """Small letters, no ASCII punctuation, no English articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(answer: str, right: list[str]) -> float:
    """1.0 where the answer equals one of the right ones, both normalised."""
    return float(normalised(answer) in map(normalised, right))


def f1(answer: str, right: list[str]) -> float:
    """Harmonic mean of precision and recall of the answer's words; the best over the right answers.

    Where neither has a word left ("the" and "The."), 1.0: as in SQuAD 2.0's script and torchmetrics.
    """
    return max(_f1(normalised(answer).split(), normalised(one).split()) for one in right)


def containment(answer: str, right: list[str]) -> float:
    """1.0 where a right answer stands in the answer or the answer in a right one; never for an empty answer.

    No match may cut a word or a number: "5" is not in "1945".
    """
    said = _plain(answer)
    return float(any(_stands_in(one, said) or _stands_in(said, one) for one in map(_plain, right)))


def _f1(answer: list[str], right: list[str]) -> float:
    if not answer or not right:
        return float(answer == right)
    same = sum((Counter(answer) & Counter(right)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(answer), same / len(right)
    return 2 * precision * recall / (precision + recall)


def _plain(text: str) -> str:
    """Normalised, and without the punctuation of other scripts around it, such as the Chinese full stop."""
    found = normalised(unicodedata.normalize("NFKC", text))
    start, end = 0, len(found)
    while start < end and unicodedata.category(found[start])[0] in "PZ":
        start += 1
    while end > start and unicodedata.category(found[end - 1])[0] in "PZ":
        end -= 1
    return found[start:end]


def _stands_in(part: str, whole: str) -> bool:
    if not part:
        return False
    start = whole.find(part)
    while start >= 0:
        end = start + len(part)
        cuts = [(start - 1, start)] * (start > 0) + [(end - 1, end)] * (end < len(whole))
        if not any(_of_one_word(whole[left], whole[right]) for left, right in cuts):
            return True
        start = whole.find(part, start + 1)
    return False


def _of_one_word(left: str, right: str) -> bool:
    if left.isdecimal() and right.isdecimal():
        return True
    return all(one.isalnum() and unicodedata.name(one, "").split(" ")[0] in _WORD_SCRIPTS for one in (left, right))
