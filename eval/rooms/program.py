"""The room of the tested program: runs it, then answers calls of its functions.

Started by `eval/sandbox.py`, which gives it one channel as standard input: the tests, in the other room. Nothing here
is trusted from the moment on that the program runs, since the program can change all of it. The standard library only.
"""

import builtins
import os
import sys
from operator import delitem, getitem, setitem
from typing import Any

import room
import wire

# What tests do with an object that stayed here, beside calling it.
ACTIONS = {
    "getattr": getattr,
    "setattr": setattr,
    "iter": iter,
    "next": next,
    "len": len,
    "getitem": getitem,
    "setitem": setitem,
    "delitem": delitem,
    "repr": repr,
}


def main() -> None:
    room.enter(sys.argv[1:])
    channel = room.private(0)
    room.private(1)
    room.private(2)
    wire.send(channel, "ready")
    source, names = wire.receive(channel)
    namespace: dict[str, Any] = {}
    kept: list[Any] = []
    numbers: dict[int, int] = {}  # by id(); what is kept stays alive, so no other object gets its id

    def keep(value: Any) -> wire.Handle:
        if id(value) not in numbers:
            numbers[id(value)] = len(kept)
            kept.append(value)
        return wire.Handle(numbers[id(value)])

    def answer(act: Any) -> None:
        try:
            reply = wire.encode(("value", act()), keep)
        except BaseException as error:  # a program that calls exit() must be told from one that dies
            known = (kind.__name__ for kind in type(error).__mro__ if getattr(builtins, kind.__name__, None) is kind)
            reply = wire.encode(("raise", next(known), _text(error)))
        wire.write(channel, reply)

    def load() -> dict[str, Any]:
        exec(compile(source, "<program>", "exec", dont_inherit=True), namespace)
        return {name: namespace[name] for name in names if name in namespace}

    answer(load)
    while True:
        try:
            action, arguments, keywords = wire.receive(channel)
        except EOFError:
            os._exit(0)
        arguments = [_here(value, kept) for value in arguments]
        keywords = {name: _here(value, kept) for name, value in keywords.items()}
        act = ACTIONS[action] if isinstance(action, str) else kept[action.number]
        answer(lambda act=act, arguments=arguments, keywords=keywords: act(*arguments, **keywords))


def _here(value: Any, kept: list[Any]) -> Any:
    """A value from the other room, with the objects that its handles stand for."""
    if isinstance(value, wire.Handle):
        return kept[value.number]
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_here(part, kept) for part in value)
    if type(value) is dict:
        return {_here(key, kept): _here(part, kept) for key, part in value.items()}
    return value


def _text(error: BaseException) -> str:
    try:
        return str(error)[:200]
    except BaseException:
        return ""
