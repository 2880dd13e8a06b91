"""report.html: one page that needs no other file and no network.

`generate.py` calls `write_report` at its end. The page's text, style and script lie in `html/`, its look in
`open_instruct/core/page`.
"""

import difflib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from open_instruct.core.intervals import wilson
from open_instruct.core.page import style
from open_instruct.core.records import replacing
from self_seq.report.card import write_card
from self_seq.report.charts import Series, histogram, leading_verbs, sunburst
from self_seq.report.facts import OPTIONS, Facts, gather
from self_seq.report.survey import EXAMPLES, SEED, Pair, Survey

PAGE_FILE = "report.html"

_HTML = Path(__file__).parent / "html"
_INSTRUCTION, _ANSWER, _REJECTED = 4000, 3000, 600  # characters shown; the whole texts stand in the files
_BEFORE, _AFTER = "run-0", "run-1"  # colours of the original and of the sequential
_WORD = re.compile(r"\s*\S+|\s+$")


def write_report(folder: Path) -> None:
    """Write report.html and README.md of the run in `folder`.

    Raises:
        UserError: the folder holds no sit.jsonl, a file of it is damaged, or the disk is full.
    """
    facts = gather(folder)
    with replacing(folder / PAGE_FILE) as write:
        write(_page(facts).encode(errors="replace"))
    write_card(folder, facts)
    print(f"the report: {folder / PAGE_FILE}; the dataset card: {folder / 'README.md'}")


def _page(facts: Facts) -> str:
    environment = Environment(
        loader=FileSystemLoader(_HTML), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"count": lambda number: f"{number:,}", "percent": _percent, "time": _time, "short": _short}
    rows = facts.survey
    return environment.get_template("report.html.jinja").render(
        facts=facts,
        rows=rows,
        options=OPTIONS,
        published_name=str((facts.statistics.get("published") or {}).get("name", "published")),
        lengths=_lengths(rows),
        verbs=_verbs(rows),
        pairs=[_shown(pair) for pair in rows.pairs],
        seed=SEED,
        judge=_judge(facts.statistics.get("judge")),
        tokens=_tokens(facts.statistics),
        examples=EXAMPLES,
        rejected_length=_REJECTED,
        style=style(_HTML / "report.css"),
        script=(_HTML / "sunburst.js").read_text(encoding="utf-8"),
    )


def _percent(part: float, whole: float, digits: int = 1) -> str:
    return f"{100 * part / whole:.{digits}f}" if whole else "0"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]} … ({len(text) - length:,} more characters)"


# --- lengths, and verbs with objects


def _lengths(rows: Survey) -> list[tuple[str, str, list[Series]]]:
    """(title, SVG, series) of each histogram."""
    answers = [Series("to the sequential instruction", _AFTER, rows.sit_answers)]
    if rows.it_rows:
        answers.insert(0, Series("to the original instruction", _BEFORE, rows.it_answers))
    instructions = [Series("original", _BEFORE, rows.original), Series("sequential", _AFTER, rows.sequential)]
    return [
        (title, histogram(title, series), series)
        for title, series in (("Instructions", instructions), ("Answers", answers))
        if rows.sit_rows
    ]


def _verbs(rows: Survey) -> list[dict[str, Any]]:
    both = {"Original instructions": rows.verbs_before, "Sequential instructions": rows.verbs_after}
    leading = {title: leading_verbs(verbs) for title, verbs in both.items() if verbs.pairs}
    names = dict.fromkeys(verb for found in leading.values() for verb, _, _ in found)
    colours = {verb: number for number, verb in enumerate(names)}
    return [
        {
            "title": title,
            "drawing": sunburst(title, both[title], colours),
            "leading": found,
            "instructions": both[title].instructions,
            "placed": both[title].pairs.total(),
            "drawn": sum(number for _, _, objects in found for _, number in objects),
        }
        for title, found in leading.items()
    ]


# --- pairs


def _shown(pair: Pair) -> dict[str, Any]:
    before, after = _short(pair.before, _INSTRUCTION), _short(pair.after, _INSTRUCTION)
    return {
        "id": pair.id,
        "options": [f"{option} {OPTIONS.get(option, '')}".strip() for option in pair.options],
        "before": before,
        "after": _marked(before, after),
        "input": _short(pair.input, _ANSWER),
        "it_answer": None if pair.it_answer is None else _short(pair.it_answer, _ANSWER),
        "sit_answer": _short(pair.sit_answer, _ANSWER),
    }


def _marked(before: str, after: str) -> list[tuple[str, bool]]:
    """`after` in pieces, each with whether its words were added; the pieces joined are `after`."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    plain = [[word.strip().strip(".,;:!?\"'“”‘’").lower() for word in words] for words in (old, new)]
    pieces: list[tuple[str, bool]] = []
    for kind, _, _, begin, end in difflib.SequenceMatcher(None, *plain, autojunk=False).get_opcodes():
        if begin == end:
            continue
        text = "".join(new[begin:end])
        if kind == "equal":
            pieces.append((text, False))
            continue
        words = text.strip()
        before_them, _, after_them = text.partition(words) if words else (text, "", "")
        pieces += [(before_them, False), (words, True), (after_them, False)]  # spaces at the ends are not marked
    return [(text, added) for text, added in pieces if text]


# --- the judge, and what it cost


def _judge(given: Any) -> dict[str, Any] | None:
    """What the judge counted, by number of tasks; `low` and `high`: 95 % interval of the share of longer chains."""
    if not isinstance(given, dict) or not given.get("rows"):
        return None
    before, after = (_by_tasks(given.get(name)) for name in ("tasks_before", "tasks_after"))
    read = given["rows"] - given.get("unreadable", 0)
    low, high = wilson(given.get("longer", 0) / read, read) if read else (0.0, 1.0)
    return {
        "rows": given["rows"],
        "engine": given.get("engine") or "the generator",
        "unreadable": given.get("unreadable", 0),
        "longer": given.get("longer", 0),
        "read": read,
        "low": low,
        "high": high,
        "means": [_mean(before), _mean(after)],
        "tasks": [(tasks, before.get(tasks, 0), after.get(tasks, 0)) for tasks in sorted(before.keys() | after.keys())],
    }


def _by_tasks(given: Any) -> dict[int, int]:
    return {int(tasks): rows for tasks, rows in (given or {}).items()}


def _mean(counts: dict[int, int]) -> float:
    return sum(tasks * rows for tasks, rows in counts.items()) / max(sum(counts.values()), 1)


def _tokens(statistics: dict[str, Any]) -> dict[str, Any] | None:
    """Answers and tokens by step and in all; `rate`: answer tokens a second."""
    steps, spent = _by_step(statistics.get("tokens")), _by_step(statistics.get("spent"))
    if not steps:
        return None
    order = {step: place for place, step in enumerate(spent)}  # as they ran
    rows = [(step, *(one.get(name) or 0 for name in ("answers", "in", "out"))) for step, one in steps.items()]
    rows.sort(key=lambda row: order.get(row[0], len(order)))
    whole = [sum(row[place] for row in rows) for place in (1, 2, 3)]
    out, seconds = sum(one.get("tokens_out") or 0 for one in spent.values()), statistics.get("seconds")
    return {
        "steps": rows,
        "sum": whole,
        "rate": out / seconds if out and seconds else None,
    }


def _by_step(given: Any) -> dict[str, dict[str, Any]]:
    return {step: one for step, one in given.items() if isinstance(one, dict)} if isinstance(given, dict) else {}
