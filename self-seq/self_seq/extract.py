"""Separates the input (a passage, table, code, answer options) from an instruction that holds both in one text.

FLAN rows do. Rewriting works better on the instruction alone, and cannot spoil what it does not touch. A generator says
which part is the input; where it stood is found in the text itself, and the instruction is what remains of the text,
word for word, never what the generator wrote. So nothing can be lost, and the final text is put together again from
the new instruction and the very same input.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any

from self_seq.words import words

_NONE = re.compile(r"\W*(?:none|no\s+input|n/?a|empty)\W*", re.IGNORECASE)
_INPUT = re.compile(r"#{1,4} ?input\b ?#{0,4}\s{0,4}:?", re.IGNORECASE)
_PLAIN_INPUT = re.compile(r"^[*_ ]*input[*_ ]*:[*_]*", re.IGNORECASE | re.MULTILINE)  # where no marker has a "#"
_END = re.compile(r"#{3,}\s*$")
_FENCE_ABOVE = re.compile(r"(?:^|\n)[ \t]*(?:`{3,}|~{3,})[^\n`]*\n\s*$")
_FENCE_BELOW = re.compile(r"\s*\n[ \t]*(?:`{3,}|~{3,})[ \t]*(?=\n|$)")
_LONG_INPUT = 8  # words; nobody writes so many the same by chance


@dataclass(frozen=True, slots=True)
class Split:
    """One text in two parts.

    Attributes:
        instruction: what remains without the input. Where the input stood in the middle, what was above and below it.
        input: the input, as it stands in the text.
        side: where it goes: "left" (above the instruction) or "right" (below it; also from the middle).
        between: the space that stood between the two.
    """

    instruction: str
    input: str
    side: str
    between: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def read_extraction(answer: str) -> str | None:
    """The input that a generator names: "" for none, None where the answer names no part at all."""
    markers = list(_INPUT.finditer(answer)) or list(_PLAIN_INPUT.finditer(answer))
    if not markers:
        return None
    text = _END.sub("", answer[markers[-1].end() :].strip()).strip()
    return "" if not text or _NONE.fullmatch(text) else text


def split(text: str, given_input: str) -> Split | None:
    """The text in two parts; None where `given_input` does not stand in it or leaves no word for the instruction.

    Spaces and line ends may differ. Of several places the last one is taken: an input is a text's long end more often
    than a word of its beginning.
    """
    places = list(re.finditer(r"\s+".join(map(re.escape, given_input.split())), text)) if given_input.strip() else []
    if not places:
        return None
    start, end = places[-1].span()
    # Fences, quotes and brackets around the input belong to it.
    above, below = _FENCE_ABOVE.search(text[:start]), _FENCE_BELOW.match(text, end)
    if above and below:
        start, end = above.start(), below.end()
    while start and text[start - 1] in "\"'`“„«‘([{<":
        start -= 1
    while end < len(text) and text[end] in "\"'`”»’)]}>":
        end += 1
    if not re.search(r"\w", text[end:]):
        end = len(text.rstrip())
    if not re.search(r"\w", text[:start]):
        start = len(text) - len(text.lstrip())
    before, after = text[:start], text[end:]
    found = text[start:end].strip()
    if not re.search(r"\w", before + after):
        return None
    if not before.strip():
        instruction = after.strip()
        return Split(instruction, found, "left", after[: len(after) - len(after.lstrip())])
    parts = [part.strip() for part in (before, after) if part.strip()]
    return Split("\n".join(parts), found, "right", before[len(before.rstrip()) :])


def join(instruction: str, given_input: str, where: dict[str, Any]) -> str:
    """The whole text again: `instruction` and the input, on the side where it stood, each on lines of its own.

    An instruction that already holds the input gets no second one.

    Args:
        where: `Split.to_json()`.
    """
    if _holds(instruction, given_input, where["side"]):
        return instruction
    between = where["between"] if "\n" in where["between"] else "\n"
    parts = (given_input, instruction) if where["side"] == "left" else (instruction, given_input)
    return between.join(parts)


def _holds(instruction: str, given_input: str, side: str) -> bool:
    """Whether the input stands in the instruction. A short one may do so by chance, as "fig" does in "configure the
    list, then translate:": it counts only at the end where it belongs."""
    text, piece = " ".join(instruction.split()), " ".join(given_input.split())
    if len(words(piece)) >= _LONG_INPUT:
        return piece in text
    whole = rf"(?<!\w){re.escape(piece)}(?!\w)"
    return re.search(rf"^\W*{whole}" if side == "left" else rf"{whole}\W*$", text) is not None
