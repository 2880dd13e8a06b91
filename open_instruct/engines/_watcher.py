"""Ends the processes that a library started for us, when we were killed and could not end them.

vLLM's processes live on when the program that started them dies by a signal, and hold their GPU's memory for ever. So a
process of its own, a child of that program, waits until it is an orphan, however its parent died.

    watcher = Watcher()   # before the library starts anything
    watcher.started()     # all its processes are there
    watcher.end()         # whatever of them the library has not ended by now ends

While the library starts, every new process below ours is taken for one of its.
"""

import os
import select
import subprocess
import sys
import time

import psutil

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 10  # for a process that was asked to end


class Watcher:
    """Started before what it watches."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", os.path.abspath(__file__), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for us, who may end in order
        )
        self._process.stdout.readline()  # it knows now which processes were there before

    def started(self) -> None:
        """From now on no new process is watched."""
        self._say(b"s")
        self._process.stdout.readline()  # it has looked

    def end(self) -> None:
        """End what it watches and is still there, and itself."""
        self._say(b"e")
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _say(self, word: bytes) -> None:
        try:
            self._process.stdin.write(word)
            self._process.stdin.flush()
        except BrokenPipeError:  # somebody killed it: then there is nobody to tell
            pass


def _below(pid: int) -> set[psutil.Process]:
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def _watch(pid: int) -> None:
    """Wait for the end of process `pid`, then end what was started below it since now."""
    others = _below(pid) | {psutil.Process()}
    print(flush=True)
    watched: set[psutil.Process] = set()
    starting = True
    # The pipe alone does not tell of the end: a process that was forked holds it open.
    while os.getppid() == pid:
        heard = select.select([sys.stdin], [], [], _POLL_SECONDS)[0]
        if starting:
            watched |= _below(pid) - others
        if heard:
            if os.read(sys.stdin.fileno(), 1) != b"s":
                break
            starting = False
            print(flush=True)
    _end([process for process in watched if not _is_tracker(process)])


def _is_tracker(process: psutil.Process) -> bool:
    """Whether it is the one that frees shared memory after all others: it ends by itself."""
    try:
        return any("resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return False


def _end(processes: list[psutil.Process]) -> None:
    for method in ("terminate", "kill"):
        for process in processes:
            try:
                getattr(process, method)()
            except psutil.Error:  # it has ended already
                pass
        patience = time.monotonic() + _PATIENCE_SECONDS
        while (processes := [one for one in processes if _runs(one)]) and time.monotonic() < patience:
            time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    """False too where only its parent's question how it ended is still open."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


if __name__ == "__main__":
    _watch(int(sys.argv[1]))
