"""Cleaned Alpaca with inputs in five languages: the plain counterpart of SIT's multilingual set (arXiv 2403.07794).

51,760 rows. Of those with an input, 4,750 each get it in Russian, Spanish, Chinese and German, no row twice; the
instruction and the answer stay English, as all other rows do. Stage 1 makes the sequential
set ("First translate ...") of these files.
"""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from open_instruct.core.errors import UserError
from open_instruct.reformat import _files
from open_instruct.reformat.alpaca_cleaned import example
from open_instruct.reformat.base import Example, File, Job, Rejected, Row, Source

ROWS_A_LANGUAGE = 4750
TRANSLATED = ("ru", "es", "zh", "de")

_FOLDER = (
    "https://raw.githubusercontent.com/hplt-project/monolingual-multilingual-instruction-tuning/main/training-data"
)
SOURCE = Source(
    about="cleaned Alpaca, machine-translated into Russian, Spanish, Chinese and German",
    page="https://github.com/hplt-project/monolingual-multilingual-instruction-tuning",
    licence="CC BY-NC 4.0",
    files=tuple(
        File(f"alpaca_data_cleaned.{language}.json", f"{_FOLDER}/alpaca_data_cleaned.{language}.json")
        for language in ("en", *TRANSLATED)
    ),
    published=51_760,
    published_in="SIT, arXiv 2403.07794",
)
FORMS = (("instruction", "output"),)


def rows(paths: list[Path], job: Job) -> Iterator[Row]:
    """The English rows, the drawn ones with another language's input; the files are read side by side."""
    if len(paths) != len(SOURCE.files):
        raise UserError(
            f"{paths[0]}: one file; expected the folder of all five: {', '.join(f.name for f in SOURCE.files)}"
        )
    language_of = _drawn_languages(paths[0], job)
    for number, side_by_side in enumerate(zip_longest(*(_files.rows(path) for path in paths))):
        if None in side_by_side:
            short = paths[side_by_side.index(None)]
            raise UserError(
                f"{short}: ends after {number} rows, before the others; expected the same rows in all files"
            )
        where, row = side_by_side[0]
        if number in language_of:
            position = 1 + TRANSLATED.index(language_of[number])
            row = {**row, "input": side_by_side[position][1].get("input")}
            job.note(f"input in {language_of[number]}")
        yield where, row


def examples(row: dict, job: Job) -> Iterator[Example | Rejected]:
    yield example(row)


def _drawn_languages(english: Path, job: Job) -> dict[int, str]:
    """For each drawn row, its language. Only rows with an input can be drawn."""
    with_input = [number for number, (_, row) in enumerate(_files.rows(english)) if str(row.get("input") or "").strip()]
    job.random.shuffle(with_input)
    wanted = ROWS_A_LANGUAGE if job.draw is None else job.draw or len(with_input)
    if wanted * len(TRANSLATED) > len(with_input):
        wanted = len(with_input) // len(TRANSLATED)
        job.note(f"too few rows with an input: {wanted:,} a language")
    return {
        number: language
        for position, language in enumerate(TRANSLATED)
        for number in with_input[position * wanted : (position + 1) * wanted]
    }
