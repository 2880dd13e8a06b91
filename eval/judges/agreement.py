"""How far a judge agrees with stored or human verdicts on the same items.

    python -m eval.judges.agreement --verdicts results/mine/seqeval/verdicts.jsonl --field following
        --gold human.jsonl --gold_field followed

    python -m eval.judges.agreement --verdicts reviews.jsonl

Labels (texts, true and false) are compared by the share of equal ones and Cohen's kappa, numbers also by Pearson's and
Spearman's correlation; each with its 95 % interval (bootstrap over items). A field that holds two scores, as stored
pairwise reviews have, is read as win, tie or lose. Without --gold, the verdicts are counted. One line of JSON a field.

Items are matched by --id_field where both files have it, else by their order. What only one file has, and verdicts
that cannot be read, are counted and in no figure.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.judges.pairwise import compare
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.intervals import wilson
from open_instruct.core.records import read_rows

_DRAWS = 1_000  # of the bootstrap
_USUAL = ("outcome", "following", "quality", "preference", "score")
Label = str | bool | float


@dataclass
class Settings:
    verdicts: str = help_field("file of a judge's verdicts: verdicts.jsonl, or any JSONL or JSON array")
    gold: str = help_field("file of the verdicts to compare with; without it, those of --verdicts are counted", "")
    field: str = help_field("field of the verdict: a label, a number, or two scores; by default each usual one", "")
    gold_field: str = help_field("the same in --gold; by default the same name", "")
    id_field: str = help_field("field of the item's name; items are matched by it, or else by order", "id")


@dataclass(frozen=True)
class Agreement:
    """What two raters of the same items have in common.

    Attributes:
        n: items that both rated readably.
        accuracy: share of items with equal ratings.
        kappa: Cohen's kappa (Cohen 1960); None where both gave one and the same rating to all.
        pearson, spearman: of numbers; None for labels, and where a rater gave the same number to all.
        difference: mean of the first rater's number less the second's; None for labels.
        intervals: ends of the 95 % interval of each figure above.
        table: how often each pair of ratings occurred, "first / second".
    """

    n: int
    accuracy: float
    kappa: float | None
    pearson: float | None
    spearman: float | None
    difference: float | None
    intervals: dict[str, list[float]]
    table: dict[str, int]


def main(settings: Settings) -> None:
    """Print the figures.

    Raises:
        UserError: a file cannot be read, no item is in both, or a field is missing.
    """
    rows = list(read_rows(settings.verdicts))
    fields = [settings.field] if settings.field else [name for name in _USUAL if any(name in row for _, row in rows)]
    if not fields:
        raise UserError(f"{settings.verdicts}: none of the fields {', '.join(_USUAL)}; name one with --field")
    for field in fields:
        mine = _ratings(rows, field, settings.id_field)
        if not settings.gold:
            print(json.dumps({"field": field, **counts(list(mine.values()))}, ensure_ascii=False))
            continue
        gold_rows = list(read_rows(settings.gold))
        gold_field = settings.gold_field or field
        theirs = _ratings(gold_rows, gold_field, settings.id_field)
        mine, theirs = _matched(mine, theirs, rows, gold_rows, settings)
        print(json.dumps({"field": field, **_report(mine, theirs, settings)}, ensure_ascii=False))


def counts(ratings: list[Label | None]) -> dict[str, Any]:
    """How often each rating occurs, and how many cannot be read; of win, tie and lose also the win rate."""
    readable = [rating for rating in ratings if rating is not None]
    found = {
        "n": len(readable),
        "unreadable": len(ratings) - len(readable),
        "counts": {_name(rating): count for rating, count in Counter(readable).most_common()},
    }
    if readable and set(readable) <= {"win", "tie", "lose"}:
        found["win_rate"] = (readable.count("win") + readable.count("tie") / 2) / len(readable) - 0.5
    return found


def agreement(first: list[Label], second: list[Label]) -> Agreement:
    """Compare two raters.

    Args:
        first, second: their ratings of the same items, in the same order: labels, or numbers.

    Raises:
        ValueError: there are none.
    """
    if not first:
        raise ValueError("no ratings")
    numbers = all(_is_number(rating) for rating in (*first, *second))
    codes = {rating: place for place, rating in enumerate(dict.fromkeys([*first, *second]))}
    a, b = (np.array([codes[rating] for rating in ratings]) for ratings in (first, second))
    equal = float(np.mean(a == b))
    figures: dict[str, Callable[[np.ndarray], float | None]] = {"kappa": lambda drawn: _kappa(a[drawn], b[drawn])}
    if numbers:
        x, y = (np.array(ratings, dtype=float) for ratings in (first, second))
        figures |= {
            "pearson": lambda drawn: _pearson(x[drawn], y[drawn]),
            "spearman": lambda drawn: _pearson(_ranks(x[drawn]), _ranks(y[drawn])),
            "difference": lambda drawn: float(np.mean(x[drawn] - y[drawn])),
        }
    every = np.arange(len(a))
    found = {name: figure(every) for name, figure in figures.items()}
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(a), size=(_DRAWS, len(a)))
    intervals = {"accuracy": list(wilson(equal, len(a)))}
    for name, figure in figures.items():
        values = [value for one in drawn if (value := figure(one)) is not None]
        if found[name] is not None and values:
            intervals[name] = [float(end) for end in np.percentile(values, (2.5, 97.5))]
    table = Counter(f"{_name(one)} / {_name(other)}" for one, other in zip(first, second, strict=True))
    return Agreement(
        n=len(a),
        accuracy=equal,
        kappa=found["kappa"],
        pearson=found.get("pearson"),
        spearman=found.get("spearman"),
        difference=found.get("difference"),
        intervals=intervals,
        table=dict(table.most_common()),
    )


def _report(mine: list[Label | None], theirs: list[Label | None], settings: Settings) -> dict[str, Any]:
    both = [(one, other) for one, other in zip(mine, theirs, strict=True) if one is not None and other is not None]
    if not both:
        raise UserError(f"{settings.verdicts}: no item has a readable verdict both here and in {settings.gold}")
    found = agreement([one for one, _ in both], [other for _, other in both])
    rounded = {name: round(value, 4) for name, value in vars(found).items() if isinstance(value, int | float)} | {
        "intervals": {name: [round(end, 4) for end in ends] for name, ends in found.intervals.items()}
    }
    unreadable = {
        "unreadable": sum(rating is None for rating in mine),
        "unreadable_gold": sum(rating is None for rating in theirs),
    }
    return {**rounded, **unreadable, "table": found.table}


def _ratings(rows: list[tuple[str, dict]], field: str, id_field: str) -> dict[str, Label | None]:
    """By the item's name, or its number where it has none, its rating; None where it cannot be read."""
    found: dict[str, Label | None] = {}
    if not any(field in row for _, row in rows):
        raise UserError(f"{rows[0][0]}: no field {field!r} in any row; there are: {', '.join(rows[0][1])}")
    for number, (where, row) in enumerate(rows):
        name = str(row.get(id_field, number))
        if name in found:
            raise UserError(f"{where}: item {name!r} stands twice; name another --id_field, or one that no row has")
        found[name] = _rating(row.get(field))
    return found


def _rating(value: Any) -> Label | None:
    if isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
        return compare(*value) if min(value) >= 0 else None  # stored reviews have -1 where no score was found
    if isinstance(value, bool | str):
        return value if value != "" else None
    return float(value) if _is_number(value) and value >= 0 else None


def _matched(
    mine: dict[str, Label | None],
    theirs: dict[str, Label | None],
    rows: list[tuple[str, dict]],
    gold_rows: list[tuple[str, dict]],
    settings: Settings,
) -> tuple[list[Label | None], list[Label | None]]:
    """The ratings of the items that both have."""
    named = [any(settings.id_field in row for _, row in some) for some in (rows, gold_rows)]
    if not all(named):
        if len(mine) != len(theirs):
            raise UserError(
                f"{settings.gold}: {len(theirs):,} rows for {len(mine):,} verdicts, and not both have the field "
                f"{settings.id_field!r} to match them by; name it with --id_field"
            )
        return list(mine.values()), list(theirs.values())
    names = [name for name in mine if name in theirs]
    if only := len(mine) + len(theirs) - 2 * len(names):
        print(json.dumps({"matched": len(names), "in_one_file_only": only}))
    return [mine[name] for name in names], [theirs[name] for name in names]


def _kappa(a: np.ndarray, b: np.ndarray) -> float | None:
    size = int(max(a.max(), b.max())) + 1
    table = np.bincount(a * size + b, minlength=size * size).reshape(size, size) / len(a)
    chance = float(table.sum(axis=1) @ table.sum(axis=0))
    return None if chance == 1 else (float(np.trace(table)) - chance) / (1 - chance)


def _pearson(x: np.ndarray, y: np.ndarray) -> float | None:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, equal values sharing their mean one."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(rating: Label) -> str:
    return f"{rating:g}" if _is_number(rating) else str(rating)


if __name__ == "__main__":
    run(main, Settings)
