"""Whether an answer is the right one: exactly, as GQA counts it, and leniently, as the publication's script does."""

from lavis.metrics.vqa import normalised


def exact_match(answer: str, right: str) -> float:
    """GQA's accuracy: the answer is the right one, letter for letter, but for case, spaces and a final period."""
    return float(_plain(answer) == _plain(right))


def lenient_match(response: str, right: str) -> float:
    """The publication's own measure (`evaluate_process.py`), from its description.

    The last word after the first "answer" of the response is compared, normalised, with the right answer: right if
    they are equal or one contains the other. It takes "no" for "snow", and any empty word for anything: it is here to
    compare with the publication, never to decide.
    """
    _, mark, rest = response.lower().partition("answer")
    words = (rest if mark else "none").split()
    last = normalised(words[-1] if words else "")
    wanted = normalised(right)
    return float(last in wanted or wanted in last)


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).removesuffix(".").strip()
