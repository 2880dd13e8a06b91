"""Pairwise win rate against a reference model, both orders of the two responses, as in phased instruction tuning.

A judge scores both responses from 1 to 10, twice, with each of them first once. An order is won where ours has the
higher score, a tie where the scores are equal. An item is a win with two wins, or a win and a tie; a tie with two
ties, or a win and a loss; a loss otherwise (arXiv 2406.04371).

    win_rate = (win + tie / 2) / n - 1 / 2        n = win + tie + lose

An item of which either verdict cannot be read is in none of the three. It is counted as `unreadable`, and `bounds` says
how far the win rate over all items could lie apart: all of these lost, or all won.
"""

from eval.benchmarks import MetricInfo
from eval.judges import _figures
from eval.judges._items import Item
from eval.judges._llm import Kind, Outcome, Verdict, shown_text
from open_instruct.core.intervals import interval

WIN, TIE, LOSE = "win", "tie", "lose"
_VALUES = {WIN: 1.0, TIE: 0.5, LOSE: 0.0}
_RATE = MetricInfo(
    name="win_rate",
    title="Win rate less one half",
    about="(wins + ties / 2) / (wins + ties + losses) - 1/2 against the reference, both orders judged",
    unit="points",
)
_INFOS = [
    MetricInfo("win", title="Wins", about="of the items with two readable verdicts"),
    MetricInfo("tie", title="Ties", about="of the items with two readable verdicts"),
    MetricInfo("lose", title="Losses", about="of the items with two readable verdicts", higher_is_better=False),
    MetricInfo("score", about="the judge's mean score of the response, over both orders", unit="score10"),
    MetricInfo("reference_score", about="of the reference's response", unit="score10"),
    MetricInfo("orders_agree", about="both orders have one outcome; the rest is the judge's liking for a place"),
    MetricInfo(
        "first_preferred",
        about="of an item's verdicts that are no tie, the share for what stands first; mean over items",
    ),
    _figures.UNREADABLE,
]


def outcome_of(first: str, second: str) -> str:
    """The outcome of an item from those of its two orders: win, tie or lose."""
    both = sorted((first, second), key=(WIN, TIE, LOSE).index)
    return {(WIN, WIN): WIN, (WIN, TIE): WIN, (TIE, TIE): TIE, (WIN, LOSE): TIE}.get(tuple(both), LOSE)


def compare(score: float, reference: float) -> str:
    """The outcome of one order from the two scores."""
    return WIN if score > reference else TIE if score == reference else LOSE


def _shown(item: Item) -> list[dict[str, str]]:
    ours, theirs = shown_text(item.response), shown_text(item.reference)
    return [
        {"instruction": item.question, "first": ours, "second": theirs},
        {"instruction": item.question, "first": theirs, "second": ours},
    ]


def _outcome(items: list[Item], verdicts: list[list[Verdict | str]]) -> Outcome:
    lines = [_line(*pair) for pair in verdicts]
    metrics = [_metrics(line) for line in lines]
    count = {name: sum(line.get("outcome") == name for line in lines) for name in (WIN, TIE, LOSE)}
    readable = sum(count.values())
    unreadable = len(lines) - readable
    found = {}
    facts = {**count, "unreadable": unreadable, "n": readable, "items": len(lines), "win_rate": None, "interval": None}
    if readable:
        values = [_VALUES[line["outcome"]] for line in lines if "outcome" in line]
        low, high = (end - 0.5 for end in interval(values))
        found["win_rate"] = _figures.metric(_RATE, [value - 0.5 for value in values], (low, high))
        facts |= {"win_rate": found["win_rate"].value, "interval": [low, high]}
        # Over all items: those that cannot be read all lost, and all won.
        facts["bounds"] = [(sum(values) + more) / len(lines) - 0.5 for more in (0, unreadable)]
    return Outcome(found | _figures.figures(_INFOS, metrics), metrics, lines, facts)


def _line(ours_first: Verdict | str, ours_second: Verdict | str) -> Verdict:
    """A line of verdicts.jsonl: the outcome, and of each order the two scores, ours and the reference's."""
    reasons = [verdict for verdict in (ours_first, ours_second) if isinstance(verdict, str)]
    line: Verdict = {}
    if not isinstance(ours_first, str):
        line["ours_first"] = {"score": ours_first["first"], "reference": ours_first["second"]}
    if not isinstance(ours_second, str):
        line["ours_second"] = {"score": ours_second["second"], "reference": ours_second["first"]}
    if reasons:
        return {"unreadable": "; ".join(dict.fromkeys(reasons)), **line}
    orders = [compare(order["score"], order["reference"]) for order in line.values()]
    return {"outcome": outcome_of(*orders), **line}


def _metrics(line: Verdict) -> dict[str, float]:
    if "outcome" not in line:
        return {"judge_unreadable": 1.0}
    orders = [line["ours_first"], line["ours_second"]]
    outcomes = [compare(order["score"], order["reference"]) for order in orders]
    first = [float((outcome == WIN) == (place == 0)) for place, outcome in enumerate(outcomes) if outcome != TIE]
    return {
        "win_rate": _VALUES[line["outcome"]] - 0.5,
        **{name: float(line["outcome"] == name) for name in (WIN, TIE, LOSE)},
        "score": sum(order["score"] for order in orders) / 2,
        "reference_score": sum(order["reference"] for order in orders) / 2,
        "orders_agree": float(outcomes[0] == outcomes[1]),
        **({"first_preferred": sum(first) / len(first)} if first else {}),
        "judge_unreadable": 0.0,
    }


KIND = Kind(
    name="pairwise",
    title="Win rate",
    about="a judge compares each response with the reference model's, in both orders",
    shown=_shown,
    outcome=_outcome,
    compares=True,
    verdicts=("two_scores",),
)
check, judge = KIND.check, KIND.judge
