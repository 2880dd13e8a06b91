"""The numbers of a text, in digits of any script and in words, and whether another text still holds them.

Called by `rewrites.py`. Lenient about form: "1,000", "1000" and "one thousand" are one number, "25 %" and
"25 percent" too.
"""

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

from self_seq.words import words


class Number:
    """A number of a text.

    Attributes:
        text: as it stands there.
        readings: what it may mean, each a set of values that must all be there: "1,000" is {1000}, or {1}; "1,5" is
            {3/2}, or {1, 5}, a list.
        in_date: part of a date in digits, which may be told by the month's name and the whole year.
    """

    __slots__ = ("text", "readings", "in_date")

    def __init__(self, text: str, readings: list[set[Fraction]], in_date: bool = False) -> None:
        self.text, self.readings, self.in_date = text, readings, in_date


# In digits of any script; the groups of thousands first. Arabic has its own marks for both.
_DIGITS = re.compile(r"\d{1,3}(?:[,.'’٬\u00a0\u202f ]\d{3})+(?!\d)|\d+(?:[.,٫]\d+)?")
_SCALE = re.compile(r"\s?(k|thousand|million|billion|trillion|mio|mrd|lakh|crore|m|bn)\b", re.IGNORECASE)
_SCALES = {"k": 10**3, "thousand": 10**3, "million": 10**6, "mio": 10**6, "m": 10**6, "lakh": 10**5, "crore": 10**7}
_SCALES |= {"billion": 10**9, "mrd": 10**9, "bn": 10**9, "trillion": 10**12}
_DATE = re.compile(r"(?<!\d)(?:\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|\d{4}[./-]\d{1,2}[./-]\d{1,2})(?!\d)")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MARKER = re.compile(r"(?:^|(?<=[\s(\[;]))(\d{1,2})\s?(?:[)\]]\.?|[.:])(?=\s|$)", re.MULTILINE)

_MOST_DIGITS = 300  # more are no number that anybody reads; Python refuses to read 4,300
_ENTITY = re.compile(r"&?#\d{1,4};")  # what is left of "&#39;", an apostrophe

_ENGLISH = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_TENS = "ten twenty thirty forty fifty sixty seventy eighty ninety".split()
_CARDINALS = dict(zip(_ENGLISH, range(1, 21), strict=True)) | dict(zip(_TENS, range(10, 100, 10), strict=True))
_MULTIPLES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_OTHER_WORDS = [  # words that tell a number too: where one stands, the digits are not missing
    ("zero none no null keine cero zéro ноль 零 〇".split(), 0),
    ("once first single eins uno primero premier один одна одно 一".split(), 1),
    ("twice second double both pair couple zwei zweite dos segundo deux deuxième два две второй 二 两 兩".split(), 2),
    ("thrice third triple trio drei dritte tres tercero trois troisième три 三".split(), 3),
    ("fourth quadruple quarter quarters vier cuatro quatre четыре 四".split(), 4),
    ("fifth fünf cinco cinq пять 五".split(), 5),
    ("sixth sechs seis шесть 六".split(), 6),
    ("seventh sieben siete sept семь 七".split(), 7),
    ("eighth acht ocho huit восемь 八".split(), 8),
    ("ninth neun nueve neuf девять 九".split(), 9),
    ("tenth zehn diez dix decade десять 十".split(), 10),
    ("elf onze".split(), 11),
    ("dozen dozens zwölf doce douze dutzend docena douzaine".split(), 12),
    ("century centuries hundert cien ciento cent сто 百".split(), 100),
    ("tausend mil mille тысяча 千".split(), 1000),
]
_NUMBER_WORDS = _CARDINALS | {word: value for words_, value in _OTHER_WORDS for word in words_} | _MULTIPLES
# A text that says "one of them" or "the two" may be put in many ways; from three on, a word is as good as a digit.
_LEAST_WORD = 3


def numbers(text: str) -> list[Number]:
    """The numbers of a text, in digits, and in English words from three on.

    Left out: the marks of a list ("1. ... 2. ..."), and a single digit that is part of a name ("CO2").
    """
    text = _ENTITY.sub(" ", unicodedata.normalize("NFKC", text))
    dates = [match.span() for match in _DATE.finditer(text)]
    marks = _list_marks(text)
    found = []
    for match in _DIGITS.finditer(text):
        place = match.start()
        in_name = len(match[0]) == 1 and place and text[place - 1].isalpha() and text[place - 1].isascii()
        if place in marks or in_name:
            continue
        in_date = any(start <= place < end for start, end in dates)
        if in_date:
            for part in re.finditer(r"\d+", match[0]):
                found.append(Number(part[0], [{_value(part[0])}], in_date=True))
            continue
        found.append(Number(match[0], _readings(match[0], text[match.end() : match.end() + 12])))
    for phrase, value in _spelled(text):
        if value >= _LEAST_WORD:
            found.append(Number(phrase, [{Fraction(value)}]))
    return found


class HeldNumbers:
    """The values that a text may be said to hold."""

    def __init__(self, text: str) -> None:
        text = unicodedata.normalize("NFKC", text)
        held: set[Fraction] = set()
        for match in _DIGITS.finditer(text):
            for reading in _readings(match[0], text[match.end() : match.end() + 12]):
                held |= reading
            held |= {_value(part) for part in re.findall(r"\d+", match[0])}
        tokens = words(text)
        held |= {Fraction(_NUMBER_WORDS[token]) for token in tokens if token in _NUMBER_WORDS}
        held |= {Fraction(value) for _, value in _spelled(text)}
        self._held = held
        self._in_dates = {Fraction(_MONTHS.index(token[:3]) + 1) for token in tokens if token[:3] in _MONTHS}
        self._in_dates |= {value % 100 for value in held if 1900 <= value < 2100}

    def holds(self, number: "Number") -> bool:
        """Whether one of its readings stands here."""
        held = self._held | self._in_dates if number.in_date else self._held
        return any(reading <= held for reading in number.readings)


def _readings(digits: str, following: str) -> list[set[Fraction]]:
    readings = []
    groups = re.split(r"[^\d]", digits)
    whole = _value("".join(groups))
    if len(groups) > 1 and all(len(group) == 3 for group in groups[1:]):
        readings.append({whole})
    if len(groups) == 1:
        readings.append({whole})
    elif len(groups) == 2:
        readings.append({whole / 10 ** len(groups[1][:_MOST_DIGITS])})
    if "," in digits:
        readings.append({_value(group) for group in groups})
    if scale := _SCALE.match(following):
        readings += [{value * _SCALES[scale[1].lower()] for value in readings[0]}]
    return readings


def _value(digits: str) -> Fraction:
    return Fraction(int(digits[:_MOST_DIGITS]))


def _list_marks(text: str) -> set[int]:
    """Where the marks of a list stand: "1." and "2." and so on, in their order."""
    marks, expected, run = set(), 1, []
    for match in _MARKER.finditer(text):
        if int(match[1]) == 1:
            expected, run = 1, []
        if int(match[1]) == expected:
            run.append(match.start(1))
            expected += 1
        if len(run) > 1:
            marks.update(run)
    return marks


def _spelled(text: str) -> Iterator[tuple[str, int]]:
    """The numbers in English words: ("twenty-five", 25), ("two hundred", 200)."""
    tokens = re.findall(r"[^\W\d_]+", text.lower())
    place = 0
    while place < len(tokens):
        start, total, group = place, 0, 0
        while place < len(tokens):
            token = tokens[place]
            if token in _CARDINALS:
                value = _CARDINALS[token]
                if group % 100 and not (group % 100 >= 20 and group % 10 == 0 and value < 10):
                    break  # "three four": two numbers
                group += value
            elif token in _MULTIPLES and group:
                group *= _MULTIPLES[token]
                if _MULTIPLES[token] > 100:
                    total, group = total + group, 0
            else:
                break
            place += 1
        if total + group:
            yield " ".join(tokens[start:place]), total + group
        else:
            place += 1
