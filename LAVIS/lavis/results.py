"""Scores the responses of a run, and writes them as stage 3 reads them: RESULTS/<run>/<benchmark>/metrics.json and
predictions.jsonl.

The format is that of `eval/results.py`, which this stage may not import: stages meet in files, and
`tests/lavis/test_results.py` reads ours with it. Beside its fields, a line of predictions.jsonl has `image` (path),
`description` and `answer`.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from lavis import prompts
from lavis.answers import Parts, parts_of
from lavis.metrics.captions import bleu, rouge_l
from lavis.metrics.match import exact_match, lenient_match
from lavis.metrics.vqa import vqa_accuracy
from lavis.rows import Row
from lavis.settings import EvaluationRun
from open_instruct.core.errors import UserError
from open_instruct.core.intervals import clustered_interval, interval, standard_error
from open_instruct.core.records import write_json, write_rows

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.jsonl"
REJECTED_FILE = "rejected.jsonl"

LEADS = {"vqa": "vqa_accuracy", "exact": "exact_match"}  # what run.metric names
# name -> (table it stands in, what it means)
_ABOUT = {
    "vqa_accuracy": ("VQA accuracy", "official: the answer is worth a third for each of nine annotators who gave it"),
    "exact_match": ("Exact match", "the answer is the right one, but for case and a final period (GQA's accuracy)"),
    "lenient_match": ("Lenient match", "the published script's: last word of the answer equal to, in, or around it"),
    "followed": ("Described before answering", "the response gives a description and then an answer"),
    "caption_bleu": ("Caption BLEU-4", "of the description against people's captions, mean over sentences"),
    "caption_rouge_l": ("Caption ROUGE-L", "F1 of the description against the nearest of people's captions"),
}


def check_metric(run: EvaluationRun, rows: list[Row]) -> None:
    """Refuse a metric that the rows cannot be scored by.

    Raises:
        UserError: run.metric is unknown, or a row has too few answers.
    """
    if run.metric not in LEADS:
        raise UserError(f"run.metric: {run.metric!r} is none of {', '.join(LEADS)}")
    for row in rows:
        if not row.answers:
            raise UserError(f"question {row.id} has no answers to compare with; make rows of an annotated split")
    if run.metric == "vqa" and len(rows[0].answers) < 4:
        raise UserError(
            f"run.metric: vqa needs the answers of several annotators, and question {rows[0].id} has "
            f"{len(rows[0].answers)}; set run.metric=exact"
        )


def score(row: Row, response: str, prompt_name: str) -> tuple[Parts, dict[str, float]]:
    """The response taken apart, and every metric that applies to the row and the prompt, from 0 to 1."""
    parts = parts_of(response)
    metrics = {}
    if len(row.answers) > 1:
        metrics["vqa_accuracy"] = vqa_accuracy(parts.answer, row.answers)
    metrics["exact_match"] = exact_match(parts.answer, row.answer)
    metrics["lenient_match"] = lenient_match(response, row.answer)
    if prompts.asks_for_description(prompt_name):
        metrics["followed"] = float(parts.followed)
        if row.captions:
            metrics["caption_bleu"] = bleu(parts.description, row.captions) if parts.description else 0.0
            metrics["caption_rouge_l"] = rouge_l(parts.description, row.captions) if parts.description else 0.0
    return parts, metrics


def write(
    folder: Path,
    run: EvaluationRun,
    rows: list[Row],
    asked: list[str],
    responses: list[str | None],
    depends_on: dict[str, Any],
    rejected: list[dict[str, Any]],
    seconds: float,
) -> dict[str, dict[str, Any]]:
    """Score everything and write it; metrics.json comes last, so that where it is, all is.

    Args:
        rows: every question.
        asked: the text that the model was shown for each.
        responses: of each; None where the picture could not be read.
        depends_on: what the result depends on.
        rejected: questions left out, with reasons.
        seconds: that the model took.

    Returns:
        The figures, the leading one first.
    """
    (folder / METRICS_FILE).unlink(missing_ok=True)  # never an old one beside new predictions
    write_rows(folder / REJECTED_FILE, rejected)
    values: dict[str, list[float]] = {}
    images: dict[str, list[str]] = {}
    predictions = []
    pictures = len({row.image for row in rows})
    shared = pictures < len(rows)  # questions of one picture are right or wrong together
    for row, text, response in zip(rows, asked, responses, strict=True):
        if response is None:
            continue
        parts, metrics = score(row, response, run.prompt)
        for name, value in metrics.items():
            values.setdefault(name, []).append(value)
            images.setdefault(name, []).append(row.image)
        predictions.append(
            {
                "id": row.id,
                "question": row.question,
                "prompt": text,
                "response": response,
                "target": row.answer,
                "metrics": metrics,
                "image": os.path.relpath(row.image, folder),  # so that both may move together
                "description": parts.description,
                "answer": parts.answer,
                **({"cluster": row.image} if shared else {}),
            }
        )
    if not predictions:
        raise UserError(f"not one picture can be read; see {folder / REJECTED_FILE}")
    write_rows(folder / PREDICTIONS_FILE, predictions)
    lead = LEADS[run.metric]
    figures = {
        name: _figure(name, values[name], images[name]) for name in sorted(values, key=lambda name: name != lead)
    }
    write_json(
        folder / METRICS_FILE,
        {
            "benchmark": run.benchmark,
            "title": run.title,
            "short": run.benchmark,
            "about": _about(run.prompt),
            "order": 100.0,  # after the benchmarks of texts
            "n": len(predictions),
            "n_available": len(rows),
            "metrics": figures,
            "clusters": f"{pictures:,} images" if shared else "",
            "depends_on": depends_on,
            "seconds": round(seconds, 2),
            "partial": len(predictions) < len(rows),
        },
    )
    return figures


def _about(prompt_name: str) -> str:
    """One line on the benchmark; models are asked each in its own way, so the way is not told unless it is a trap."""
    wrong = ", with the description of another picture in the prompt"
    return "questions about pictures" + (wrong if prompts.needs_distraction(prompt_name) else "")


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _figure(name: str, values: list[float], images: list[str]) -> dict[str, Any]:
    """A mean with its interval: over images where several questions share one, which are right or wrong together."""
    title, about = _ABOUT[name]
    ends, over = None, f"{len(values):,} items"
    pictures = len(set(images))
    if pictures < len(values) and (ends := clustered_interval(values, images)):
        over = f"{pictures:,} images"
    low, high = ends or interval(values)
    return {
        "value": sum(values) / len(values),
        "n": len(values),
        "stderr": standard_error(values),
        "low": low,
        "high": high,
        "title": title,
        "about": about,
        "position": 0,
        "higher_is_better": True,
        "over": over,
    }


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures in lines of at most 80 characters."""
    width = max(len(figure["title"]) for figure in figures.values())
    lines = []
    for figure in figures.values():
        value, low, high = (f"{100 * figure[name]:.1f}" for name in ("value", "low", "high"))
        lines.append(f"{figure['title']:{width}}  {value:>5}  ({low}-{high})")
    return "\n".join(lines)
