"""The room of the tests: runs them, calls the program in the other room, and says whether they pass.

Started by `eval/sandbox.py`: standard input brings the case, standard output takes the verdict. The tested program is
another process in another room. It gets the arguments of calls and gives plain values back; it never sees the tests,
this process or the verdict. The standard library only.
"""

import builtins
import signal
import sys
from typing import Any

import room
import wire


class OutOfTime(BaseException):
    """The time of this case is over."""


class Cheat(Exception):
    """The program's room sent what is no answer, or is gone."""


def main() -> None:
    channel = int(sys.argv[1])
    room.enter(sys.argv[2:])
    source = room.private(0)
    verdict = room.private(1)
    room.private(2)
    program, setup, names, tests, seconds = wire.receive(source)
    try:
        if wire.receive(channel) != "ready":
            raise EOFError
    except EOFError:
        wire.send(verdict, ("no room", "the program's room did not start"))
        return
    wire.send(verdict, ("begun", ""))
    try:
        said = _judged(channel, program, setup, names, tests, seconds)
    except OutOfTime:  # in the last moment
        signal.setitimer(signal.ITIMER_REAL, 0)
        said = ("timed out", "")
    wire.send(verdict, said)


def _judged(channel: int, program: str, setup: str, names: list[str], tests: str, seconds: float) -> tuple[str, str]:
    """The verdict and its reason."""
    late = False

    def over(*_: Any) -> None:
        nonlocal late
        late = True  # for tests that catch everything
        raise OutOfTime

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        other = _Program(channel)
        found = other.load(program, names)
        namespace: dict[str, Any] = {}
        exec(compile(setup, "<setup>", "exec", dont_inherit=True), namespace)
        for name in names:
            namespace.pop(name, None)  # the setup's own must not stand in for one that the program lacks
        namespace.update(found)
        exec(compile(tests, "<tests>", "exec", dont_inherit=True), namespace)
        verdict = ("passed", "")
    except OutOfTime:
        verdict = ("timed out", "")
    except BaseException as error:  # SystemExit of a program comes through here, too
        verdict = ("failed", f"{type(error).__name__}: {_text(error)}"[:300])
    signal.setitimer(signal.ITIMER_REAL, 0)
    return ("timed out", "") if late else verdict


class _Program:
    """The other room: every call is one question and one answer."""

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._gone = False
        self._remotes: dict[int, Remote] = {}

    def load(self, program: str, names: list[str]) -> dict[str, Any]:
        """Run the program; what it then calls by these names."""
        found = self._ask((program, names))
        if not isinstance(found, dict):
            raise Cheat("the program's room sent what is no answer")
        return {name: value for name, value in found.items() if name in names}

    def do(self, action: Any, /, *arguments: Any, **keywords: Any) -> Any:
        """Have the program call a handle, or do one of its room's ACTIONS, with these arguments."""
        sent = [_there(value) for value in arguments]
        return self._ask((action, sent, {name: _there(value) for name, value in keywords.items()}))

    def _ask(self, question: Any) -> Any:
        question = wire.encode(question)  # Malformed: the tests give what cannot be sent, the channel is whole
        if self._gone:
            raise Cheat("the program has ended")
        self._gone = True  # until a whole answer is here: tests that catch an error must not find an old answer
        try:
            wire.write(self._channel, question)
            answer = wire.receive(self._channel)
        except (EOFError, OSError) as error:
            raise Cheat("the program has ended") from error
        match answer:
            case ("value", value):
                self._gone = False
                return self._here(value)
            case ("raise", str(name), str(text)):
                self._gone = False
                raise _error(name, text)
        raise Cheat("the program's room sent what is no answer")

    def _here(self, value: Any) -> Any:
        if isinstance(value, wire.Handle):
            return self._remotes.setdefault(value.number, Remote(self, value))
        if type(value) in (list, tuple, set, frozenset):
            return type(value)(self._here(part) for part in value)
        if type(value) is dict:
            return {self._here(key): self._here(part) for key, part in value.items()}
        return value


class Remote:
    """A function, class or object of the program. Equal to itself alone: its own idea of equality is not asked."""

    __slots__ = ("_program", "_handle")

    def __init__(self, program: _Program, handle: wire.Handle) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_handle", handle)

    def __call__(self, /, *arguments: Any, **keywords: Any) -> Any:
        return self._program.do(self._handle, *arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        return self._program.do("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._program.do("setattr", self, name, value)

    def __len__(self) -> int:
        return self._program.do("len", self)

    def __getitem__(self, key: Any) -> Any:
        return self._program.do("getitem", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._program.do("setitem", self, key, value)

    def __delitem__(self, key: Any) -> None:
        self._program.do("delitem", self, key)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Any:
        walk = self._program.do("iter", self)
        while True:
            try:
                yield self._program.do("next", walk)
            except RuntimeError as error:
                if error.args != (_ENDED,):
                    raise
                return


# Not raised as StopIteration: in `all(map(check, cases))` it would end the tests early, and pass.
_ENDED = "the program raised StopIteration"


def _error(name: str, text: str) -> BaseException:
    """The builtin exception of that name; the program chooses name and text, and nothing else."""
    if name in ("StopIteration", "StopAsyncIteration"):
        return RuntimeError(_ENDED)
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        try:
            return kind(text)
        except TypeError:  # UnicodeDecodeError wants five arguments
            return ValueError(text) if issubclass(kind, ValueError) else RuntimeError(text)
    return RuntimeError(text)


def _there(value: Any) -> Any:
    """A value of the tests as it is sent: an object of the program goes back as its handle."""
    if isinstance(value, Remote):
        return object.__getattribute__(value, "_handle")
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_there(part) for part in value)
    if type(value) is dict:
        return {_there(key): _there(part) for key, part in value.items()}
    return value


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""
