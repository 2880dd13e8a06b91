"""A dry run: what a generation will ask and cost, before anything is asked.

The prompts of the first iteration are filled for every row and counted. What depends on answers that nobody has yet
(how many rows are rewritten, how long an answer is) is taken from a small finished run of the user's own
(`--measured_run`), or else from published figures, and the table says which.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from open_instruct.core.errors import UserError
from open_instruct.core.estimate import how_counted, token_counter
from open_instruct.core.progress import Prices, duration
from self_seq.outputs import STATISTICS
from self_seq.prompts import Prompt
from self_seq.published import OPTIONS
from self_seq.state import original
from self_seq.steps import NumberedRows

# Mean tokens of an answer. classify, rewrite: 4,840 stored answers of Llama-3-8B-Instruct, Command R+ and GPT-3.5 (569
# and 637 characters, 4.4 a token). respond: the published means for Alpaca with Llama-3-70B-Instruct (first iteration).
EXPECTED = {"classify": 130, "rewrite": 145, "respond_it": 296, "respond_sit": 415}
REWRITING_ADDS = 21  # tokens to an instruction in the first iteration, published for Alpaca (20.2 to 40.9)


@dataclass
class StepPlan:
    """One line: requests and tokens of a step; `seconds` is None where no rate is known."""

    label: str
    requests: float
    tokens_in: float
    tokens_out: float
    seconds: float | None = None


@dataclass
class Plan:
    """A whole run."""

    rows: int
    steps: list[StepPlan]
    prices: Prices
    notes: list[str] = field(default_factory=list)


def make(settings: Any, prompts: dict[str, Prompt], rows: Callable[[], NumberedRows], iterations: int) -> Plan:
    """What a run with these settings would ask.

    Args:
        settings: `generate.Settings`.
        prompts: the loaded prompts by name; "classify_grow" stands for "classify" where a number of tasks is asked for.
        rows: starts a pass over the rows of the input.
        iterations: rounds of rewriting.
    """
    count = token_counter(settings.tokenizer)
    measured = _Measured(settings.measured_run)
    names = [name for name in prompts if name not in ("refine", "respond")]
    fixed = {name: _fixed_tokens(prompts[name], count) for name in prompts}
    totals = dict.fromkeys(names, 0)
    total_rows = without_input = row_tokens = 0
    for number, row in rows():
        total_rows += 1
        row_tokens += count(original(row).prompt)
        for name in names:
            if name != "extract" or not row.input:
                totals[name] += count(prompts[name].fill(number, row)[-1]["content"])
        without_input += not row.input
    mean = {name: fixed[name] + totals[name] / max(total_rows, 1) for name in names}
    answer = {name: _example_tokens(prompts[name], count) for name in prompts} | EXPECTED | measured.answer_tokens
    mean_row = row_tokens / max(total_rows, 1)
    asked_row = fixed["respond"] + mean_row
    steps = []

    def add(label: str, step: str, requests: float, tokens_in: float) -> None:
        tokens_out = requests * answer[step]
        steps.append(StepPlan(label, requests, tokens_in, tokens_out, measured.seconds(step, tokens_out, settings)))

    if settings.extract:
        answer["extract"] = measured.answer_tokens.get("extract", mean_row + 10)  # it copies the row
        add("extract the input", "extract", without_input, fixed["extract"] * without_input + totals["extract"])
    if settings.num_tasks:
        add("count the tasks", "count_tasks", total_rows, total_rows * mean["count_tasks"])
    open_rows, ever_rewritten, grown = float(total_rows), 0.0, 0.0
    classify = "classify_grow" if settings.num_tasks else "classify"
    for iteration in range(1, iterations + 1):
        add(f"iteration {iteration}: classify", "classify", open_rows, open_rows * (mean[classify] + grown))
        shares = measured.shares(iteration, settings.published)
        chosen = {option: open_rows * share for option, share in shares.items()}
        if settings.num_tasks:  # no row is kept
            chosen = {option: open_rows * share / max(sum(shares.values()), 1e-9) for option, share in shares.items()}
        rewritten = sum(chosen.values())
        tokens_in = sum(
            number * (mean[name] + grown)
            for number, name in zip(
                chosen.values(), ("rewrite_decompose", "rewrite_prefix", "rewrite_suffix"), strict=True
            )
        )
        add(f"iteration {iteration}: rewrite", "rewrite", rewritten, tokens_in)
        if settings.refine:
            tokens_in = rewritten * (fixed["refine"] + 2 * mean_row + REWRITING_ADDS)
            add(f"iteration {iteration}: refine", "refine", rewritten, tokens_in)
        ever_rewritten = max(ever_rewritten, rewritten)
        open_rows, grown = rewritten, grown + REWRITING_ADDS
    if settings.it_answers == "generator":
        add("respond to originals", "respond_it", total_rows, total_rows * asked_row)
    sequences = ever_rewritten if settings.it_answers == "generator" else total_rows
    add("respond to sequences", "respond_sit", sequences, sequences * (asked_row + REWRITING_ADDS))
    if settings.judge_rows and not settings.judge_engine:
        sample = 2 * min(settings.judge_rows, ever_rewritten)
        add("judge", "judge" if "judge" in answer else "count_tasks", sample, sample * mean["count_tasks"])
    notes = [
        f"tokens are counted {how_counted(settings.tokenizer)}",
        "no answer is asked twice here; bad answers cost extra",
        *measured.notes(settings),
    ]
    if settings.near_duplicates or settings.decontaminate:
        notes.append("all rows are counted: which ones the screening drops shows when the run begins")
    if settings.judge_rows and settings.judge_engine:
        notes.append(f"the judge, engine {settings.judge_engine}, is not counted")
    return Plan(total_rows, steps, Prices(settings.price_in, settings.price_out), notes)


def table(plan: Plan) -> str:
    """The plan for a terminal of 80 columns."""
    with_cost = bool(plan.prices)
    lines = [f"dry run: {plan.rows:,} rows; nothing is asked", ""]
    lines.append(f"{'step':<26}{'requests':>12}{'tokens in':>14}{'tokens out':>14}{'cost' if with_cost else '':>12}")
    all_steps = StepPlan("all", *(sum(getattr(step, name) for step in plan.steps) for name in _SUMMED))
    for step in (*plan.steps, all_steps):
        cost = f"{plan.prices.cost(step.tokens_in, step.tokens_out):,.2f}" if with_cost else ""
        lines.append(
            f"{step.label:<26}{step.requests:>12,.0f}{step.tokens_in:>14,.0f}{step.tokens_out:>14,.0f}{cost:>12}".rstrip()
        )
    seconds = [step.seconds for step in plan.steps]
    lines.append("")
    if None in seconds:
        lines.append("time: not known; give --tokens_per_second or --measured_run")
    else:
        lines.append(f"time: about {duration(sum(seconds))}")
    return "\n".join([*lines, *(f"- {note}" for note in plan.notes)])


_SUMMED = ("requests", "tokens_in", "tokens_out")


class _Measured:
    """The figures of a small finished run; empty without one."""

    def __init__(self, folder: str) -> None:
        self.answer_tokens: dict[str, float] = {}
        self._shares: list[dict[str, float]] = []
        self._rates: dict[str, float] = {}
        self._mean_rate = 0.0
        if not folder:
            return
        path = Path(folder) / STATISTICS
        try:
            found = json.loads(path.read_bytes())
            tokens, spent, iterations = found["tokens"], found["spent"], found["iterations"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: is no statistics of a finished run; --measured_run names the output folder of one"
            ) from error
        self.answer_tokens = {step: t["out"] / t["answers"] for step, t in tokens.items() if t["answers"]}
        spent = {step: s for step, s in spent.items() if s["seconds"] and s["tokens_out"]}
        self._rates = {step: s["tokens_out"] / s["seconds"] for step, s in spent.items()}
        seconds = sum(s["seconds"] for s in spent.values())
        self._mean_rate = sum(s["tokens_out"] for s in spent.values()) / seconds if seconds else 0.0
        asked = sum(iterations[0].values()) if iterations else 0
        for counts in iterations:
            chosen = {option: counts[option] for option in "ABC"}
            self._shares.append({option: number / max(asked, 1) for option, number in chosen.items()})
            asked = sum(chosen.values())

    def shares(self, iteration: int, published: str) -> dict[str, float]:
        """Share of the rows still open that each of A, B, C gets in an iteration; beyond the known ones, the last."""
        if self._shares:
            return self._shares[min(iteration, len(self._shares)) - 1]
        known = OPTIONS[published]["iterations"]
        place = min(iteration, len(known)) - 1
        still_open = 100 - known[place - 1]["D"] if place else 100
        return {option: known[place][option] / still_open for option in "ABC"}

    def seconds(self, step: str, tokens_out: float, settings: Any) -> float | None:
        """None where no rate is known. A step that the run did not do goes at the mean rate of those that it did."""
        if not tokens_out:
            return 0.0
        rate = settings.tokens_per_second or self._rates.get(step, self._mean_rate)
        return tokens_out / rate if rate else None

    def notes(self, settings: Any) -> list[str]:
        if settings.measured_run:
            return [f"answer lengths, options and rates are those of {settings.measured_run}"]
        return [
            "answer lengths are published ones of Llama-3-70B-Instruct, or those of stored answers of three models",
            f"options are those published for {OPTIONS[settings.published]['name']}",
        ]


def _fixed_tokens(prompt: Prompt, count: Callable[[str], int]) -> int:
    """Tokens of everything before the question."""
    return count(prompt.system) + sum(count(message["content"]) for message in prompt.orders[0])


def _example_tokens(prompt: Prompt, count: Callable[[str], int]) -> float:
    """Mean tokens of the examples' answers; 0 without examples."""
    answers = [count(message["content"]) for message in prompt.orders[0] if message["role"] == "assistant"]
    return sum(answers) / len(answers) if answers else 0.0
