"""Judges stored outputs with a language model, without the model that wrote them.

    python -m eval.judges --kind seqeval --predictions outputs.json
        --output_dir results/NAME/seqeval --engine openai --engine_options model=gpt-4.1

    python -m eval.judges --kind pairwise --predictions ours.jsonl --reference theirs.jsonl
        --output_dir results/NAME/koala --engine vllm --engine_options path=/models/Qwen3-32B

The files hold one JSON object a row, predictions.jsonl of eval.run or any with a question and a response. The output
folder gets verdicts.jsonl, metrics.json and predictions.jsonl, as a benchmark of eval.run has them, so eval.report
shows it. Killed, the same command goes on: no verdict is paid for twice. --dry_run tells requests, tokens and cost.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval import judges, results
from eval.judges import _items, _plan
from eval.judges._items import Item
from eval.judges._llm import ATTEMPTS, Asking, Kind
from eval.judges._prompt import FOLDER
from eval.results import Result
from eval.tables import terminal
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.only_run import only_run
from open_instruct.core.progress import Prices
from open_instruct.core.run_info import RunInfo


@dataclass
class Settings:
    kind: str = help_field("of judge: seqeval, pairwise, alpaca_eval, ...; an unknown one lists all")
    predictions: str = help_field("file of what to judge: predictions.jsonl of eval.run, or any JSONL or JSON array")
    output_dir: str = help_field("folder for verdicts.jsonl, metrics.json and predictions.jsonl")
    engine: str = help_field("who judges: an engine of open_instruct/engines; an unknown one lists all", "openai")
    engine_options: list[str] = help_field("of the engine, each SETTING=VALUE", [])
    reference: str = help_field("answers of the model to compare with: a file, or a run's results", "")
    question_field: str = help_field(
        "field of the question; by default question, instruction (with input) or prompt", ""
    )
    response_field: str = help_field("field of the response; by default response or output", "")
    prompt: str = help_field("prompt file to judge with, without .yaml; by default the kind's own", "")
    prompts: str = help_field(f"folder of prompt files; by default {FOLDER.parent.name}/{FOLDER.name}", "")
    attempts: int = help_field("times that a request is asked before its verdict counts as unreadable", ATTEMPTS)
    seed: int = help_field("of the judge's first attempt; each further one adds 1", 0)
    limit: int = help_field("judge only the first N rows, marked as partial in every report; 0: all", 0)
    price_in: float = help_field("of a million tokens that the judge reads, in your currency", 0.0)
    price_out: float = help_field("of a million tokens that it writes", 0.0)
    dry_run: bool = help_field("tell what would be asked, and cost; ask nothing", False)


def main(settings: Settings) -> None:
    """Judge what is not judged yet, write the results, and print the figures.

    Raises:
        UserError: the judge cannot be opened, a file cannot be read, or nothing that the judge wrote can be read.
    """
    kind = _kind(settings.kind)
    if settings.attempts < 1 or settings.limit < 0:
        raise UserError("--attempts must be at least 1 and --limit at least 0")
    every = _items.read(Path(settings.predictions), settings.question_field, settings.response_field)
    items = every[: settings.limit or None]
    if kind.compares:
        benchmark = Path(settings.predictions).resolve().parent.name
        items = kind.compared(items, settings.reference, benchmark, settings.question_field, settings.response_field)
    prices = Prices(settings.price_in, settings.price_out)
    asking = Asking(
        settings.engine,
        settings.engine_options,
        settings.prompt,
        settings.prompts,
        settings.attempts,
        settings.seed,
        prices,
    )
    if settings.dry_run:
        print(_plan.table(kind, items, asking))
        return
    kind.check(settings.engine, settings.engine_options, settings.reference)
    kind.prompt(asking)
    output = Path(settings.output_dir)
    with only_run(output, "judge"), RunInfo(output, settings, settings.seed):
        _write_predictions(output, kind, items, len(every))
        judged = kind.judge_items(items, output, asking)
    result = results.read(output)
    print(terminal({output.name: {result.benchmark: result}}))
    print(_counts(judged, len(items), output))


def _kind(name: str) -> Kind:
    kind = getattr(judges.module(name), "KIND", None)
    if kind is None:
        raise UserError(f"the kind {name} judges results of eval.run only: name it there")
    return kind


def _write_predictions(output: Path, kind: Kind, items: list[Item], available: int) -> None:
    """predictions.jsonl and a metrics.json without figures; those that hold just these answers stay."""
    depends_on = {"input": _items.digest(items), "rows": available}
    before = results.read(output)
    if before is not None and before.depends_on == depends_on:
        return
    if before is not None and "checkpoint" in before.depends_on:
        raise UserError(f"{output}: holds the results of an evaluation, which judging other rows would replace")
    rows = (
        {
            "id": item.id,
            "question": item.question,
            "prompt": item.row.get("prompt", item.question),
            "response": item.response,
            "target": item.row.get("target", item.reference),
            "metrics": item.metrics,
            **{name: item.row[name] for name in ("iteration",) if name in item.row},
        }
        for item in items
    )
    result = Result(
        benchmark=output.resolve().name,
        title=kind.title,
        short=output.resolve().name,
        about=kind.about,
        order=800,
        n=len(items),
        n_available=available,
        metrics={},
        depends_on=depends_on,
    )
    results.write(output, result, rows)


def _counts(judged: dict[str, Any], items: int, output: Path) -> str:
    lines = [f"\n{items:,} rows: {judged['n']:,} judged, {judged['unreadable']:,} without a readable verdict"]
    if "win" in judged:
        lines.append(f"win {judged['win']:,}, tie {judged['tie']:,}, lose {judged['lose']:,}")
    if judged.get("bounds") and judged["unreadable"]:
        low, high = judged["bounds"]
        lines.append(
            f"win rate over all rows: {100 * low:+.1f} to {100 * high:+.1f} points, the unreadable lost or won"
        )
    cost = "" if judged["cost"] is None else f", cost {judged['cost']:,.2f}"
    lines.append(
        f"{judged['requests']:,} requests, {judged['tokens_in']:,} tokens in, {judged['tokens_out']:,} out{cost}"
    )
    return "\n".join([*lines, f"verdicts and results: {output}"])


if __name__ == "__main__":
    run(main, Settings)
