"""From scored items as lm-evaluation-harness logs them to our figures and our lines of predictions.jsonl.

Called by `eval.run` when a benchmark is done. A logged item holds the row of the data, what was asked, all that the
model answered, and the value of each metric; an item is logged once for each of the task's filters.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from eval.benchmarks import Benchmark, MetricInfo
from eval.intervals import interval, standard_error
from eval.results import Metric


def figures(benchmark: Benchmark, samples: list[dict[str, Any]], seed: int) -> dict[str, Metric]:
    """The figures of a benchmark, in the order of its YAML."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in _metrics_of(sample).items():
            values.setdefault(name, []).append(value)
    described = {info.name: info for info in benchmark.metrics}
    order = list(described)
    metrics = {}
    for name in sorted(values, key=lambda name: order.index(_plain(name)) if _plain(name) in order else len(order)):
        low, high = interval(values[name], seed)
        info = asdict(described.get(_plain(name), MetricInfo(name)))
        del info["name"]
        metrics[name] = Metric(
            value=sum(values[name]) / len(values[name]),
            n=len(values[name]),
            stderr=standard_error(values[name]),
            low=low,
            high=high,
            **info,
        )
    return metrics


def predictions(samples: list[dict[str, Any]], task: Any) -> Iterator[dict[str, Any]]:
    """The lines of predictions.jsonl, one an item: lm_eval logs an item once for each of its filters."""
    items: dict[int, dict[str, Any]] = {}
    for sample in samples:
        if sample["doc_id"] not in items:
            items[sample["doc_id"]] = {
                "id": sample["doc"].get("id", str(sample["doc_id"])),
                "question": task.doc_to_text(sample["doc"]),
                "prompt": sample["arguments"][0][0],
                "response": _response(sample, task),
                "target": _target(sample, task),
                "metrics": {},
            }
        items[sample["doc_id"]]["metrics"] |= _metrics_of(sample)
    yield from items.values()


def _metrics_of(sample: dict[str, Any]) -> dict[str, float]:
    """The metrics of a logged item; under another filter of lm_eval than the plain one, as METRIC,FILTER."""
    ending = "" if sample["filter"] == "none" else f",{sample['filter']}"
    return {f"{name}{ending}": float(sample[name]) for name in sample["metrics"]}


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
