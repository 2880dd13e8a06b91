"""VQA accuracy as the official evaluation of VQAv2 counts it, and its normalisation of answers.

Source: the evaluation tools of the VQA authors (github GT-Vision-Lab/VQA, PythonEvaluationTools, commit c4e6a0e), whose
rules are told here in our words. One of them is easily missed: annotators' answers are rid of punctuation where they
differ from each other, but their articles, numbers and contractions stay as they are.
"""

import re
from collections.abc import Sequence

_PUNCTUATION = frozenset(';/[]"{}()=+\\_-><@`,?!')
_NUMBER_WITH_COMMA = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_MOST_PERIODS = 32  # that are taken away: a slip of the official code, kept so that figures are equal
_DIGITS = {"none": "0", "zero": "0"} | {
    word: str(number) for number, word in enumerate("one two three four five six seven eight nine ten".split(), start=1)
}
_ARTICLES = frozenset(("a", "an", "the"))
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
    what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
    wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're you've
""".split()


def _with_one_apostrophe_missing(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place, letter in enumerate(word) if letter == "'"]


# A word that lacks one of its apostrophes gets it back. (The one entry that takes one away is the official table's.)
_CONTRACTIONS = {written: word for word in _CONTRACTED for written in _with_one_apostrophe_missing(word)} | {
    "somebody'd": "somebodyd"
}


def vqa_accuracy(answer: str, annotators: Sequence[str]) -> float:
    """The official accuracy of one answer, from 0 to 1.

    Each annotator is left out in turn; the answer is worth a third for every one of the others who gave it, 1 at most;
    the mean over the annotators counts. With ten of them, three equal answers give 0.9, four give 1.

    Args:
        answer: the model's, as it wrote it.
        annotators: their answers, ten in VQAv2.
    """
    given = normalised(_one_line(answer))
    if len(set(annotators)) > 1:
        annotators = [without_punctuation(theirs) for theirs in annotators]
    same = [theirs == given for theirs in annotators]
    return sum(min(1.0, (sum(same) - own) / 3) for own in same) / len(same)


def normalised(answer: str) -> str:
    """An answer as it is compared: without punctuation, lower case, numbers as digits, no articles, contractions
    written with their apostrophes."""
    words = [_DIGITS.get(word, word) for word in without_punctuation(answer).lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def without_punctuation(text: str) -> str:
    """Each mark is taken away where it stands beside a space anywhere, or where the text holds a number with a comma;
    else it becomes a space. Periods go unless a digit follows them."""
    all_go = _NUMBER_WITH_COMMA.search(text) is not None
    goes = {mark: all_go or f"{mark} " in text or f" {mark}" in text for mark in _PUNCTUATION.intersection(text)}
    text = text.translate({ord(mark): "" if gone else " " for mark, gone in goes.items()})
    return _PERIOD.sub("", text, count=_MOST_PERIODS)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()
