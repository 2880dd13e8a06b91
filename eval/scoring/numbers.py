"""The last number of a response, and whether it is the right one: GSM8K and MGSM.

Numbers are compared by value, so "34.00" is 34, and "3.5" is not 35. The rule of open-instruct, whose stored figures
come of comparing texts without their punctuation, gets both wrong.
"""

import re
import sys
import unicodedata
from decimal import Decimal

# Digits of every script, and the full-width and Arabic marks within numbers.
_PLAIN = {ord(mark): plain for mark, plain in zip("，．٬٫−", ",.,.-", strict=True)}
_PLAIN |= {
    code: str(unicodedata.decimal(chr(code)))
    for code in range(0x80, sys.maxunicode + 1)
    if unicodedata.category(chr(code)) == "Nd"
}
_NARROW = "\u00a0\u202f\u2009'’"  # spaces and marks that group digits in French, Russian and Swiss writing
_NUMBER = re.compile(
    # A minus is a sign unless something is there to subtract from: not in "16-3", not in "(5) -3".
    r"(?:(?<![\w)\]%])(?<![\d)\]%]\s)(?P<minus>-)[$€£¥]?)?"
    rf"(?P<digits>(?<!\d)\.\d+|\d{{1,3}}(?:[ {_NARROW}]\d{{3}})+(?:[.,]\d+)?(?![\d]|[.,]\d)|\d+(?:[.,]\d+)*)"
)


def last_number(text: str) -> Decimal | None:
    """The value of the last number in a text; None without one.

    "1,450", "1.450", "1 450" and "1'450" are all 1450: a comma or point before exactly three digits groups them, unless
    the number begins with 0. Else a single comma or point is the decimal one ("2,5" is 2.5); in a row of numbers
    ("1,2,3", "12.05.2020") the last stands alone.
    """
    found = list(_NUMBER.finditer(text.translate(_PLAIN)))
    if not found:
        return None
    last = found[-1]
    value = _value(re.sub(f"[ {_NARROW}]", "", last["digits"]))
    return -value if last["minus"] else value


def number_match(response: str, answer: str | int | float) -> float:
    """1.0 where the response's last number is the answer's, else 0.0.

    Args:
        response: what the model wrote.
        answer: the right number; of a text, such as GSM8K's "... #### 18", the last number in it.

    Raises:
        ValueError: there is no number in `answer`.
    """
    right = last_number(str(answer))
    if right is None:
        raise ValueError(f"{answer!r} holds no number")
    return float(last_number(response) == right)


def _value(digits: str) -> Decimal:
    marks = [mark for mark in digits if mark in ",."]
    if len(set(marks)) == 2 and marks.count(marks[-1]) == 1:  # 1,234.5 or 1.234,5
        whole, _, rest = digits.rpartition(marks[-1])
        return Decimal(re.sub(r"[.,]", "", whole) + "." + rest)
    if marks and re.fullmatch(r"[1-9]\d{0,2}(?:[.,]\d{3})+", digits) and len(set(marks)) == 1:
        return Decimal(re.sub(r"[.,]", "", digits))
    if len(marks) > 1:
        return Decimal(re.split(r"[.,]", digits)[-1])
    return Decimal(digits.replace(",", "."))
