"""One process at a time in an output folder.

The system gives the lock back when its process ends, however it ends, so none is ever left behind.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from open_instruct.core.errors import UserError, disk_error

# Of file systems of clusters that were mounted without them (Lustre, NFS).
NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def only_run(folder: str | os.PathLike, work: str) -> Iterator[None]:
    """Keep a second process out of the folder, whose output would be mixed with ours; without locks, warn of it.

    Args:
        folder: made if missing.
        work: what is done there, for the message to the second: "evaluation".

    Raises:
        UserError: another process is in this block, or the folder cannot be written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        lock = (Path(folder) / ".lock").open("w")
    except OSError as error:
        raise disk_error(error, folder) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another {work} is writing here. Wait for it, or name another output folder."
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS_HERE:
                raise disk_error(error, folder) from error
            tell_no_locks(folder)
        yield


def tell_no_locks(path: str | os.PathLike) -> None:
    """Where the system cannot keep a second run out, the user has to."""
    print(f"warning: {path}: this file system has no locks; start no second run on it", file=sys.stderr)
