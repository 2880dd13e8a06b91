"""open_instruct/core/only_run.py: one process at a time in a folder."""

import errno
import fcntl

import pytest

from open_instruct.core.errors import UserError
from open_instruct.core.journal import Journal
from open_instruct.core.only_run import only_run


def fails_with(monkeypatch, number):
    def flock(file, how):
        raise OSError(number, "as the file system says")

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_second_run_is_kept_out_until_the_first_ends(tmp_path):
    with only_run(tmp_path, "work"), pytest.raises(UserError, match="another work is writing here"):
        with only_run(tmp_path, "work"):
            pass
    with only_run(tmp_path, "work"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_on_a_file_system_without_locks_work_goes_on_with_a_warning(tmp_path, number, monkeypatch, capsys):
    fails_with(monkeypatch, number)
    with only_run(tmp_path, "work"), Journal(tmp_path / "a.journal", {}) as journal:
        journal.add(0, "done")
    assert capsys.readouterr().err.count("this file system has no locks; start no second run on it") == 2


def test_a_lock_that_fails_otherwise_is_one_line(tmp_path, monkeypatch):
    fails_with(monkeypatch, errno.EIO)
    with pytest.raises(UserError, match="cannot be written: as the file system says"), only_run(tmp_path, "work"):
        pass
