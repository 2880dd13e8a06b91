"""`--task translate`: first the input, which is in another language, is translated into English, then it is answered.

The rows come from parallel files, one a language, with the same rows in the same order: the published set took
alpaca_data_cleaned.{en,de,es,ru,zh}.json of hplt-project/monolingual-multilingual-instruction-tuning. Instruction and
answer stay English; each row is used once, in one language or in English; the order is shuffled. Sizes as published.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

from open_instruct.core.command import help_field
from open_instruct.core.errors import UserError
from open_instruct.core.records import Instruction, read_rows
from open_instruct.core.run_info import RunInfo
from self_seq.task_driven.training_set import (
    NO_INPUT,
    NOT_DRAWN,
    Made,
    checked_output,
    drawn,
    has_input,
    kept,
    refused,
    rewritten,
    write_set,
)

UNUSABLE = "rows whose inputs are not translated everywhere"
# Files whose rows belong together share nearly all numbers (XQuAD's English questions with their German, Spanish,
# Vietnamese and Chinese ones: 92-100 % of the rows with a number); one row off, 10-14 %.
SHARE_OF_NUMBERS = 0.5
SHARE_OF_INPUTS = 0.9  # rows that have an input, or none, in both languages
ENOUGH = 20  # rows before a share tells anything


@dataclass
class Settings:
    english: str = help_field("the English rows: JSONL or a JSON array, also .gz")
    translations: list[str] = help_field("files with the same rows in other languages, each LANGUAGE=FILE")
    output: str = help_field("file of instruction records to write; run.json comes beside it")
    task: str = help_field("this task", "translate")
    rows_a_language: int = help_field("rows drawn a language, no row twice; the rest stays English", 4750)
    labels: bool = help_field("name each answer in the target ('Translation into English:', 'Result:')", False)
    seed: int = help_field("of the rows drawn and of their order", 42)


SETTINGS = (Settings,)


def main(settings: Settings) -> None:
    """Write the set.

    Raises:
        UserError: a wrong file or setting, files that are not parallel, or too few rows with an input.
    """
    files = _files(settings)
    output = checked_output(settings.output, settings.english, *files.values())
    candidates = check_parallel(settings.english, files)
    needed = settings.rows_a_language * len(files)
    if settings.rows_a_language < 1 or needed > len(candidates):
        raise UserError(
            f"--rows_a_language {settings.rows_a_language}: {len(files)} languages need {needed:,} rows with an input "
            f"in each, and there are {len(candidates):,}; expected 1 to {len(candidates) // len(files):,}"
        )
    order = drawn(candidates, settings.seed)
    size = settings.rows_a_language
    languages = {number: language for i, language in enumerate(files) for number in order[i * size : (i + 1) * size]}
    with RunInfo(output.parent, settings, settings.seed) as info:
        info.add(**write_set(output, settings.english, translate(settings, files, languages), settings.seed))
    for language, count in Counter(languages.values()).items():
        print(f"  {language:<11} {count:>9,}  rows with their input in this language")


def translate(settings: Settings, files: dict[str, str], languages: dict[int, str]) -> Iterator[Made]:
    """What becomes of each English row; `languages` names the language of those that are drawn."""
    for number, row, inputs in parallel(settings.english, files):
        extra = {} if {"id", "idx"} & row.extra.keys() else {"idx": number}
        if language := languages.get(number):
            foreign = replace(row, input=inputs[language])
            yield rewritten(foreign, {"translate": row.input}, settings.labels, language=language, **extra)
        elif reason := unusable(row, inputs):
            yield refused(number, row, reason, UNUSABLE, written=True, language="en", **extra)
        else:
            yield kept(row, NOT_DRAWN if has_input(row) else NO_INPUT, language="en", **extra)


def unusable(row: Instruction, inputs: dict[str, str]) -> str:
    """Why a row cannot be drawn though it has an input somewhere; "" where nothing is wrong."""
    if not row.input.strip():
        there = [language for language, text in inputs.items() if text.strip()]
        return f"no input in English, but one in {', '.join(there)}" if there else ""
    for language, text in inputs.items() if has_input(row) else ():
        if not text.strip():
            return f"the input is empty in {language}"
        if text.strip() == row.input.strip():
            return f"the input in {language} is the English one: nothing to translate"
    return ""


def check_parallel(english: str, files: dict[str, str]) -> list[int]:
    """The numbers of the rows that have an input in every language.

    Raises:
        UserError: not parallel: another length, other ids, inputs in other rows, or other numbers in them.
    """
    candidates, rows = [], 0
    same_presence: Counter[str] = Counter()
    numbered: Counter[str] = Counter()
    same_numbers: Counter[str] = Counter()
    for number, row, inputs in parallel(english, files):
        rows += 1
        if has_input(row) and not unusable(row, inputs):
            candidates.append(number)
        ours = _numbers(row.input)
        for language, text in inputs.items():
            same_presence[language] += bool(text.strip()) == bool(row.input.strip())
            if ours and text.strip():
                numbered[language] += 1
                same_numbers[language] += bool(ours & _numbers(text))
    for language, path in files.items():
        remedy = (
            f"{path} is not parallel to {english}. Take files of one release, with the same rows in the same order."
        )
        if rows >= ENOUGH and same_presence[language] < SHARE_OF_INPUTS * rows:
            other = rows - same_presence[language]
            raise UserError(f"{other:,} of {rows:,} rows have an input in only one of the two languages: {remedy}")
        if numbered[language] >= ENOUGH and same_numbers[language] < SHARE_OF_NUMBERS * numbered[language]:
            raise UserError(
                f"of {numbered[language]:,} inputs with numbers only {same_numbers[language]:,} share one with their "
                f"translation: {remedy}"
            )
    return candidates


def parallel(english: str, files: dict[str, str]) -> Iterator[tuple[int, Instruction, dict[str, str]]]:
    """Number, English row, and the row's input in each language.

    Raises:
        UserError: a file ends before another, or a row has another id than the English one.
    """
    streams = [read_rows(english), *(read_rows(path) for path in files.values())]
    for number, (first, *others) in enumerate(zip_longest(*streams)):
        ended = [path for path, row in zip((english, *files.values()), (first, *others), strict=True) if row is None]
        if ended:
            raise UserError(
                f"{', '.join(ended)}: ends after {number:,} rows, others go on; expected the same rows in every file"
            )
        where, content = first
        inputs = {}
        for language, (place, other) in zip(files, others, strict=True):
            for name in ("id", "idx"):
                if name in content and name in other and content[name] != other[name]:
                    raise UserError(
                        f"{place}: {name} is {other[name]!r}, and at {where} {content[name]!r}; expected the same rows "
                        "in the same order"
                    )
            text = other.get("input", "")
            if not isinstance(text, str):
                raise UserError(f"{place}: field 'input' is no text; expected the English row's input in {language}")
            inputs[language] = text
        yield number, Instruction.from_json(content, where), inputs


def _files(settings: Settings) -> dict[str, str]:
    files: dict[str, str] = {}
    for given in settings.translations:
        language, equals, path = given.partition("=")
        if not (language and equals and path) or language in files or language == "en":
            raise UserError(f"--translations {given!r}: expected LANGUAGE=FILE, each language once and none of them en")
        if path in (*files.values(), settings.english):
            raise UserError(f"--translations {given!r}: this file is given for another language too")
        files[language] = path
    return files


def _numbers(text: str) -> set[int]:
    """The numbers of two digits and more, in any script's digits."""
    return {int(digits) for digits in re.findall(r"\d{2,18}", unicodedata.normalize("NFKC", text))}
