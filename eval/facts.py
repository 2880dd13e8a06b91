"""What a report says beside its figures: how the runs came about, and what a reader must know before trusting them.

Called by `eval.report`; the page and the Markdown text show it.
"""

from dataclasses import dataclass
from pathlib import Path

from eval import judged, results
from eval.results import Result
from eval.tables import Runs


@dataclass(frozen=True)
class Facts:
    """What the report says beside the results.

    Attributes:
        title: heading of the page.
        notes: facts on the whole report (seed, seconds), each a short sentence.
        origins: how each run came about, as (what, value) pairs by run.
        warnings: what a reader must know before trusting a figure.
        about: what each run is, in one line; runs of which nothing is said are left out.
    """

    title: str
    notes: list[str]
    origins: dict[str, list[tuple[str, str]]]
    warnings: list[str]
    about: dict[str, str]


def notes(runs: Runs, seed: int | None, seconds: float | None) -> list[str]:
    """How much there is, the seed, and the time that it took, as far as they are known."""
    benchmarks = {benchmark for found in runs.values() for benchmark in found}
    items = sum(max(found[one].n for found in runs.values() if one in found) for one in benchmarks)
    told = [_counted(len(runs), "run"), _counted(len(benchmarks), "benchmark"), _counted(items, "item")]
    if seed is not None:
        told.append(f"seed {seed}")
    if seconds is not None:
        minutes, seconds = divmod(round(seconds), 60)
        told.append(f"made in {minutes} min {seconds} s" if minutes else f"made in {seconds} s")
    return told


def warnings(runs: Runs, folders: dict[str, Path]) -> list[str]:
    """Evaluations that did not end, and what makes figures incomparable."""
    told = []
    for name, folder in folders.items():
        info = results.read_info(folder)
        if info and info.get("status") != "finished":
            told.append(
                f"The evaluation of {name} did not end (status in {folder / 'run.json'}: {info.get('status')}): "
                "give its command again, or wait for it."
            )
    for name, found in runs.items():
        if len({result.depends_on.get("checkpoint") for result in found.values()}) > 1:
            told.append(f"The results of {name} come from different checkpoints: evaluate it again on all benchmarks.")
        if partial := [result.title for result in found.values() if result.partial]:
            told.append(f"Only some of the items were evaluated for {name}: {', '.join(partial)}.")
    for benchmark in sorted({benchmark for found in runs.values() for benchmark in found}):
        same = [found[benchmark] for found in runs.values() if benchmark in found]
        for what in ("data", "task", "lm_eval"):
            if len({result.depends_on.get(what) for result in same}) > 1:
                told.append(
                    f"The runs were evaluated on different versions of {same[0].title} ({what}): evaluate them again."
                )
        for how in judged.unlike({run: found[benchmark] for run, found in runs.items() if benchmark in found}):
            told.append(f"{same[0].title} was judged {how}, so its figures do not compare.")
    return told


def origin(folder: Path, found: dict[str, Result]) -> list[tuple[str, str]]:
    """How a run came about, from its run.json as far as there is one."""
    checkpoints = {str(result.depends_on.get("checkpoint", ""))[:12] for result in found.values()}
    always = [("results", str(folder)), ("fingerprint", ", ".join(sorted(checkpoints)))]
    info = results.read_info(folder)
    settings, versions, git = (
        value if isinstance(value, dict) else {} for value in map(info.get, ("settings", "versions", "git"))
    )
    told = [
        ("checkpoint", settings.get("model")),
        ("evaluated", info.get("start")),
        ("versions", ", ".join(f"{k} {versions[k]}" for k in ("torch", "transformers", "lm-eval") if k in versions)),
        ("commit", str(git.get("commit") or "")[:12] + (" with changes" if git.get("dirty") else "")),
    ]
    return [*((what, str(value)) for what, value in [*told, *always] if value)]


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}" + ("" if number == 1 else "s")
