"""Runs generated code where it can harm nothing, and says whether its tests pass.

    verdicts = sandbox.run([Case(program="def one(): return 1", tests="assert one() == 1", names=("one",))])

Code from a model is hostile. It runs in a room of bubblewrap's: no network, no environment, no file but the read-only
interpreter and an empty /tmp, one process, a user of its own, and limits. Its tests run in a second such room; they
call the program over a channel that carries plain values only (`eval/rooms`). So the program shares no process with its
tests: there is no checker, no token and no verdict that it could reach. What it can do is answer calls, and the only
way to pass is to answer them rightly.

What no sandbox can tell: a program that knows the tests by heart, and tests so weak that a wrong answer passes.
Arguments go by value: a test that looks whether the program changed one finds it unchanged. Faults of the kernel itself
are held off by the system calls that are denied (`eval/seccomp.py`), and no further.

Called by the scoring of `eval/tasks/codex_humaneval` and `mbpp`. It knows nothing of benchmarks.
"""

import compileall
import functools
import math
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from eval import seccomp
from eval.rooms import wire
from open_instruct.core.errors import UserError

UNSANDBOXED_VARIABLE = "SIT_ALLOW_UNSANDBOXED_CODE"  # set by `eval.run --allow_unsandboxed_code`
PACKAGES = ("numpy",)  # that programs may import beside the standard library, where the environment has them
_ROOMS = Path(__file__).parent / "rooms"
_STARTING_SECONDS = 30  # for two interpreters on a machine that is busy with other things
_TRIES = 3
_USERS = 2048  # numbers to draw from for a room's user, when root runs us


@dataclass(frozen=True)
class Limits:
    """What one case may use.

    Attributes:
        seconds: wall-clock time of program and tests together; 3.0 is that of HumanEval's own scorer.
        memory: bytes of address space of a room; it has one process (without walls: of each process).
        file_size: bytes of each file; /tmp as a whole holds four times as much.
        threads: of a room at once.
    """

    seconds: float = 3.0
    memory: int = 512 << 20
    file_size: int = 8 << 20
    threads: int = 8

    def for_room(self, user: int, walled: bool) -> list[str]:
        """The settings of `eval/rooms/room.py`; without walls a count of threads is of all of the user's."""
        threads = self.threads if walled else 0
        return [str(n) for n in (user, self.memory, self.file_size, threads, math.ceil(self.seconds) + 2)]


@dataclass(frozen=True)
class Case:
    """A program and its tests.

    Attributes:
        program: source of the tested code; what it prints is thrown away.
        tests: trusted source; the case passes if it runs to its end without an exception.
        names: of the program that the tests may use, functions or values; one that is missing stays undefined.
        setup: trusted source that runs before `names` are put in place of what it defines.
    """

    program: str
    tests: str
    names: tuple[str, ...] = ()
    setup: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether all tests passed; if not, why, in the words of the exception ("AssertionError: ")."""

    passed: bool
    reason: str = ""


class RoomError(Exception):
    """A room did not start: a fault of the machine, of which nothing follows for the program."""


def require() -> None:
    """Refuse here, before a model is loaded, if generated code could not be run.

    Raises:
        UserError: there is no bubblewrap, or it does not work here, and code without walls was not allowed.
    """
    if (problem := _problem()) and not _allowed():
        raise UserError(
            f"generated code cannot be run safely: {problem} Or, on a machine that may be lost, allow it without "
            f"walls: --allow_unsandboxed_code ({UNSANDBOXED_VARIABLE}=1)."
        )


def run(cases: Sequence[Case], limits: Limits | None = None, workers: int | None = None) -> list[Verdict]:
    """The verdict of each case, in their order.

    Args:
        cases: programs and tests.
        limits: of each case.
        workers: cases at once; by default one a core.

    Raises:
        UserError: as `require`; or rooms stopped starting in the midst of it.
    """
    require()
    limits = limits or Limits()
    walled = not _problem()
    with ThreadPoolExecutor(max_workers=workers or _cores()) as pool:
        return list(pool.map(lambda case: _verdict(case, limits, walled), cases))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _allowed() -> bool:
    return os.environ.get(UNSANDBOXED_VARIABLE) == "1"


def _bubblewrap() -> str | None:
    return shutil.which("bwrap")


@functools.cache
def _problem() -> str:
    """What keeps bubblewrap's rooms from working on this machine, found by using one; "" if nothing does."""
    if _bubblewrap() is None:
        return "bubblewrap is not installed (Debian, Ubuntu: apt-get install bubblewrap)."
    if not seccomp.known():
        return f"there is no filter of system calls for this machine's processor ({os.uname().machine})."
    try:
        trial = _tried(Case("def one():\n    return 1\n", "assert one() == 1", ("one",)), Limits(seconds=10.0), True)
    except RoomError as error:
        return (
            f"bubblewrap does not work here ({error}). A container must allow it: the capability SYS_ADMIN to root, "
            "user namespaces to others (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0)."
        )
    return "" if trial.passed else f"a program that is right did not pass its test ({trial.reason})."


def _verdict(case: Case, limits: Limits, walled: bool) -> Verdict:
    for _ in range(_TRIES):  # the machine may be short of memory or processes for a moment
        try:
            return _tried(case, limits, walled)
        except (RoomError, BlockingIOError) as error:  # BlockingIOError: no more processes
            last = error
    raise UserError(
        f"rooms for generated code stopped starting: {last}. Is the machine out of memory or processes? Run again: "
        "what the model answered is kept."
    ) from last


def _tried(case: Case, limits: Limits, walled: bool) -> Verdict:
    """One case in two fresh rooms, with walls or (if that was allowed) without.

    Raises:
        RoomError: a room did not start.
    """
    try:
        asked = wire.encode((case.program, case.setup, list(case.names), case.tests, limits.seconds))
    except wire.Malformed:
        return Verdict(False, "the program is too long")
    with ExitStack() as stack:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            program = stack.enter_context(_room("program", [], limits, walled, stdin=theirs.fileno()))
            judge = stack.enter_context(
                _room("judge", [str(ours.fileno())], limits, walled, stdin=subprocess.PIPE, pass_fd=ours.fileno())
            )
        message = len(asked).to_bytes(4, "big") + asked
        try:
            said, complaint = judge.communicate(message, timeout=_STARTING_SECONDS + limits.seconds)
        except subprocess.TimeoutExpired as expired:
            said, complaint = expired.stdout or b"", b""
        words = _words(said)
        if not words or words[0][0] != "begun":
            program.kill()
            raise RoomError(_line(complaint) or _line(program.communicate()[1]) or "no word from it")
        if len(words) == 1:
            return Verdict(False, "the tests ran out of their limits")
        kind, reason = words[1]
        return Verdict(True) if kind == "passed" else Verdict(False, f"{kind}: {reason}" if reason else kind)


def _words(said: bytes) -> list[tuple[str, str]]:
    """What the judge said: whole messages only, of a judge that may have been killed in the midst of one."""
    words = []
    while len(said) >= 4:
        size = int.from_bytes(said[:4], "big")
        body, said = said[4 : 4 + size], said[4 + size :]
        if len(body) < size:
            break
        words.append(wire.decode(body))
    return words


def _line(complaint: bytes) -> str:
    return " ".join(complaint[-300:].decode(errors="replace").split())


@contextmanager
def _room(
    module: str, arguments: list[str], limits: Limits, walled: bool, stdin: int, pass_fd: int | None = None
) -> Iterator[subprocess.Popen]:
    """An interpreter that runs `eval/rooms/<module>.py`; at the end all that runs in there is killed."""
    start = ["-s", "-S", "-P", "-B", "-c", f"import {module}; {module}.main()", *arguments]
    with ExitStack() as stack:
        passed = [] if pass_fd is None else [pass_fd]
        if walled:
            filter_fd = stack.enter_context(_readable(seccomp.filter_bytes()))
            passed.append(filter_fd)
            user = _free_user()
            command = [*_walls(limits, user, filter_fd), "/python/bin/python", *start, *limits.for_room(user, walled)]
            environment, folder = {}, "/"
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="generated-code-"))
            command = [_interpreter(), *start, *limits.for_room(0, walled)]
            environment = {**_VARIABLES, "PYTHONPATH": f"{_ROOMS}:{sysconfig.get_path('purelib')}", "HOME": folder}
        process = stack.enter_context(
            subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=folder,
                pass_fds=passed,
                start_new_session=True,
            )
        )
        try:
            yield process
        finally:
            if walled:
                process.kill()  # bubblewrap's own end takes the whole room with it
            else:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


_VARIABLES = {
    "PYTHONHASHSEED": "0",  # so that a program that depends on the order of a set has one verdict
    "OPENBLAS_NUM_THREADS": "1",  # numpy starts a thread a core, each with its share of address space
    "LC_ALL": "C.UTF-8",
    "PATH": "/nowhere",
    "HOME": "/tmp",
}


def _walls(limits: Limits, user: int, filter_fd: int) -> list[str]:
    """bubblewrap and what the room holds. No /proc, /sys or /etc; /dev has nothing in it that keeps what is written."""
    walls = [_bubblewrap(), "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-cgroup-try"]
    walls += ["--unshare-uts", "--hostname", "room"]
    walls += ["--cap-drop", "ALL"]
    if user:  # the room itself becomes that user: limits of processes do not hold root
        walls += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        walls += ["--unshare-user"]
    walls += ["--die-with-parent", "--new-session", "--clearenv", "--seccomp", str(filter_fd)]
    walls += _inside()
    walls += ["--perms", "1777", "--size", str(4 * limits.file_size), "--tmpfs", "/tmp", "--remount-ro", "/"]
    return [*walls, "--chdir", "/tmp", "--"]


@functools.cache
def _inside() -> list[str]:
    """The read-only files of a room: the C library, the interpreter, our rooms and the packages."""
    compileall.compile_dir(_ROOMS, quiet=2)  # a room cannot keep what it compiled
    mounts = []
    for folder in ("/usr", "/dev", "/python", "/python/bin", "/python/lib", "/packages"):
        mounts += ["--perms", "0755", "--dir", folder]  # bubblewrap's default is 0700 for some
    for folder in ("/lib", "/lib64", "/usr/lib", "/usr/lib64"):
        if os.path.islink(folder):
            mounts += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            mounts += ["--ro-bind", folder, folder]
    mounts += ["--ro-bind", _interpreter(), "/python/bin/python"]
    mounts += ["--ro-bind", sysconfig.get_path("stdlib", vars=_BASE), f"/python/lib/{_stdlib_name()}"]
    if _has_site_packages():
        hidden = f"/python/lib/{_stdlib_name()}/site-packages"
        mounts += ["--perms", "0755", "--size", "4096", "--tmpfs", hidden, "--remount-ro", hidden]
    library = sysconfig.get_config_var("INSTSONAME") or ""
    for folder in (os.path.join(sys.base_prefix, "lib"), sysconfig.get_config_var("LIBDIR") or ""):
        path = os.path.join(folder, library)  # an interpreter that was moved remembers where it was built
        if os.path.isfile(path) and not library.endswith(".a"):
            mounts += ["--ro-bind", path, f"/python/lib/{library}"]
            break
    mounts += ["--ro-bind", str(_ROOMS), "/rooms"]
    for package in PACKAGES:
        for name in (package, f"{package}.libs"):  # a wheel's own shared libraries
            found = Path(sysconfig.get_path("platlib"), name)
            mounts += ["--ro-bind", str(found), f"/packages/{name}"] if found.is_dir() else []
    for device in ("null", "zero", "random", "urandom"):
        mounts += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    variables = {**_VARIABLES, "PYTHONPATH": "/rooms:/packages", "LD_LIBRARY_PATH": "/python/lib"}
    for name, value in variables.items():
        mounts += ["--setenv", name, value]
    return mounts


_BASE = {"base": sys.base_prefix, "installed_base": sys.base_prefix, "platbase": sys.base_exec_prefix}


def _interpreter() -> str:
    """The interpreter that the environment stands on."""
    return os.path.realpath(sys.executable)


def _stdlib_name() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def _has_site_packages() -> bool:
    return os.path.isdir(os.path.join(sysconfig.get_path("stdlib", vars=_BASE), "site-packages"))


def _free_user() -> int:
    """A user number that no one has, among those that there are here (in a container there may be 65,536).

    0 where there is none to take: we are not root, or root of a namespace without other users (Apptainer's fakeroot).
    """
    top = 1 << 31 if os.geteuid() == 0 else 0
    with suppress(OSError, ValueError), open("/proc/self/uid_map") as file:
        top = min(top, max(int(line.split()[0]) + int(line.split()[2]) for line in file))
    return top - 3 - secrets.randbelow(_USERS) if top >= 1 << 16 else 0  # the last of 65,536 but one is nobody's


@contextmanager
def _readable(data: bytes) -> Iterator[int]:
    """A file descriptor from which a child reads `data`, which must fit into a pipe (64 KiB)."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        yield reading
    finally:
        os.close(reading)
