"""A disk that is really full: a file system of 1 MB in memory, mounted for one test."""

import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own with 1 MB of room; skips where mounting is not allowed."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "small_disk", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount: {mounted.stderr.strip()}")
    yield folder
    # Lazily: what still holds a file there, such as the traceback of a failed test, must not leave it mounted.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
