"""Puts any number of evaluated runs side by side: on the terminal, on one HTML page, in Markdown, and as JSON.

    python -m eval.report it=results/it sit=results/sit --output DIR --about it='single tasks' sit='chains of tasks'
    python -m eval.report results/ --output DIR                       every run in the folder

writes DIR/report.html, DIR/report.md and DIR/results.json. Everything in them comes from what `eval.run` wrote.
"""

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from eval import results
from eval.page import Facts, render
from eval.results import Result
from eval.tables import Runs, bounds, markdown, percent, terminal
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.records import replacing, write_json


@dataclass
class Settings:
    runs: list[str] = help_field(
        "NAME=FOLDER of each run, or a folder of runs; also without --runs, as first arguments"
    )
    output: str = help_field(
        "folder for report.html, report.md and results.json; or the page's own name, ending in .html"
    )
    about: list[str] = help_field("NAME=TEXT: one line on what the run of that name is, for the page's legend", [])
    title: str = help_field("heading of the page; by default the names of the runs", "")
    seed: int | None = help_field("of the whole experiment, for results.json and the page", None)
    seconds: float | None = help_field("that the whole experiment took, for results.json and the page", None)


def main(settings: Settings) -> None:
    """Read the runs, write the three files, and print the tables.

    Raises:
        UserError: a run has no results, or a file of it is damaged.
    """
    folders = _folders(settings.runs)
    runs = {name: results.read_run(folder) for name, folder in folders.items()}
    page = Path(settings.output)
    page = page if page.suffix == ".html" else page / "report.html"
    facts = Facts(
        title=settings.title or f"Evaluation: {', '.join(runs)}",
        notes=_notes(runs, settings),
        origins={name: _origin(folder, runs[name]) for name, folder in folders.items()},
        warnings=[*_unfinished(folders), *_warnings(runs)],
        about=_about(settings.about, runs),
    )
    predictions = {
        name: {benchmark: results.read_predictions(folders[name] / benchmark) for benchmark in found}
        for name, found in runs.items()
    }
    _write_text(page, render(runs, predictions, facts))
    _write_text(page.with_suffix(".md"), _markdown(runs, facts))
    write_json(
        page.parent / "results.json", {**_leading_figures(runs), "seed": settings.seed, "seconds": settings.seconds}
    )
    for name, text in facts.about.items():
        print(f"{name}: {text}")
    if facts.about:
        print()
    print(terminal(runs))
    for warning in facts.warnings:
        print(textwrap.fill(f"note: {warning}", 80, break_on_hyphens=False))
    print(f"\nthe page with the plot and all predictions: {page}")


def _folders(given: list[str]) -> dict[str, Path]:
    """The run folders by name."""
    folders: dict[str, Path] = {}
    for one in given:
        name, equals, folder = one.partition("=")
        named = equals and "/" not in name and not Path(one).is_dir()  # the folder's own name may hold a "=", too
        found = {name: Path(folder)} if named else _runs_in(Path(one))
        for name, folder in found.items():
            if name in folders:
                raise UserError(f"two runs are called {name!r}: {folders[name]} and {folder}. Name one: NAME={folder}")
            if name in ("", "seed", "seconds"):
                raise UserError(f"a run cannot be called {name!r}. Write NAME={folder} with another name")
            folders[name] = folder
    return folders


def _runs_in(folder: Path) -> dict[str, Path]:
    """The folder itself if it is a run, or the runs in it."""
    if any(folder.glob(f"*/{results.METRICS_FILE}")):
        return {folder.resolve().name: folder}
    found = {path.name: path for path in sorted(folder.glob("*")) if any(path.glob(f"*/{results.METRICS_FILE}"))}
    if not found:
        raise UserError(
            f"{folder}: no runs here. Evaluate first: python -m eval.run --model CHECKPOINT --output_dir {folder}/NAME"
        )
    return found


def _about(given: list[str], runs: Runs) -> dict[str, str]:
    """What each run is, in the order of the runs."""
    told = {}
    for one in given:
        name, _, text = one.partition("=")
        if name not in runs or not text:
            raise UserError(f"--about {one!r}: write NAME=TEXT, with one of these names: {', '.join(runs)}")
        told[name] = text
    return {name: told[name] for name in runs if name in told}


def _leading_figures(runs: Runs) -> dict[str, dict[str, float]]:
    """By run and short name of the benchmark, the metric that leads."""
    return {
        name: {result.short: next(iter(result.metrics.values())).value for result in found.values()}
        for name, found in runs.items()
    }


def _notes(runs: Runs, settings: Settings) -> list[str]:
    benchmarks = {benchmark for found in runs.values() for benchmark in found}
    items = sum(max(found[one].n for found in runs.values() if one in found) for one in benchmarks)
    notes = [_counted(len(runs), "run"), _counted(len(benchmarks), "benchmark"), _counted(items, "item")]
    if settings.seed is not None:
        notes.append(f"seed {settings.seed}")
    if settings.seconds is not None:
        minutes, seconds = divmod(round(settings.seconds), 60)
        notes.append(f"made in {minutes} min {seconds} s" if minutes else f"made in {seconds} s")
    return notes


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}" + ("" if number == 1 else "s")


def _unfinished(folders: dict[str, Path]) -> list[str]:
    """Runs whose last evaluation goes on yet, was killed or failed: figures of it are missing."""
    warnings = []
    for name, folder in folders.items():
        info = results.read_info(folder)
        if info and info.get("status") != "finished":
            warnings.append(
                f"The evaluation of {name} did not end (status in {folder / 'run.json'}: {info.get('status')}): "
                "give its command again, or wait for it."
            )
    return warnings


def _warnings(runs: Runs) -> list[str]:
    """What makes figures incomparable."""
    warnings = []
    for name, found in runs.items():
        if len({result.depends_on.get("checkpoint") for result in found.values()}) > 1:
            warnings.append(
                f"The results of {name} come from different checkpoints: evaluate it again on all benchmarks."
            )
        if partial := [result.title for result in found.values() if result.partial]:
            warnings.append(f"Only some of the items were evaluated for {name}: {', '.join(partial)}.")
    for benchmark in sorted({benchmark for found in runs.values() for benchmark in found}):
        same = [found[benchmark] for found in runs.values() if benchmark in found]
        for what in ("data", "task"):
            if len({result.depends_on.get(what) for result in same}) > 1:
                warnings.append(
                    f"The runs were evaluated on different versions of {same[0].title} ({what}): evaluate them again."
                )
    return warnings


def _origin(folder: Path, found: dict[str, Result]) -> list[tuple[str, str]]:
    """How a run came about, from its run.json as far as there is one."""
    checkpoints = {str(result.depends_on.get("checkpoint", ""))[:12] for result in found.values()}
    origin = [("results", str(folder)), ("fingerprint", ", ".join(sorted(checkpoints)))]
    info = results.read_info(folder)
    settings, versions, git = info.get("settings") or {}, info.get("versions") or {}, info.get("git") or {}
    told = [
        ("checkpoint", settings.get("model")),
        ("evaluated", info.get("start")),
        ("versions", ", ".join(f"{k} {versions[k]}" for k in ("torch", "transformers", "lm-eval") if k in versions)),
        ("commit", (git.get("commit") or "")[:12] + (" with changes" if git.get("dirty") else "")),
    ]
    return [*((what, str(value)) for what, value in told if value), *origin]


def _markdown(runs: Runs, facts: Facts) -> str:
    lines = [f"# {facts.title}", "", " · ".join(facts.notes), ""]
    lines += [f"- **{name}**: {text}" for name, text in facts.about.items()] + [""] * bool(facts.about)
    lines += [f"> {warning}" for warning in facts.warnings] + [""] * bool(facts.warnings)
    lines.append(markdown(runs))
    return "\n".join([*lines, *_steps_table(runs)])


def _steps_table(runs: Runs) -> list[str]:
    """Steps followed against position, in Markdown."""
    rows = [
        (result.title, name, result.steps())
        for name, found in runs.items()
        for result in found.values()
        if len(result.steps()) > 1
    ]
    if not rows:
        return []
    longest = max(len(steps) for _, _, steps in rows)
    lines = ["**Steps right by position**, % (95 % interval)", ""]
    lines.append("| | | " + " | ".join(f"step {step}" for step in range(1, longest + 1)) + " |")
    lines.append("| --- | --- |" + " ---: |" * longest)
    titles = list(dict.fromkeys(title for title, _, _ in rows))
    for title, name, steps in sorted(rows, key=lambda row: titles.index(row[0])):
        cells = [f"{percent(step.value)} ({bounds(step)})" for step in steps] + [""] * (longest - len(steps))
        lines.append(f"| {title} | {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as write:
        write(text.encode())


if __name__ == "__main__":
    given = sys.argv[1:]
    named = not given or given[0].startswith("-")
    run(main, Settings, arguments=given if named else ["--runs", *given])
