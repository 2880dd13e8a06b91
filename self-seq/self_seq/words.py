"""The words of a text, and its scripts, as `checks` and `screening` compare them: without case, width and punctuation.

Languages that put no spaces between words (Chinese, Japanese, Thai, ...) count each character as a word.
"""

import re
import unicodedata
from collections import Counter

_UNSPACED = (  # Thai, Lao, Tibetan, Burmese, Khmer, kana, CJK ideographs and their extensions
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003134f"
)
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_ONE_CHARACTER = re.compile(f"[{_UNSPACED}]")


def words(text: str) -> list[str]:
    """The words of a text in their order: "Don’t panic, 世界!" gives don, t, panic, 世, 界."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def unspaced_share(tokens: list[str]) -> float:
    """How many of the words are characters of a language without spaces: from 0 to 1."""
    return sum(bool(_ONE_CHARACTER.match(token)) for token in tokens) / max(len(tokens), 1)


def scripts(text: str) -> dict[str, float]:
    """The share of each script among the words: {"LATIN": 0.9, "GREEK": 0.1}; {} where no word has letters.

    Counted by words and not by letters, since one ideograph says as much as a whole Latin word. Kanji and kana count
    as one script, since Japanese mixes them.
    """
    counts = Counter(_script(token[0]) for token in words(text) if token[0].isalpha())
    return {script: count / counts.total() for script, count in counts.most_common()}


def _script(letter: str) -> str:
    script = unicodedata.name(letter, "UNKNOWN").partition(" ")[0]
    return "CJK" if script in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA") else script
