"""What an instruction asks for, in two words: its root verb and the object of it ("write", "story").

Called by `survey.py` for the picture of verbs and objects that self-instruct introduced (arXiv 2212.10560, figure 2).
There a parser of whole sentences finds them. Here HanTa tags the words, whose English model comes with its package and
knows base forms (tags of the British National Corpus), and a few rules about English orders do the rest. It reads
English only, and what it cannot place it leaves out: the report says how much that is.
"""

import re
from functools import cache, lru_cache
from typing import Any

_WORDS = re.compile(r"\w+(?:[-’']\w+)*|[^\w\s]")
_READ = 300  # characters: what is asked stands at the beginning, or is lost on this method
_MOST_WORDS = 40
_BASE_FORMS = ("VVB", "VVI", "VDB", "VDI", "VHB", "VHI")  # "write" as an order, or after "to" and "can"
_BEFORE_AN_ORDER = ("PUN", "PUQ", "PUL", "PUR", "CJC", "ITJ", "UNC")  # a clause begins after them
_BEFORE_ITS_NOUN = (
    *("AT0", "AJ0", "AJC", "AJS", "CRD", "ORD", "DPS", "DT0", "AV0", "PNP", "PNI", "VVG", "VVN", "POS"),
    "AVP",  # "leave out the last item"
    *("CJC", "PUQ"),  # "a quick and easy way"
)
_NOUNS = ("NN0", "NN1", "NN2", "NP0")
_TAKEN_FOR_A_VERB = ("VVB", "VVI", "VVZ")
_AFTER_A_VERB = ("AT0", "DPS", "DT0", "CRD")  # "name the ...", "list five ...": an order, though "name" may be a noun
_POLITE = {"please", "kindly", "then", "first", "firstly", "next", "now", "also", "finally", "lastly"}
_LEAD_IN = re.compile(  # "1. Write ...", "Task: Please write ..."
    r"^\W*(?:(?:step|task|part) ?)?\d{0,2}[.:)]?\s*(?:(?:please|kindly|first|firstly|now|then)\b[,:]?\s*)*",
    re.IGNORECASE,
)


@lru_cache(maxsize=10_000)  # some sets ask in few words, again and again
def root_verb(instruction: str) -> tuple[str, str | None] | None:
    """The base forms of the first verb in it that asks for something, and of its direct object, in lower case.

    Returns:
        (verb, object); the object is None where the verb has none ("explain why ..."); None without a verb.
    """
    words = _WORDS.findall(_LEAD_IN.sub("", instruction, count=1)[:_READ])[:_MOST_WORDS]
    if not words:
        return None
    tagged = _tagger().tag_sent(words)
    for place, (word, lemma, tag) in enumerate(tagged):
        if _asks(tagged, place):
            verb = lemma.lower() if tag in _BASE_FORMS else word.lower()
            return (verb, _object(tagged[place + 1 :])) if verb.isalpha() else None
    return None


def _asks(tagged: list[tuple[str, str, str]], place: int) -> bool:
    word, _, tag = tagged[place]
    before = tagged[place - 1] if place else ("", "", "PUN")
    opens = before[2] in _BEFORE_AN_ORDER or before[0].lower() in _POLITE
    opens = opens or place == 1 and before[2] == "AV0"  # "Briefly describe ..."
    if tag in ("VVI", "VDI", "VHI"):
        return True
    if tag in _BASE_FORMS:
        return opens
    following = tagged[place + 1][2] if place + 1 < len(tagged) else ""
    return opens and tag in ("NN1", "AJ0", "VVN", "VVD") and following in _AFTER_A_VERB and word.lower() != "given"


def _object(tagged: list[tuple[str, str, str]]) -> str | None:
    """The last noun of the first run of nouns, if only words that belong to a noun stand before it."""
    found = adjective = None
    before = ""
    for word, lemma, tag in tagged:
        if tag in _NOUNS and word[0].isalpha():
            found = word if tag == "NP0" else lemma
        elif not found and before in ("AT0", "DPS", "DT0") and tag in _TAKEN_FOR_A_VERB:
            found = word  # "a tweet", "the prompt": no verb follows an article
        elif found or tag not in _BEFORE_ITS_NOUN:
            break
        adjective = word if tag == "AJ0" and before == "AT0" else None
        before = tag
    found = found or adjective  # "a graphic of ...": with nothing behind it, the adjective was a noun
    return found.lower() if found else None


@cache
def _tagger() -> Any:
    from HanTa import HanoverTagger  # a fifth of a second for its model: only what draws the picture pays it

    return HanoverTagger.HanoverTagger("morphmodel_en.pgz")
