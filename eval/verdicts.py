"""What a judge said of answers, as pairs of what and said, whatever form its verdicts have. For `eval.browsable`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval import results
from eval.packing import held_text
from open_instruct.core.records import read_rows

Said = list[list[str]]  # pairs of one verdict


def read(folder: Path) -> dict[str, list[Said]]:
    """All verdicts of a benchmark's folder by the id of the item; empty where there are none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / results.VERDICTS_FILE
    found: dict[str, list[Said]] = {}
    if not path.is_file():
        return found
    for _, row in read_rows(path, may_be_empty=True):
        said = [list(pair) for pair in _pairs({key: value for key, value in row.items() if key != "id"})]
        found.setdefault(str(row.get("id")), []).append(said)
    return found


def _pairs(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """A verdict as (what, said), whatever its form: {"tasks": [{"task": "T", "done": true}]}: "tasks 1", "T · done"."""
    if isinstance(value, dict) and name[-1:].isdigit() and not any(isinstance(x, dict | list) for x in value.values()):
        yield name, held_text(" · ".join(_plain(key, inner) for key, inner in value.items()))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _pairs(inner, f"{name} {key}".strip())
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for number, inner in enumerate(value, start=1):
            yield from _pairs(inner, f"{name} {number}".strip())
    elif value is not None and value != "":
        said = ", ".join(map(str, value)) if isinstance(value, list) else value
        yield name, held_text({True: "yes", False: "no"}[said] if isinstance(said, bool) else said)


def _plain(key: str, value: Any) -> str:
    """One fact of several in a line: the text itself, "done" or "not done", "score 4"."""
    if isinstance(value, bool):
        return key if value else f"not {key}"
    return value if isinstance(value, str) else f"{key} {value}"
