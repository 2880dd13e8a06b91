"""The letter that a response chooses: CommonsenseQA."""

import re

from eval.scoring.sequence import split_answer

# Not within a word or an abbreviation, and not the article of "A bank".
_LETTER = re.compile(r"(?<![\w'’-])(?!A\s+[a-z])([A-Z])(?![\w'’-])")


def chosen_letter(response: str, choices: dict[str, str]) -> str:
    """The letter of the choice that a response names; "" where it names none, or several.

    The marked answer or the last line is read. A letter counts before words do; where there is none, the one choice
    whose words stand there counts. A line that lists the choices again names none.

    Args:
        response: what the model wrote, without a repetition of the question.
        choices: text of each choice by letter; "" where only letters can be told.
    """
    _, answer, _ = split_answer(response)
    letters = {letter for letter in _LETTER.findall(answer) if letter in choices}
    if letters:
        return letters.pop() if len(letters) == 1 else ""
    named = [
        letter
        for letter, text in choices.items()
        if text and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", answer, re.IGNORECASE)
    ]
    return named[0] if len(named) == 1 else ""
