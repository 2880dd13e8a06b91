"""Predictions of the miniature, and a server whose model is the oracle, for the tests of judges."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "engines"))
from fault_server import fault_server  # noqa: E402

from eval import results  # noqa: E402
from eval.results import Metric, Result  # noqa: E402


def write_json(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def oracle_server():
    """A function that starts a server, as `fault_server` does; its answers are the oracle's."""
    return fault_server


@pytest.fixture
def chains() -> list[dict]:
    """Four chains of the miniature, with answers that follow all, the first, the last and none of the tasks."""
    instruction = "First reverse the list, then count the items, then name the first item.\napple pear fig"
    answers = ("fig pear apple\nthree\napple", "fig pear apple", "no\nno\napple", "")
    return [{"id": f"c{number}", "question": instruction, "response": one} for number, one in enumerate(answers)]


@pytest.fixture
def benchmark(tmp_path, chains) -> Path:
    """A benchmark's folder as `eval.run` leaves it, with one figure that needs no judge."""
    folder = tmp_path / "results" / "run" / "seqeval"
    rows = [
        {**chain, "prompt": chain["question"], "target": "", "metrics": {"answered": float(bool(chain["response"]))}}
        for chain in chains
    ]
    figure = Metric(0.75, 4, 0.25, 0.3, 0.95, title="Answered at all", over="4 items")
    result = Result("seqeval", "SeqEval", "seqeval", "chains", 800, 4, 4, {"answered": figure})
    results.write(folder, result, rows)
    return folder
