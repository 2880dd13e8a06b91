"""What the program itself can tell of an answer: whether a rewritten instruction lost something, or it is a refusal.

`steps` asks it for every answer; a row with a complaint is asked again. Lenient about form, strict about meaning: each
complaint shall be a true loss, and what can only be judged by understanding is left to the refine step.
"""

import re
from functools import cache, partial

from open_instruct.core.records import Instruction
from self_seq import contents
from self_seq.contents import Held
from self_seq.quantities import HeldNumbers, numbers
from self_seq.refusals import refusal
from self_seq.words import scripts, words

__all__ = ["complaint", "refusal"]

# Measured on stored rewrites of three generators: see docs/log.md.
MOST_TIMES_LONGER = 12  # of the original's characters, with LENGTH_ALLOWANCE on top
LENGTH_ALLOWANCE = 1500  # characters: a prefix and a suffix task around a three-word instruction are no excess
LEAST_LENGTH_SHARE = 0.25  # of the original with its input, from LONG_ORIGINAL characters on
LONG_ORIGINAL = 400
_PASSAGE_SHARE = 0.5  # of a passage's words; below, it was left out or retold
# Of pairs of English instructions, 4 in 10,000 were taken for two languages with these two; of questions and their
# translations (en, de, es, vi), 90 % were told. At 0.99 and 40 letters it was none, and 24 %.
_SURE = 0.7  # of a language
_LEAST_LETTERS = 20  # to tell a language by


def complaint(original: Instruction, new: str) -> str | None:
    """Why `new` cannot stand for `original.instruction`; None when it can.

    Args:
        original: its `input` stays attached to the new instruction, so what stands there is not lost.

    Returns:
        A fixed phrase, and for most of them, on the next line, what exactly.
    """
    if not words(new):
        return "the new instruction is empty"
    if words(new) in (words(original.instruction), words(original.prompt)):
        return "the new instruction equals the original"
    if leak := _leaked(original, new):
        return f"text of the prompt leaked into the new instruction\n{leak}"
    if problem := _other_script(original, new) or _other_language(original, new):
        return problem
    if loss := _lost(original.instruction, f"{new}\n{original.input}"):
        return loss
    return _length(original, new)


def _lost(original: str, new: str) -> str | None:
    """The first piece of the original that is gone; the kinds that say most about it first."""
    held = Held(new)
    for piece in contents.code(original):
        if not held.verbatim(piece):
            return f"a piece of code of the original is missing\n{piece.strip()}"
    for kind, pieces, is_held in (
        ("a table row", contents.table_rows(original), held.words),
        ("an option", contents.options(original), Held(_without_lines(original, new)).option),
        ("a quotation", contents.quotations(original), held.words),
        ("a passage", contents.passages(original), partial(held.words, share=_PASSAGE_SHARE)),
    ):
        for piece in pieces:
            if not is_held(piece, [other for other in pieces if other != piece]):
                return f"{kind} of the original is missing\n{piece.strip()}"
    for address in contents.addresses(original):
        if not held.verbatim(address):
            return f"an address of the original is missing\n{address}"
    held_numbers = HeldNumbers(new)
    for number in numbers(original):
        if not held_numbers.holds(number):
            return f"a number of the original is missing\n{number.text}"
    return None


def _without_lines(original: str, new: str) -> str:
    """`new` without the lines of the original that hold no option: "world" in its passage is not the option "World"."""
    if not (options := contents.options(original)):
        return new
    for line in original.split("\n"):
        if len(line.split()) > 3 and not any(option in line for option in options):
            new = new.replace(line.strip(), " ")
    return new


# --- text of the prompt

_LEAKS = re.compile(
    r"#{1,4} ?(?:original|new|given|rewritten|revised)\s+(?:instruction|prompt)\b|#{1,4} ?input\b ?#|#{3,}\s*$"
    r"|\bso,? the options? (?:is|are)\b|\boption [A-D]\b(?=[\s:.]*(?:decompos|add|keep|\())"
    r"|\banswer: (?:yes|no)\W*$"
    r"|\{(?:instruction|input|original_instruction|new_instruction|examples?)\}"
    r"|\b(?:the|this|your|an?) (?:original|new|rewritten|revised) (?:instruction|prompt)s?\b"
    r"|\b(?:a|the|this) (?:prefix|suffix) (?:task|instruction)s?\b"
    r"|\b(?:break|divide|split|decompose)\w*\b[^.\n]{0,60}\binto (?:two|2) (?:sequential |separate )?"
    r"(?:instruction|task|step)s?\b"
    r"|\bhere(?:['’]s| is) (?:the|a|my) (?:new|rewritten|revised|modified) (?:instruction|prompt)\b",
    re.IGNORECASE,
)


def _leaked(original: Instruction, new: str) -> str | None:
    """Words of the prompt, or about the rewriting, that the original does not have itself."""
    own = original.prompt.casefold()
    return next((match[0].strip() for match in _LEAKS.finditer(new) if match[0].strip().casefold() not in own), None)


# --- script, language, length


def _other_script(original: Instruction, new: str) -> str | None:
    """A text mostly in a script that the original hardly has, or in which the original's own script is hardly left."""
    before, after = scripts(original.instruction), scripts(new)
    if not before or not after:
        return None
    main_before, main_after = next(iter(before)), next(iter(after))
    if before.get(main_after, 0) < 0.1 or after.get(main_before, 0) < before[main_before] / 4:
        return f"the new instruction is in another script\n{main_before} became {main_after}"
    return None


def _other_language(original: Instruction, new: str) -> str | None:
    """A text in a language of which the original has no part: its lines and what it quotes count too."""
    before, after = _language(original.instruction), _language(new)
    if before is None or after is None or before == after:
        return None
    quoted = contents.quotations(original.instruction)
    asking = original.instruction
    for quotation in quoted:
        asking = asking.replace(quotation, " ")
    if len(asking) < len(original.instruction) and (_language(asking) in (None, after)):
        return None
    if after in map(_language, original.instruction.split("\n")):
        return None
    return f"the new instruction is in another language\n{before} became {after}"


def _language(text: str) -> str | None:
    """The language of a text that is long enough, where the classifier is sure."""
    if sum(map(str.isalpha, text)) < _LEAST_LETTERS:
        return None
    language, probability = _classifier().classify(text)
    return language if probability >= _SURE else None


@cache
def _classifier():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # loads its model: only runs that rewrite pay for it

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _length(original: Instruction, new: str) -> str | None:
    before, after = len(original.instruction), len(new)
    if after > MOST_TIMES_LONGER * before + LENGTH_ALLOWANCE:
        return f"the new instruction is too long\n{after:,} characters for {before:,}"
    if before >= LONG_ORIGINAL and after < LEAST_LENGTH_SHARE * before:
        return f"the new instruction is too short\n{after:,} characters for {before:,}"
    return None
