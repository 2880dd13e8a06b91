"""From scored items as lm-evaluation-harness logs them to our figures and our lines of predictions.jsonl.

Called by `eval.run` when a benchmark is done. A logged item holds the row of the data, what was asked, all that the
model answered, and the value of each metric; an item is logged once for each of the task's filters.
"""

import json
from collections.abc import Iterator, Sized
from dataclasses import asdict
from typing import Any

from eval.benchmarks import Benchmark, Cluster, MetricInfo
from eval.results import Metric
from open_instruct.core.errors import UserError
from open_instruct.core.intervals import clustered_interval, interval, standard_error

_ITEMS = Cluster(field="", name="items")  # of metrics that have several values an item


def figures(benchmark: Benchmark, samples: list[dict[str, Any]]) -> dict[str, Metric]:
    """The figures of a benchmark, in the order of its YAML.

    Raises:
        UserError: an item lacks the field that the benchmark names as its cluster.
    """
    values: dict[str, list[float]] = {}
    clusters: dict[str, list[str]] = {}
    several: set[str] = set()
    for sample in samples:
        for name, value in _metrics_of(sample).items():
            found = listed(value)
            values.setdefault(name, []).extend(found)
            clusters.setdefault(name, []).extend([_cluster_of(sample, benchmark)] * len(found))
            several |= {name} if isinstance(value, list) else set()
    described = {info.name: info for info in benchmark.metrics}
    order = list(described)
    metrics = {}
    for name in sorted(values, key=lambda name: order.index(_plain(name)) if _plain(name) in order else len(order)):
        info = asdict(described.get(_plain(name), MetricInfo(name)))
        del info["name"]
        cluster = benchmark.cluster or (_ITEMS if name in several else None)
        each = "values" if name in several else "items"
        low, high, over = _interval(values[name], clusters[name], cluster, info["unit"], each)
        metrics[name] = Metric(
            value=sum(values[name]) / len(values[name]),
            n=len(values[name]),
            stderr=standard_error(values[name]),
            low=low,
            high=high,
            over=over,
            **info,
        )
    return metrics


def counted_clusters(benchmark: Benchmark, samples: list[dict[str, Any]]) -> str:
    """What the items fall into: "10 task combinations"; "" where they are independent."""
    if benchmark.cluster is None:
        return ""
    return _counted({_cluster_of(sample, benchmark) for sample in samples}, benchmark.cluster.name)


def predictions(samples: list[dict[str, Any]], task: Any) -> Iterator[dict[str, Any]]:
    """The lines of predictions.jsonl, one an item: lm_eval logs an item once for each of its filters."""
    metadata = task.get_config("metadata") or {}
    cluster = (metadata.get("cluster") or {}).get("field")
    shown = metadata.get("question")
    items: dict[int, dict[str, Any]] = {}
    for sample in samples:
        if sample["doc_id"] not in items:
            items[sample["doc_id"]] = {
                "id": sample["doc"].get("id", str(sample["doc_id"])),
                "question": sample["doc"][shown] if shown else task.doc_to_text(sample["doc"]),
                "prompt": sample["arguments"][0][0],
                "response": _response(sample, task),
                "target": _target(sample, task),
                "metrics": {},
                **({"cluster": _json(sample["doc"][cluster])} if cluster else {}),
            }
        metrics = {name: listed(value) for name, value in _metrics_of(sample).items()}
        items[sample["doc_id"]]["metrics"] |= {name: sum(found) / len(found) for name, found in metrics.items()}
    yield from items.values()


def listed(value: float | list[float]) -> list[float]:
    """The values of an item: one, or as many as it has parts, such as the instructions of a prompt."""
    return list(map(float, value)) if isinstance(value, list) else [float(value)]


def _interval(
    values: list[float], clusters: list[str], cluster: Cluster | None, unit: str, each: str
) -> tuple[float, float, str]:
    """Both ends of the 95 % interval, and what it was taken over; `each` says what a value is of."""
    shares = unit == "share"
    if cluster and (ends := clustered_interval(values, clusters, shares)):
        return *ends, _counted(set(clusters), cluster.name)
    return *interval(values, shares), _counted(values, each)


def _cluster_of(sample: dict[str, Any], benchmark: Benchmark) -> str:
    if benchmark.cluster is None:
        return str(sample["doc_id"])
    if benchmark.cluster.field not in sample["doc"]:
        raise UserError(
            f"{benchmark.yaml}: metadata.cluster names the field {benchmark.cluster.field!r}, which item "
            f"{sample['doc_id']} lacks; the data loader of the task must keep it"
        )
    return _json(sample["doc"][benchmark.cluster.field])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _counted(what: Sized, name: str) -> str:
    return f"{len(what):,} {name}"


def _metrics_of(sample: dict[str, Any]) -> dict[str, float | list[float]]:
    """The metrics of a logged item; under another filter of lm_eval than the plain one, as METRIC,FILTER."""
    ending = "" if sample["filter"] == "none" else f",{sample['filter']}"
    return {f"{name}{ending}": sample[name] for name in sample["metrics"]}


def _plain(metric: str) -> str:
    return metric.partition(",")[0]


def _response(sample: dict[str, Any], task: Any) -> Any:
    """What the model answered: its text, a list of texts where several were drawn, or the choice it finds likeliest."""
    if task.OUTPUT_TYPE == "generate_until":
        texts = sample["resps"][0]
        return texts[0] if len(texts) == 1 else list(texts)
    likelihoods = [answers[0][0] for answers in sample["resps"]]
    return sample["arguments"][max(range(len(likelihoods)), key=likelihoods.__getitem__)][1]


def _target(sample: dict[str, Any], task: Any) -> Any:
    """The right answer as a reader knows it: the text of a choice, not its number."""
    if task.OUTPUT_TYPE == "multiple_choice" and isinstance(sample["target"], int):
        return task.doc_to_choice(sample["doc"])[sample["target"]]
    return sample["target"]
