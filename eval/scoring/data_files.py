"""Files of the data folder that are no rows of JSON: where they are, and a clear line where they are not.

Called by the tasks whose data comes as tables or as one JSON document. Rows of JSON: `eval.local_data.rows`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from eval.local_data import FETCH as MADE_BY
from eval.local_data import data_file
from open_instruct.core.errors import UserError

__all__ = ["MADE_BY", "data_file", "read_squad", "read_text", "tell"]

_told: set[str] = set()


def tell(note: str) -> None:
    """Print on stderr what the data lacks and what is taken instead; once, however many tasks read that file."""
    if note not in _told:
        _told.add(note)
        print(f"note: {note}", file=sys.stderr, flush=True)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        UserError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start:,} is not UTF-8. Fetch the file again: {MADE_BY}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def read_squad(path: Path) -> list[dict[str, Any]]:
    """The questions of a file in SQuAD's format (`data` > `paragraphs` > `qas`), in its order.

    Returns:
        `id`, `context`, `question` and `answers` (texts, each once, at least one) of each.

    Raises:
        UserError: the file is not of that format, holds no question, or one without an answer or of an id that stood
            before.
    """
    found: dict[str, dict[str, Any]] = {}
    try:
        for article in json.loads(read_text(path))["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    name = str(question["id"])
                    answers = list(dict.fromkeys(filter(None, (one["text"].strip() for one in question["answers"]))))
                    if not answers or name in found:
                        raise UserError(f"{path}: question {name} {'stands twice' if answers else 'has no answer'}")
                    found[name] = {
                        "id": name,
                        "context": paragraph["context"].strip(),
                        "question": question["question"].strip(),
                        "answers": answers,
                    }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not of SQuAD's format ({type(error).__name__}: {error}); expected data > paragraphs > qas. "
            f"Fetch the file again: {MADE_BY}"
        ) from error
    if not found:
        raise UserError(f"{path}: no question in it. Fetch the file again: {MADE_BY}")
    return list(found.values())
