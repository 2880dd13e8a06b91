"""What the report and the dataset card both tell: the run's statistics, its run.json, and the survey of its rows.

Called by `page.py` and `hub.py`. A folder of an older version, or of a run that was stopped, may lack some of it;
what is missing is counted anew from the rows where that is possible, and said.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from open_instruct.core.errors import UserError
from open_instruct.core.run_info import FILE_NAME as RUN_FILE
from self_seq.outputs import STATISTICS
from self_seq.report.shareable import HIDDEN, shareable
from self_seq.report.survey import Survey, survey

OPTIONS = {"A": "decompose", "B": "prefix", "C": "suffix", "D": "keep", "unreadable": "could not be read"}

_AGAIN = "Give the command of the run again: it is written anew."
_TOLD_ELSEWHERE = ("output_dir", "push_to_hub", "hub_public", "dry_run", "source_name", "source_license", "source_url")
_FIELDS = ("rows_in", "rows_screened", "iterations", "tokens", "seconds", "source", "generator")


@dataclass(frozen=True)
class Iteration:
    """The options of one iteration.

    Attributes:
        number: from 1.
        counts: rows by option; every option of `OPTIONS` that is not there is 0.
        published: percent by option, or None.
    """

    number: int
    counts: dict[str, int]
    published: dict[str, float] | None

    def percent(self, option: str) -> float:
        """Of this run's rows."""
        return 100 * self.counts.get(option, 0) / max(sum(self.counts.values()), 1)


@dataclass(frozen=True)
class Flow:
    """Where the rows went: rows_in = screened + dropped + written, or `adds_up` is False."""

    rows_in: int
    screened: dict[str, int]
    dropped: int
    written: int
    with_a_failed_step: int

    @property
    def asked(self) -> int:
        return self.rows_in - sum(self.screened.values())

    @property
    def adds_up(self) -> bool:
        return self.asked == self.dropped + self.written


@dataclass(frozen=True)
class Facts:
    """Everything known of a run.

    Attributes:
        name: of the set.
        statistics: what the run counted, without paths; {} where the file is missing.
        run: its run.json, without paths, host and command; {} where the file is missing.
        survey: of its rows.
        flow, iterations: see there.
        iterations_of: which rows `iterations` counts.
        notes: what is missing or does not fit together, one sentence each.
    """

    name: str
    statistics: dict[str, Any]
    run: dict[str, Any]
    survey: Survey
    flow: Flow
    iterations: list[Iteration]
    iterations_of: str
    notes: list[str]

    @property
    def settings(self) -> dict[str, Any]:
        return _object(self.statistics, "settings") or _object(self.run, "settings")

    @property
    def source(self) -> dict[str, str]:
        """name, file, license, url: "" for what is not known."""
        given = _object(self.statistics, "source")
        found = {key: str(given.get(key) or "") for key in ("name", "file", "license", "url")}
        return {**found, "file": Path(found["file"] or str(self.settings.get("input_file", ""))).name}

    @property
    def generator(self) -> str:
        given = _object(self.statistics, "generator")
        name = str(given.get("name") or self.settings.get("engine") or "not known")
        more = [
            f"{key} {value}"
            for key, value in given.items()
            if key != "name" and value not in (None, "", [], {}, HIDDEN)
        ]
        return f"{name} ({', '.join(more)})" if more else name

    @property
    def generator_name(self) -> str:
        """The engine and its model, for a heading."""
        given = _object(self.statistics, "generator")
        parts = (given.get("name") or self.settings.get("engine"), given.get("model") or given.get("path"))
        return " ".join(str(part) for part in parts if part) or "not known"

    @property
    def commit(self) -> str:
        git = _object(self.run, "git")
        return str(git.get("commit") or "")[:12] + (" with changes" if git.get("dirty") else "")

    def settings_told(self) -> list[tuple[str, str]]:
        """Name and value of each setting that says something."""
        return [
            (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
            for key, value in self.settings.items()
            if key not in _TOLD_ELSEWHERE and value not in (None, "", [], {})
        ]


def gather(folder: Path) -> Facts:
    """Everything known of the run in `folder`.

    Raises:
        UserError: it holds no sit.jsonl, or a file of it is damaged.
    """
    rows = survey(folder)
    statistics, run = public_statistics(folder), _run(_read(folder / RUN_FILE))
    notes = list(rows.faults)
    if not statistics:
        notes.append(f"There is no {STATISTICS}: counts and options are those of the rows that were written.")
    elif missing := [name for name in _FIELDS if name not in statistics]:
        notes.append(f"{STATISTICS} does not say: {', '.join(missing)}.")
    if not run:
        notes.append(f"There is no {RUN_FILE}: commit and versions are not known.")
    flow = _flow(statistics, rows, notes)
    iterations, iterations_of = _iterations(statistics, rows)
    source = _object(statistics, "source")
    name = str(source.get("name") or "") or folder.resolve().name
    return Facts(name, statistics, run, rows, flow, iterations, iterations_of, notes)


def public_statistics(folder: Path) -> dict[str, Any]:
    """The run's statistics as everybody may read them; {} where there are none. What was told about the source is kept.

    Raises:
        UserError: the file is damaged.
    """
    read = _read(folder / STATISTICS)
    told = _object(read, "source")
    return {**shareable(read), **({"source": {**told, "file": Path(str(told.get("file") or "")).name}} if told else {})}


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is no JSON ({error}). {_AGAIN}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: is no JSON object. {_AGAIN}")
    return value


def _run(info: dict[str, Any]) -> dict[str, Any]:
    kept = ("settings", "seed", "versions", "git", "start", "end", "seconds", "status")
    return shareable({key: info[key] for key in kept if key in info})


def _object(of: dict[str, Any], name: str) -> dict[str, Any]:
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def _number(of: dict[str, Any], name: str, instead: int) -> int:
    value = of.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else instead


def _flow(statistics: dict[str, Any], rows: Survey, notes: list[str]) -> Flow:
    written = _number(statistics, "rows_written", rows.sit_rows)
    if written != rows.sit_rows:
        notes.append(f"sit.jsonl holds {rows.sit_rows:,} rows, but the run counted {written:,} written ones.")
    screened = {
        str(reason): rows_lost
        for reason, rows_lost in _object(statistics, "rows_screened").items()
        if isinstance(rows_lost, int) and rows_lost
    }
    dropped = _number(statistics, "rows_dropped", rows.dropped_rows)
    rows_in = _number(statistics, "rows_in", written + dropped)
    if rows_in == written + dropped:  # stage 1 counts a row that was screened out as dropped, too
        dropped -= sum(screened.values())
    kept_failed = _number(statistics, "rows_written_with_a_failed_step", rows.rejected_rows - rows.dropped_rows)
    flow = Flow(rows_in, screened, dropped, written, kept_failed)
    if not flow.adds_up:
        notes.append(
            f"The counts do not add up: {rows_in:,} rows in, {flow.asked:,} not screened out, "
            f"but {dropped:,} dropped and {written:,} written."
        )
    return flow


def _iterations(statistics: dict[str, Any], rows: Survey) -> tuple[list[Iteration], str]:
    told = statistics.get("iterations")
    counted = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    published = _object(statistics, "published").get("iterations")
    published = published if isinstance(published, list) else []
    of = "all rows that were not screened out" if counted else "the rows that were written"
    iterations = []
    for place, counts in enumerate(counted or rows.iterations):
        beside = published[place] if place < len(published) and isinstance(published[place], dict) else None
        iterations.append(Iteration(place + 1, {str(k): v for k, v in counts.items() if isinstance(v, int)}, beside))
    return iterations, of
