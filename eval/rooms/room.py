"""What both rooms of `eval/sandbox.py` do first: give up rights, set limits, and keep their channel to themselves.

Runs inside the rooms: the standard library only.
"""

import os
import resource


def enter(settings: list[str]) -> None:
    """Become a plain user without rights, under limits that nothing later can raise.

    Args:
        settings: user number to become (0: stay who one is), and the limits in bytes, threads and seconds, in the
            order of `eval.sandbox.Limits.for_room`.
    """
    user, memory, file_size, threads, cpu_seconds = map(int, settings)
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        _lower(limit, value)
    if threads:
        _lower(resource.RLIMIT_NPROC, threads)
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)  # with the user number 0 go the last of its rights


def private(fd: int) -> int:
    """A copy of `fd` above the three standard ones; /dev/null takes its place."""
    copy = os.dup(fd)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, fd)
    os.close(null)
    return copy


def _lower(limit: int, value: int) -> None:
    """Set a limit for good; one that is lower already stays."""
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, value))
