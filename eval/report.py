"""Puts any number of evaluated runs side by side: on the terminal, on one HTML page, in Markdown, LaTeX and JSON.

    python -m eval.report results/ --output report.html               every run in the folder
    python -m eval.report it=results/it sit=results/sit --output DIR --about it='single tasks' sit='chains of tasks'

writes the page, and beside it report.md, report.tex and results.json. Everything in them comes from what `eval.run`
wrote, but for the figures that others published (docs/published.yaml).
"""

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from eval import comparisons, facts, markdown, published, results
from eval.browsable import Benchmark, gather
from eval.comparisons import Pair
from eval.facts import Facts
from eval.latex import latex
from eval.page import render
from eval.pictures import Pictures
from eval.published import Beside
from eval.tables import Runs, terminal, written
from open_instruct.core.command import help_field, run
from open_instruct.core.errors import UserError
from open_instruct.core.records import replacing, write_json

_NAMED = 4  # runs that the heading names


@dataclass
class Settings:
    runs: list[str] = help_field(
        "NAME=FOLDER of each run, or a folder of runs; also without --runs, as first arguments"
    )
    output: str = help_field(
        "folder for report.html, report.md, report.tex and results.json; or the page's own name, ending in .html"
    )
    compare: list[str] = help_field(
        "names of two runs: the second is held against the first, item by item; by default the first two. On the page "
        "any two can be chosen",
        [],
    )
    about: list[str] = help_field("NAME=TEXT: one line on what the run of that name is, for the page's legend", [])
    title: str = help_field("heading of the page; by default the names of the runs", "")
    published: str = help_field(
        "file of published figures to show beside ours, by default docs/published.yaml; none for none", ""
    )
    seed: int | None = help_field("of the whole experiment, for results.json and the page", None)
    seconds: float | None = help_field("that the whole experiment took, for results.json and the page", None)


def main(settings: Settings) -> None:
    """Read the runs, write the files, and print the tables.

    Raises:
        UserError: a run has no results, or a file of it is damaged. Predictions that are missing or damaged only cost
            a line: the figures stand without them.
    """
    folders = _folders(settings.runs)
    runs = {name: results.read_run(folder) for name, folder in folders.items()}
    chosen = _chosen(settings.compare, list(runs))
    about = _about(settings.about, runs)
    figures = {} if settings.published == "none" else published.read(Path(settings.published or published.FILE))
    beside = _beside(runs, figures)
    pictures = Pictures()
    benchmarks = _gathered(runs, folders, chosen, pictures)
    compared = comparisons.rows_of(runs, benchmarks, chosen)
    shown = {chosen: compared[chosen]} if chosen and compared[chosen] else {}
    told = Facts(
        title=settings.title or f"Evaluation: {', '.join(runs) if len(runs) <= _NAMED else f'{len(runs)} runs'}",
        notes=facts.notes(runs, settings.seed, settings.seconds),
        origins={name: facts.origin(folder, runs[name]) for name, folder in folders.items()},
        warnings=[*facts.warnings(runs, folders), *_of_predictions(benchmarks), *pictures.warnings()],
        about=about,
    )
    page = Path(settings.output)
    page = page if page.suffix == ".html" else page / "report.html"
    with replacing(page) as write:
        for piece in render(runs, benchmarks, compared, chosen, beside, told):
            write(piece.encode("utf-8", "replace"))
    for ending, text in (
        (".md", markdown.document(runs, shown, beside, told)),
        (".tex", latex(runs, shown, "* only some of the items were evaluated.")),
    ):
        with replacing(page.with_suffix(ending)) as write:
            write(text.encode("utf-8", "replace"))
    write_json(
        page.parent / "results.json", {**_leading_figures(runs), "seed": settings.seed, "seconds": settings.seconds}
    )
    for name, text in told.about.items():
        print(f"{name}: {text}")
    if told.about:
        print()
    print(terminal(runs))
    for pair, rows in shown.items():
        print(f"\n{comparisons.terminal(pair, rows)}")
    for warning in told.warnings:
        print(textwrap.fill(f"note: {warning}", 80, break_on_hyphens=False, break_long_words=False))
    print(f"\nthe page with the plots and all predictions: {page}")


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
            if not name.isprintable():
                raise UserError(f"{folder}: a run cannot be called {name!r}. Write NAME=FOLDER with another name")
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


def _chosen(given: list[str], names: list[str]) -> Pair | None:
    """The two runs that are held against each other."""
    if not given:
        return (names[0], names[1]) if len(names) > 1 else None
    if len(given) != 2 or len(set(given)) != 2 or not set(given) <= set(names):
        raise UserError(f"--compare {' '.join(given)}: name two of the runs: {', '.join(names)}")
    return given[0], given[1]


def _about(given: list[str], runs: Runs) -> dict[str, str]:
    """What each run is, in the order of the runs."""
    told = {}
    for one in given:
        name, _, text = one.partition("=")
        if name not in runs or not text:
            raise UserError(f"--about {one!r}: write NAME=TEXT, with one of these names: {', '.join(runs)}")
        told[name] = text
    return {name: told[name] for name in runs if name in told}


def _gathered(runs: Runs, folders: dict[str, Path], chosen: Pair | None, pictures: Pictures) -> list[Benchmark]:
    """The predictions of every benchmark, in the order of the columns."""
    names = list(runs)
    places = [names.index(run) for run in chosen] if chosen else [0]
    order = {name: (result.order, name) for found in runs.values() for name, result in found.items()}
    return [
        gather(name, {run: found.get(name) for run, found in runs.items()}, folders, pictures, places)
        for name in sorted(order, key=order.__getitem__)
    ]


def _of_predictions(benchmarks: list[Benchmark]) -> list[str]:
    """What is wrong with the predictions, one line each."""
    told = [warning for benchmark in benchmarks for warning in benchmark.warnings]
    if unclustered := [benchmark.title for benchmark in benchmarks if benchmark.unclustered]:
        told.append(
            f"Predictions of {', '.join(unclustered)} are of an earlier version and do not name their clusters: runs "
            "are compared over items there, which finds differences too easily. Evaluate again."
        )
    return told


def _beside(runs: Runs, figures: dict[tuple[str, str], list[published.Published]]) -> list[Beside]:
    """Published figures of the metrics that the runs have, in the order of the benchmarks."""
    found: dict[tuple[float, str, str], Beside] = {}
    for run_name, benchmarks in runs.items():
        for name, result in benchmarks.items():
            for metric_name, metric in result.metrics.items():
                theirs = [one for one in figures.get((name, metric_name), []) if one.unit == metric.unit]
                if theirs:
                    one = Beside(result.title, metric.title or metric_name.replace("_", " "), [], theirs)
                    ours = found.setdefault((result.order, name, metric_name), one).ours
                    ours.append((run_name, f"{written(metric)}{'*' if result.partial else ''}"))
    return [found[key] for key in sorted(found, key=lambda key: key[:2])]


def _leading_figures(runs: Runs) -> dict[str, dict[str, float]]:
    """By run and short name of the benchmark, the metric that leads."""
    return {
        name: {result.short: next(iter(result.metrics.values())).value for result in found.values()}
        for name, found in runs.items()
    }


if __name__ == "__main__":
    given = sys.argv[1:]
    named = not given or given[0].startswith("-")
    run(main, Settings, arguments=given if named else ["--runs", *given])
