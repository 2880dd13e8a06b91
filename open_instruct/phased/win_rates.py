"""Win rates of phased tuning, a set and weighted, beside the published ones, and the curve over the stages.

    python -m open_instruct.phased.win_rates --compared 1=FOLDER 1-2=FOLDER 1-2-3=FOLDER --reference 1+2+3
        --output_dir results/phased/win_rates

Each FOLDER holds a folder a set with the metrics.json of `eval.judges --kind pairwise`, whose counts of wins, ties and
losses and whose win rate are read here; what a win is, that module says. The average weighs each set by its items, as
published: over
readable verdicts, so it is the rate over all sets' items together. `scripts/phased/win_rate.sh` calls it.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.intervals import interval
from open_instruct.core.records import write_json
from open_instruct.phased import page, plots, published
from open_instruct.phased.plan import number_of_trainings
from open_instruct.phased.plots import Point

AVERAGE = "average"


@dataclass
class Settings:
    compared: list[str] = help_field("NAME=FOLDER of each run's verdicts against the reference, in the curve's order")
    reference: str = help_field("name of the run that they were compared with")
    output_dir: str = help_field("folder of the table, the page and the curve")
    sets: list[str] = help_field("folders of the sets; by default all that a FOLDER has", [])


@dataclass(frozen=True)
class Rate:
    """Against the reference, of the items of a set, or of all.

    Attributes:
        win, tie, lose: items by outcome.
        unreadable: items without two readable verdicts, which are in no figure.
        value, low, high: win rate less one half and its 95 % interval, in points.
        partial: whether only some of the items were judged, or answered.
        judge: who judged, and with which prompt; "" of several sets.
        reference: names the answers that were compared with; "" where that is not known.
    """

    win: int
    tie: int
    lose: int
    unreadable: int
    value: float
    low: float
    high: float
    partial: bool
    judge: str = ""
    reference: str = ""

    @property
    def n(self) -> int:
        """Items with an outcome."""
        return self.win + self.tie + self.lose

    def point(self, run: str) -> Point:
        """For the curve."""
        return Point(run, number_of_trainings(run), self.value, self.low, self.high)


_COUNTED = ("win", "tie", "lose", "unreadable")
Compared = dict[str, dict[str, Rate]]  # by run, by set


def main(settings: Settings) -> None:
    """Read the verdicts' counts, print the tables, and write them with the curve.

    Raises:
        UserError: a comparison has no verdicts, or is not of the same sets, judge or reference as the others.
    """
    compared = {}
    for text in settings.compared:
        name, equals, folder = text.partition("=")
        if not equals or not folder or name in compared:
            raise UserError(f"--compared {text}: expected NAME=FOLDER, each name once")
        compared[name] = read(Path(folder), settings.sets)
    names = {name: list(sets) for name, sets in compared.items()}
    if len({tuple(sets) for sets in names.values()}) > 1:
        raise UserError(f"not all runs were judged on the same sets: {names}; run win_rate.sh again for all of them")
    _refuse_what_does_not_compare(compared)
    tables = _tables(compared, settings.reference)
    lines = courses(compared)
    drawing = plots.growth(lines) if len(compared) > 1 else ""
    print("\n\n".join(table.terminal() for table in tables))
    for note in dict.fromkeys(table.about for table in tables if table.about):
        print(note)
    if drawing:
        print(f"\n{_curve(lines)}")
    output = Path(settings.output_dir)
    made = page.Page(
        title=f"Win rates against {settings.reference}",
        about="Win rate less one half, in percentage points, with 95 % intervals; both orders were judged.",
        tables=tables,
        drawing=drawing,
        caption="Growth by stage",
        legend=[name for name, _ in lines],
    )
    files = page.write(made, output, "win_rates")
    write_json(output / "win_rates.json", {"reference": settings.reference, "runs": _figures(compared)})
    print(f"\nwritten: {', '.join(map(str, files))}")


def _refuse_what_does_not_compare(compared: Compared) -> None:
    judges = {rate.judge: name for name, sets in compared.items() for rate in sets.values()}
    if len(judges) > 1:
        told = "; ".join(f"{name} by {judge or 'an unknown one'}" for judge, name in judges.items())
        raise UserError(f"not all runs and sets had one judge: {told}. Run win_rate.sh again for all of them")
    for one in next(iter(compared.values())):
        answers = {(sets[one].n + sets[one].unreadable, sets[one].reference) for sets in compared.values()}
        if len(answers) > len({items for items, _ in answers}):  # of other items, the answers differ too
            raise UserError(
                f"{one}: the runs were compared with different answers; the reference answered again since. Run "
                "win_rate.sh again for all of them"
            )


def read(folder: Path, sets: list[str]) -> dict[str, Rate]:
    """The counts of each set of a comparison, those of the six sets in the order of the publication.

    Raises:
        UserError: a set has no verdicts of the judge `pairwise`, or none that can be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such comparison; judge first: bash scripts/phased/win_rate.sh A B")
    found = sets or sorted(path.parent.name for path in folder.glob("*/metrics.json"))
    order = list(published.SETS)
    ordered = sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))
    if not ordered:
        raise UserError(
            f"{folder}: holds no verdicts (SET/metrics.json); judge first: bash scripts/phased/win_rate.sh A B"
        )
    return {name: _rate(folder / name / "metrics.json") for name in ordered}


def average(sets: dict[str, Rate]) -> Rate:
    """Of all sets together: each weighs as many items as it has outcomes."""
    rates = list(sets.values())
    win, tie, lose, unreadable = (sum(getattr(rate, name) for rate in rates) for name in _COUNTED)
    low, high = interval([1.0] * win + [0.5] * tie + [0.0] * lose)
    return Rate(
        *(win, tie, lose, unreadable),
        value=sum(rate.n * rate.value for rate in rates) / (win + tie + lose),
        low=100 * low - 50,
        high=100 * high - 50,
        partial=any(rate.partial for rate in rates),
    )


def courses(compared: Compared) -> list[tuple[str, list[Point]]]:
    """The lines of the curve: runs of which each goes on from the one before (1, 1-2, 1-2-3); the last one names
    the line."""
    lines: list[list[Point]] = []
    for name, sets in compared.items():
        point = average(sets).point(name)
        if lines and name.startswith(f"{lines[-1][-1].label}-"):
            lines[-1].append(point)
        else:
            lines.append([point])
    return [(line[-1].label, line) for line in lines]


def _rate(path: Path) -> Rate:
    remedy = "judge again: bash scripts/phased/win_rate.sh A B"
    try:
        raw = json.loads(path.read_bytes())
        said = raw["judges"]["pairwise"]
        counts = [int(said[name]) for name in _COUNTED]
        if not said["n"]:
            raise UserError(f"{path}: none of its {said['unreadable']} items has readable verdicts; see verdicts.jsonl")
        rate = (100 * float(end) for end in (said["win_rate"], *said["interval"]))
        _, whole = published.SETS.get(path.parent.name, ("", 0))  # verdicts cannot tell of what was never answered
        judge = " ".join(map(str, (*said.get("engine", {}).values(), said.get("prompt", ""))))
        partial = raw["n"] < max(raw["n_available"], whole)
        return Rate(*counts, *rate, partial=partial, judge=judge, reference=said.get("reference", ""))
    except FileNotFoundError as error:
        raise UserError(f"{path}: not there; {remedy}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: holds no verdicts of the judge `pairwise` ({error!r}); {remedy}") from error


def _tables(compared: Compared, reference: str) -> list[page.Table]:
    tables = [_of_run(name, reference, sets) for name, sets in compared.items()]
    if len(compared) > 1:
        tables.append(_of_all(compared, reference))
    if theirs := {name: published.AGAINST_ONE_OFF[name] for name in compared if name in published.AGAINST_ONE_OFF}:
        rows = [[name, *(f"{value:+.2f}" for value in values)] for name, values in theirs.items()]
        heading = "Published averages against one-off (Alpaca, GPT-4 as judge)"
        tables.append(page.Table(heading, ["trained on", "Llama-2 7B", "Llama-2 13B"], rows))
    return tables


def _of_run(name: str, reference: str, sets: dict[str, Rate]) -> page.Table:
    rows = []
    for title, rate in {**{_title(one): rate for one, rate in sets.items()}, AVERAGE: average(sets)}.items():
        numbers = [f"{getattr(rate, counted):,}" for counted in _COUNTED]
        value = f"{rate.value:+.2f}{'*' if rate.partial else ''}"
        rows.append([title, *numbers, value, f"({rate.low:+.1f} to {rate.high:+.1f})"])
    partial = "* only some of the items were answered and judged" if average(sets).partial else ""
    header = ["", *_COUNTED, "points", "95 % interval"]
    return page.Table(f"{name} against {reference}: win rate less one half", header, rows, partial)


def _of_all(compared: Compared, reference: str) -> page.Table:
    """One line a run, as in Table 2."""
    titles = [_title(name) for name in next(iter(compared.values()))]
    rows = [
        [name, *(f"{rate.value:+.2f}" for rate in (*sets.values(), average(sets)))] for name, sets in compared.items()
    ]
    return page.Table(f"All against {reference}, points", ["trained on", *titles, AVERAGE], rows)


def _title(name: str) -> str:
    return published.SETS[name][0] if name in published.SETS else name.removeprefix("miniature_")


def _curve(lines: list[tuple[str, list[Point]]]) -> str:
    """The curve for a terminal: a bar a run from the middle, which is 0."""
    points = [point for _, line in lines for point in line]
    most = max(abs(point.value) for point in points) or 1.0
    width = max(len(point.label) for point in points)
    half = 24
    shown = []
    for point in points:
        bar = "#" * round(half * abs(point.value) / most)
        left, right = (bar.rjust(half), "") if point.value < 0 else ("".rjust(half), bar)
        shown.append(f"{point.label:<{width}}  {point.value:+7.2f}  {left}|{right}".rstrip())
    return "\n".join(["Average after each stage, points", *shown])


def _figures(compared: Compared) -> dict[str, Any]:
    """For win_rates.json."""
    return {
        name: {title: asdict(rate) | {"n": rate.n} for title, rate in {**sets, AVERAGE: average(sets)}.items()}
        for name, sets in compared.items()
    }


if __name__ == "__main__":
    run(main, Settings)
