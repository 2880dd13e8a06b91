"""The floors of the house: stages never import each other, and the core knows no stage."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ("open_instruct.core", "open_instruct.engines", "open_instruct.miniature")
STAGES = {"self_seq": ROOT / "self-seq" / "self_seq", "eval": ROOT / "eval", "lavis": ROOT / "LAVIS" / "lavis"}


def imported(path):
    """The modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_stands_on_the_core_alone(stage):
    files = list(STAGES[stage].rglob("*.py"))
    assert files
    for path in files:
        for module in imported(path):
            package = module.split(".")[0]
            assert package == stage or package not in STAGES, f"{path} imports {module}"
            assert package != "open_instruct" or module == package or module.startswith(CORE), (
                f"{path} imports {module}"
            )


@pytest.mark.parametrize("part", ["core", "engines", "miniature"])
def test_the_core_knows_no_stage(part):
    files = list((ROOT / "open_instruct" / part).rglob("*.py"))
    assert files
    for path in files:
        for module in imported(path):
            assert module.split(".")[0] not in STAGES, f"{path} imports {module}"
            if module.startswith("open_instruct."):
                assert module.startswith(CORE), f"{path} imports {module}"


def test_fine_tuning_imports_no_other_stage():
    files = [*(ROOT / "open_instruct").glob("*.py"), *(ROOT / "open_instruct" / "training").glob("*.py")]
    assert files
    for path in files:
        assert not {module.split(".")[0] for module in imported(path)} & set(STAGES)
