"""What every test stands on: no network, and the real data beside the checkout where there is any."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# Set here and not in scripts/test.sh, so that a plain `pytest` is offline too; before anything imports their libraries.
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1")
os.environ.update(WANDB_MODE="disabled", TOKENIZERS_PARALLELISM="false", MPLBACKEND="Agg")

# The same examples in every run: what fails here fails everywhere, and nobody is refused over another's mistake.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real rows and reference outputs: $SIT_SHARED, or `shared` beside the checkout; skips if absent."""
    folder = Path(os.environ.get("SIT_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"needs the shared data folder, and {folder} is not there (set SIT_SHARED)")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: of two processes that share the files, none is left with a long one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
