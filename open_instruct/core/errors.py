"""Errors for the person who can mend them.

Raise `UserError` for a wrong file, setting or machine; `command.run` prints it as one line and exits with 1. Every
other exception is a fault of ours and keeps its traceback.
"""

import errno
import os
import shutil


class UserError(Exception):
    """One line that says what is wrong, where, and what to do."""


def disk_error(error: OSError, path: str | os.PathLike) -> UserError:
    """Turn a failed write to `path` into a line with the remedy.

    Args:
        error: what the operating system said.
        path: the file that was being written.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        folder = os.path.dirname(os.path.abspath(path))
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
