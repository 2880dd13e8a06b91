"""What the steps of a run have taken, over all its starts: answers, tokens, seconds.

`generate.py` keeps it in `spent.json` of the output folder, brought up to date while a step runs, so that a kill hides
no more than the last `NOTE_SECONDS`. (Which tokens the kept answers cost stands in the journals, exactly.)
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from open_instruct.core.asking import Spent
from open_instruct.core.records import write_json

FILE = "spent.json"


class SpentBySteps:
    """By step, in the order in which they first ran; `folder` may hold what earlier starts took."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._steps = _read(self._path)

    def noter(self, step: str) -> Callable[[Spent], None]:
        """A function that takes what `step` has taken since now, each time anew from the beginning."""
        before = self._steps.get(step, Spent())

        def note(now: Spent) -> None:
            if now.answers:
                self._steps[step] = before + now
                write_json(self._path, self.to_json())

        return note

    def seconds(self) -> float:
        return sum(spent.seconds for spent in self._steps.values())

    def to_json(self) -> dict[str, dict[str, float]]:
        return {step: asdict(spent) for step, spent in self._steps.items()}


def _read(path: Path) -> dict[str, Spent]:
    try:
        return {step: Spent(**spent) for step, spent in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # none yet; these are figures for the report, and no reason to stop
