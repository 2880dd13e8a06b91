"""Which benchmarks there are in `eval/tasks`, what their YAML says, and what their results depend on. It loads nothing.

Called by `eval.run`. A benchmark is a task of lm-evaluation-harness whose `dataset_kwargs` names its data: `file`,
relative to the data folder. For people its YAML says `task_alias` (title), `metadata.about` and `metadata.order` (of
columns), and in `metric_list` a `title` for each metric that belongs in tables, a `position` for each that is a point
of a plot, and a `unit` (of `eval/units.py`) for each that is no share. A metric with `several` gives a list of values
an item, and its figure is the mean over them all, to which its `aggregation` in lm_eval must come. `metadata.cluster`
(`field`, `name`) says which items are right or wrong together; `metadata.question` which field of an item people and
judges are shown as its question, where the prompt holds more; `metadata.judge` the kind of judge that its answers need.
"""

import difflib
import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eval import local_data, units
from open_instruct.core.errors import UserError

_SHARED = (
    "code_answers.py",
    "sandbox.py",
    "seccomp.py",
)  # scorers outside the tasks' folders, beside scoring/ and rooms/

TASKS_FOLDER = Path(__file__).parent / "tasks"


@dataclass(frozen=True)
class MetricInfo:
    """What the YAML says of a metric; `title` is "" for one in no table, `position` 0 for one in no plot."""

    name: str
    title: str = ""
    about: str = ""
    position: int = 0
    higher_is_better: bool = True
    unit: str = units.DEFAULT


@dataclass(frozen=True)
class Cluster:
    """What sets items of a benchmark apart that are right or wrong together; intervals are then taken over these.

    Attributes:
        field: of an item; items with equal values belong together.
        name: what a group of them is, in the plural ("task combinations").
    """

    field: str
    name: str


@dataclass(frozen=True)
class Benchmark:
    """A task as its YAML describes it.

    Attributes:
        name: of the task, and of its folder in the results.
        title, short, about, order: for reports: heading, key in results.json, one line of explanation, place of its
            column.
        version: of the task; results of different versions do not compare.
        metrics: in the order of the YAML.
        yaml: the file that describes it.
        data: the data file, relative to the data folder; "" where the task names none.
        cluster: None where items are independent.
        chat_template: False where the model is to go on writing plain text, as base models do.
        output_type: what the model is asked for, in lm_eval's words: generate_until, multiple_choice, ...
        judge: the kind of judge (`eval/judges`) that its answers need; "" where the task scores them by itself.
    """

    name: str
    title: str
    short: str
    about: str
    order: float
    version: str
    metrics: tuple[MetricInfo, ...]
    yaml: Path
    data: str = ""
    cluster: Cluster | None = None
    chat_template: bool = True
    output_type: str = "generate_until"
    judge: str = ""

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of what the figures come from, beside the model: results of another are stale.

        That is the task's folder (prompts, scoring), the scorers that tasks share, the harness, and the data.
        """
        here = Path(__file__).parent
        shared = [*(here / "scoring").glob("*.py"), *(here / "rooms").glob("*.py"), *map(here.joinpath, _SHARED)]
        code = [path for path in (*self.yaml.parent.iterdir(), *shared) if path.is_file() and path.suffix != ".pyc"]
        prints = {"task": _digest(sorted(code)), "lm_eval": version("lm-eval")}
        data = local_data.folder() / self.data
        if self.data and data.exists():
            prints["data"] = _digest([data] if data.is_file() else sorted(p for p in data.rglob("*") if p.is_file()))
        return prints


def find(names: list[str], folders: list[Path], manager: Any) -> list[Benchmark]:
    """The benchmarks that `names` (tasks, groups, tags) stand for, each once, in that order.

    Args:
        names: as given by the user.
        folders: where `manager` looked; named when a name is unknown.
        manager: lm_eval's TaskManager over `folders`.

    Raises:
        UserError: a name is unknown; the line lists those there are.
    """
    if not names:
        raise UserError(f"no task is named; there are: {_known(manager)}")
    leaves: dict[str, None] = {}
    for name in names:
        for leaf in _leaves(name, folders, manager):
            leaves[leaf] = None
    return [_describe(manager.task_index[leaf]) for leaf in leaves]


def _leaves(name: str, folders: list[Path], manager: Any) -> list[str]:
    entry = manager.task_index.get(name)
    if entry is None:
        places = ", ".join(map(str, folders))
        near = "".join(f"did you mean {one}? " for one in difflib.get_close_matches(name, manager.task_index, n=1))
        raise UserError(f"no task named {name!r} in {places}; {near}there are: {_known(manager)}")
    if entry.kind.name == "TAG":
        return sorted(entry.tags)
    if entry.kind.name != "GROUP":
        return [name]
    members = entry.cfg["task"]
    members = [members] if isinstance(members, str) else members
    return [leaf for member in members for leaf in _leaves(member, folders, manager)]


def _known(manager: Any) -> str:
    return ", ".join(manager.all_groups + manager.all_tags + manager.all_subtasks)


def _describe(entry: Any) -> Benchmark:
    raw = entry.cfg
    metadata = raw.get("metadata") or {}
    for metric in raw.get("metric_list") or []:
        if metric.get("aggregation", "mean") != "mean" and not metric.get("several"):
            raise UserError(
                f"{entry.yaml_path}: metric {metric['metric']}: aggregation must be mean, the rest is unknown here"
            )
        try:
            units.check(metric.get("unit", units.DEFAULT))
        except ValueError as error:
            raise UserError(f"{entry.yaml_path}: metric {metric['metric']}: {error}") from error
    if entry.name in ("", "..") or entry.name != Path(entry.name).name or not entry.name.isprintable():
        raise UserError(f"{entry.yaml_path}: task {entry.name!r} names its results' folder: no '/', '..' or line end")
    kwargs = raw.get("dataset_kwargs") or {}
    cluster = metadata.get("cluster")
    if cluster is not None and (not isinstance(cluster, dict) or set(cluster) != {"field", "name"}):
        raise UserError(f"{entry.yaml_path}: metadata.cluster must be {{field: FIELD OF AN ITEM, name: IN THE PLURAL}}")
    metrics = tuple(
        MetricInfo(
            name=str(metric["metric"]),
            title=metric.get("title", ""),
            about=metric.get("about", ""),
            position=metric.get("position", 0),
            higher_is_better=metric.get("higher_is_better", True),
            unit=metric.get("unit", units.DEFAULT),
        )
        for metric in raw.get("metric_list") or []
    )
    return Benchmark(
        name=entry.name,
        title=raw.get("task_alias") or entry.name,
        short=metadata.get("short", entry.name),
        about=metadata.get("about", ""),
        order=metadata.get("order", 0),
        version=str(metadata.get("version", "")),
        metrics=metrics,
        yaml=Path(entry.yaml_path),
        data=kwargs.get("file") or kwargs.get("folder", ""),
        cluster=Cluster(**cluster) if cluster else None,
        chat_template=metadata.get("chat_template", True),
        output_type=raw.get("output_type", "generate_until"),
        judge=metadata.get("judge", ""),
    )


def _digest(files: list[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()
