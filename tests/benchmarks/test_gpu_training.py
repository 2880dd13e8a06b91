"""The bench of GPU training runs to its figures, on a CPU in the miniature's size; how high they are is not tested."""

import importlib.util
import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    specification = importlib.util.spec_from_file_location("gpu_training", FOLDER / "gpu_training.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    sys.modules.pop("prepare_rows", None)


def test_ours_and_trl_are_measured_on_the_same_rows(bench, tmp_path):
    given = Namespace(shape="miniature", length=128, batch=1, passes=2, steps=5, source=None)
    bench.make_base(tmp_path, given)
    for one in ("lora", "trl_lora"):
        given.one = one
        bench.measure(given, tmp_path)
        found = json.loads((tmp_path / f"{one}.json").read_text())
        assert found["rate"] > 0 and found["mfu"] is None and found["memory"] > 0
        assert 9 < found["loss"] < 12  # random weights over 32,000 tokens: ln 32,000 is 10.4


def test_the_8b_shape_is_llama_3s(bench):
    from open_instruct.training.plan import shape_of

    assert shape_of(bench.SHAPES["llama3-8b"], None).parameters == 8_030_261_248  # as published
