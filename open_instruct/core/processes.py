"""Of the processes of a run, one a GPU, the first speaks and decides. Whatever runs on several GPUs uses it."""

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from open_instruct.core.errors import UserError

T = TypeVar("T")


def said_once(work: Callable[[bool], None]) -> None:
    """Do the work, which is told whether this is the first process. A mistake that all of them find is said by it.

    Raises:
        UserError: of `work`, in the first process; the others end with exit code 1.
    """
    first = int(os.environ.get("RANK", "0")) == 0  # as torchrun and accelerate set it
    try:
        work(first)
    except UserError:
        if first:
            raise
        sys.exit(1)


def told_by_the_first(first: bool, work: Callable[[], T]) -> T:
    """The result of `work`, done by the first process alone, in all of them; where it fails, all end.

    They must have found each other: a `PartialState` was made.
    """
    told: list[Any] = [None, True]
    try:
        if first:
            told = [work(), False]
    finally:
        if PartialState().num_processes > 1:
            broadcast_object_list(told)
    if told[1]:
        sys.exit(1)
    return told[0]


def on_each_machine(work: Callable[[], None]) -> None:
    """`work` done by one process of each machine; those on which it fails say so, and all end."""
    problem = None
    if PartialState().is_local_main_process:
        try:
            work()
        except UserError as error:
            problem = error
    failed = any(gather_object([problem is not None]))
    if problem is not None:
        raise problem
    if failed:
        sys.exit(1)
