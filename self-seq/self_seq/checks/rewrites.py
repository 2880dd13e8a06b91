"""What the program itself can tell of a rewritten instruction: whether it lost something of the one before.

`steps` asks it for every answer; a row with a complaint is asked again. Lenient about form, strict about meaning: each
complaint shall be a true loss, and what can only be judged by understanding is left to the refine step.
"""

import re
from collections import Counter
from functools import cache, partial

from open_instruct.core.records import Instruction
from self_seq.checks import contents
from self_seq.checks.contents import Held
from self_seq.checks.quantities import HeldNumbers, numbers
from self_seq.words import scripts, words

# Of 605 stored rewrites of three generators the longest had 16 times the characters of its original (35, then 561).
MOST_TIMES_LONGER = 12  # of the original's characters, with LENGTH_ALLOWANCE on top
LENGTH_ALLOWANCE = 1500  # characters
LEAST_LENGTH_SHARE = 0.25  # of the original's characters, from LONG_ORIGINAL on: a good rewrite had 0.55 and more
LONG_ORIGINAL = 400
_PASSAGE_SHARE = 0.5  # of a passage's words; below, it was left out or retold
# With these two, 3 of 9,229 pairs of Alpaca's instructions were taken for two languages, and 90 % of XQuAD's questions
# and their translations (en, de, es, vi) were told apart. At 0.99 and 40 letters it was none, and 24 %.
_SURE = 0.7  # of a language
_LEAST_LETTERS = 20  # to tell a language by
_MOST_DETAIL = 300  # characters of a missing piece that are told


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
            return f"a piece of code of the original is missing\n{piece.strip()[:_MOST_DETAIL]}"
    for kind, pieces, is_held in (
        ("a table row", contents.table_rows(original), held.words),
        ("an option", contents.options(original), Held(_without_lines(original, new)).option),
        ("a quotation", contents.quotations(original), held.words),
        ("a passage", contents.passages(original), partial(held.words, share=_PASSAGE_SHARE)),
    ):
        pieces = list(dict.fromkeys(pieces))
        spread = Counter(word for piece in pieces for word in set(words(piece)))
        for piece in pieces:
            if not is_held(piece, spread):
                return f"{kind} of the original is missing\n{piece.strip()[:_MOST_DETAIL]}"
    for address in contents.addresses(original):
        if not held.verbatim(address):
            return f"an address of the original is missing\n{address[:_MOST_DETAIL]}"
    held_numbers = HeldNumbers(new)
    for number in numbers(original):
        if not held_numbers.holds(number):
            return f"a number of the original is missing\n{number.text[:_MOST_DETAIL]}"
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
    r"#{1,4} ?(?:original|new|given|rewritten|revised)\s+(?:instruction|prompt)\b|#{1,4} ?input\b ?#|(?<!#)#{3,}\s*$"
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
    found = (match[0].strip(" \n.\"'”") for match in _LEAKS.finditer(new))
    return next((leak for leak in found if leak.casefold() not in own), None)


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
