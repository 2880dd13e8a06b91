"""What DeepSpeed compiles for offloading: no lock of a dead process is waited for, and a failure is one line."""

import pytest

from open_instruct.core.errors import UserError
from open_instruct.training import offloading

builders = pytest.importorskip("deepspeed.ops.op_builder")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "compiled"))
    return tmp_path / "compiled" / "cpu_adam"


def test_a_lock_that_a_killed_compilation_left_is_not_waited_for(folder, monkeypatch):
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    found = []
    monkeypatch.setattr(builders.CPUAdamBuilder, "load", lambda self, verbose: found.append((folder / "lock").exists()))
    offloading.compile_adam()
    assert found == [False]


def test_what_the_compiler_says_is_one_line(folder, monkeypatch):
    def load(self, verbose):
        raise RuntimeError(
            "Error building extension 'cpu_adam': [1/3] c++ ...\ncpu_adam.cpp:3:10: fatal error: omp.h: no"
        )

    monkeypatch.setattr(builders.CPUAdamBuilder, "load", load)
    with pytest.raises(
        UserError, match=r"cpu_adam, which cannot be compiled here: cpu_adam.cpp:3:10: fatal error: omp.h"
    ) as told:
        offloading.compile_adam()
    assert "\n" not in str(told.value)


def test_a_path_with_a_blank_is_said_before_anything_is_compiled(folder, monkeypatch):
    monkeypatch.setattr("deepspeed.__file__", "/my dir/deepspeed/__init__.py")
    with pytest.raises(UserError, match="there is a blank in /my dir/deepspeed; set the project up in a path without"):
        offloading.compile_adam()
    assert not folder.exists()
