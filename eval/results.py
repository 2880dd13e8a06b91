"""What one benchmark leaves behind: RESULTS/<run>/<benchmark>/metrics.json, and predictions.jsonl beside it.

`eval.run` writes them, `eval.report` reads them, and they share nothing else: whatever a report says of a benchmark,
its title and what its figures mean included, stands in metrics.json. A line of predictions.jsonl is {"id",
"question", "prompt", "response", "target", "metrics": {name: value}}, and "cluster" where items fall into clusters:
equal texts are right or wrong together. Others may add "image" (a path, or a data URI) and "description";
`verdicts.jsonl` beside it may hold what a judge said, lines with the same "id". The report shows all three.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from eval import units
from open_instruct.core import run_info
from open_instruct.core.errors import UserError
from open_instruct.core.records import read_rows, write_json, write_rows

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.jsonl"
VERDICTS_FILE = "verdicts.jsonl"  # beside it: what a judge said of each
_MAX_PREDICTION = 1 << 28  # bytes of one line; a few examples with long contexts are long


@dataclass(frozen=True)
class Metric:
    """One figure of a benchmark: the mean over its items.

    Attributes:
        value: the figure.
        n: items it was taken over.
        stderr: its standard error, items taken as independent; None for a single item.
        low, high: ends of its 95 % interval.
        title: heading of the table it belongs in; "" for none.
        about: what it means, in one line.
        position: of the step it tells of, from 1; 0 where it tells of no single step.
        higher_is_better: as it says.
        over: what the interval was taken over: "300 items", "10 task combinations".
        unit: what the figure is, one of `eval.units.UNITS`: "share" (0 to 1, written in per cent), "points" (-0.5 to
            0.5, written in percentage points), "score" (1 to 5), "score10" (1 to 10), "words", "count".

    Raises:
        ValueError: there is no such unit.
    """

    value: float
    n: int
    stderr: float | None
    low: float
    high: float
    title: str = ""
    about: str = ""
    position: int = 0
    higher_is_better: bool = True
    over: str = ""
    unit: str = units.DEFAULT

    def __post_init__(self):
        units.check(self.unit)


@dataclass(frozen=True)
class Result:
    """All figures of one benchmark on one checkpoint.

    Attributes:
        benchmark: its name, also of the folder.
        title, short, about, order: for reports: heading, key in results.json, one line of explanation, place of the
            column.
        n, n_available: items evaluated, and items there are.
        metrics: by name; the first one leads.
        clusters: what its items fall into: "10 task combinations"; "" where they are independent.
        depends_on: checkpoint, data, task and settings; a result that depends on others is stale.
        seconds: what the model and the scoring took in the process that finished it, without loading.
        seconds_model: what of these the model took.
        cut: what did not fit the model's window (`eval/backends/window.py`); empty where all did.
        judges: by kind of judge, who judged, with which prompt, against which answers, and what it counted.
    """

    benchmark: str
    title: str
    short: str
    about: str
    order: float
    n: int
    n_available: int
    metrics: dict[str, Metric]
    clusters: str = ""
    depends_on: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    seconds_model: float = 0.0
    cut: dict[str, int] = field(default_factory=dict)
    judges: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def partial(self) -> bool:
        """Whether only some of the items were evaluated."""
        return self.n < self.n_available

    def steps(self) -> list[Metric]:
        """The metrics that tell of single steps, in the order of the steps."""
        return sorted(
            (metric for metric in self.metrics.values() if metric.position), key=lambda metric: metric.position
        )


def write(folder: Path, result: Result, predictions: Iterable[dict[str, Any]]) -> None:
    """Write both files, each whole or not at all; metrics.json comes last, so that where it is, all is.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    drop(folder)  # never an old one beside new predictions
    write_rows(folder / PREDICTIONS_FILE, predictions)
    write_json(folder / METRICS_FILE, {**asdict(result), "partial": result.partial})


def drop(folder: Path) -> None:
    """Forget the result in `folder`, which is about to be worked out anew: a killed run then leaves none of before."""
    for name in (METRICS_FILE, VERDICTS_FILE):  # verdicts are about the answers of before
        (folder / name).unlink(missing_ok=True)


def read(folder: Path) -> Result | None:
    """The result in `folder`; None if there is none.

    Raises:
        UserError: metrics.json is not one of ours.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        return None
    try:
        raw = json.loads(path.read_bytes())
        metrics = {name: _take(Metric, metric) for name, metric in raw.pop("metrics").items()}
        return _take(Result, {**raw, "metrics": metrics})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a result of eval.run ({error}). Delete it and evaluate again.") from error


def read_run(folder: Path) -> dict[str, Result]:
    """The results of a run by benchmark, in the order of their columns.

    Raises:
        UserError: no such folder, no result in it, or one that lies in another benchmark's folder.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder. Evaluate first: python -m eval.run --model CHECKPOINT --output_dir {folder}"
        )
    found = [(path, result) for path in sorted(folder.iterdir()) if path.is_dir() and (result := read(path))]
    if not found:
        raise UserError(
            f"{folder}: no results here ({METRICS_FILE} in a folder a benchmark). Did the evaluation end? "
            f"Run it again: python -m eval.run --model CHECKPOINT --output_dir {folder}"
        )
    for path, result in found:
        if result.benchmark != path.name:  # a copy would hide the other, and a name with ".." lead out of the run
            raise UserError(
                f"{path / METRICS_FILE}: is of benchmark {result.benchmark!r}; expected in a folder of that name. "
                "Move the folder out of the run, or name it so."
            )
    results = sorted((result for _, result in found), key=lambda result: (result.order, result.benchmark))
    return {result.benchmark: result for result in results}


def read_info(folder: Path) -> dict[str, Any]:
    """run.json of a run, which tells how it came about; empty where there is none that can be read."""
    try:
        info = json.loads((folder / run_info.FILE_NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return info if isinstance(info, dict) else {}


def read_predictions(folder: Path) -> list[dict[str, Any]]:
    """The lines of predictions.jsonl in a benchmark's folder."""
    return [row for _, row in prediction_rows(folder)]


def prediction_rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same one by one, each with FILE:LINE.

    Raises:
        UserError: the file is missing or damaged.
    """
    return read_rows(folder / PREDICTIONS_FILE, max_row_bytes=_MAX_PREDICTION)


def _take(kind: type, raw: dict[str, Any]) -> Any:
    """A dataclass from JSON; fields that it does not know (of a later version) are left out."""
    known = {one.name for one in fields(kind)}
    return kind(**{name: value for name, value in raw.items() if name in known})
