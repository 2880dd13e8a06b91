"""Errors for the person who can mend them.

Raise `UserError` for a wrong file, setting or machine; `command.run` prints it as one line and exits with 1. Every
other exception is a fault of ours and keeps its traceback.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """One line that says what is wrong, where, and what to do."""


def disk_error(error: OSError, path: str | os.PathLike) -> UserError:
    """Turn a failed write to `path` into a line with the remedy.

    Args:
        error: what the operating system said.
        path: the file that was being written.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        folder = os.path.abspath(path)
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        free = shutil.disk_usage(folder).free // 2**20
        return UserError(
            f"{path}: the disk is full ({free} MiB free). Everything finished is kept; make room and run the same "
            "command again."
        )
    return UserError(
        f"{path}: cannot be written: {error.strerror}. Check the path and its permissions, then run again."
    )


@contextmanager
def full_disk_told(path: str | os.PathLike) -> Iterator[None]:
    """Within the block, libraries write below `path`; what they raise on a full disk becomes one line that names it."""
    try:
        yield
    except Exception as error:
        if not is_full_disk(error):
            raise
        raise disk_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path) from error


def is_full_disk(error: BaseException | None) -> bool:
    """Whether a full disk is behind `error`: safetensors and torch say so in words of their own, not with a number."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(error) for words in _FULL_DISK):
            return True
        error = error.__cause__ or error.__context__
    return False


# Of safetensors (Rust), and of torch.save, whose writer keeps the reason to itself.
_FULL_DISK = (
    *("No space left on device", "Disk quota exceeded"),
    *("PytorchStreamWriter failed writing file", "unexpected pos "),
    "database or disk is full",  # SQLite
)
