"""Responses to "first do this, then answer": which part is the answer, and whether the first task was done.

XQuAD (translate, then answer), MGSM (translate, then reason) and CommonsenseQA (repeat, then choose) are scored so.
"""

import re

from eval.scoring.spans import f1

# "answer" and "result" as models write them before an answer, in the languages of XQuAD.
_WORDS = (
    "answer|result|antwort|respuesta|ответ|答案|回答|الإجابة|الجواب|trả lời|câu trả lời|đáp án"
    "|คำตอบ|cevap|yanıt|उत्तर|απάντηση"
)
# Repetitions are bounded or cannot overlap: one character a thousand times must cost no more than any other response.
_FRONT = r"^[^\w\n]{0,4}(?:\d{1,3}[.)] ?)?[^\w\n]{0,4}"
_ON_ITS_LINE = re.compile(rf"{_FRONT}(?:[\w']{{1,20}} ){{0,2}}(?:{_WORDS})[*_ ]*(?:is)?[*_ ]*[:：][*_]*", re.I | re.M)
_IN_A_SENTENCE = re.compile(rf"\b(?:{_WORDS})[*_ ]*(?:[:：]|\bis\b:?)[*_]*", re.I)
_LABEL = re.compile(_FRONT + r"(?:[\w'-]{1,20} ){0,5}[\w'-]{1,20} ?[:：][*_]*\s*")
_CALLED_TRANSLATION = re.compile(r"\btranslat(?:ion|ed)\b", re.I)
_ALIKE = 0.5  # F1 of words above which one text is taken for another's wording


def split_answer(response: str) -> tuple[str, str, bool]:
    """What comes before the answer, the answer, and whether it is marked as one ("Answer: ...", "the answer is ...").

    The last marked line holds it, or else the last marked sentence, or else the last line. It ends with its line.
    """
    marks = list(_ON_ITS_LINE.finditer(response)) or list(_IN_A_SENTENCE.finditer(response))
    if marks:
        return response[: marks[-1].start()], first_line(response[marks[-1].end() :]), True
    before, _, last = response.rstrip().rpartition("\n")
    return before, last.strip(), False


def first_line(response: str) -> str:
    """The first line that is not blank; "" where all are."""
    return next((line.strip() for line in response.splitlines() if line.strip()), "")


def translated_first(response: str, english: list[str]) -> float:
    """1.0 where a response first translates, well or badly, else 0.0.

    It does where its first line says so ("Translation of the question: ..."), or where a text of `english` stands at
    its beginning or on a line of its own in about these words, and as a question if it is one: a model that begins to
    reason from what the question says has not translated it.

    Args:
        response: what the model wrote, as far as it is no answer.
        english: what a translation may be of, in English: the question, its context, both.
    """
    first, _, rest = response.strip().partition("\n")
    if _CALLED_TRANSLATION.search(first) and (rest.strip() or first.rpartition(":")[2].strip()):
        return 1.0
    return float(any(_restates(response, one) for one in english))


def _restates(response: str, text: str) -> bool:
    words = len(text.split())
    for part in dict.fromkeys([response, *response.splitlines()]):
        for start in _starts(part):
            said = start.split()
            if f1(" ".join(said[:words]), [text]) > _ALIKE and ("?" not in text or "?" in " ".join(said[: 2 * words])):
                return True
    return False


def _starts(text: str) -> list[str]:
    """The text as it is, and without one and two labels in front of it."""
    once = _LABEL.sub("", text, count=1)
    return [text, once, _LABEL.sub("", once, count=1)]
