"""Values as bytes, and back: what the two rooms of `eval/sandbox.py` say to each other.

Only plain data passes: numbers, texts, containers of them, and handles to objects that stay in the program's room. No
class of the sender is ever made at the receiver's (as pickle would), so a value that comes out of hostile code equals
what it equals and does nothing. Runs inside the rooms: the standard library only.
"""

import os
import struct
from typing import Any

MAX_FRAME = 16 << 20  # bytes of one message; tests exchange a few hundred
MAX_DEPTH = 200  # of nested containers
_NAME_OF = {list: b"l", tuple: b"t", set: b"S", frozenset: b"Z"}
_CONTAINER = {name: kind for kind, name in _NAME_OF.items()}


class Malformed(Exception):
    """The bytes are no message, or the value is none that can be sent."""


class Handle:
    """An object that stays in the program's room, by its number."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def send(fd: int, value: Any, keep: Any = None) -> None:
    """Write one message.

    Args:
        fd: pipe or socket.
        value: what is sent.
        keep: turns an object that is no plain data into a Handle; without it such an object is Malformed.
    """
    write(fd, encode(value, keep))


def write(fd: int, body: bytes) -> None:
    """Write a message that is encoded already."""
    view = memoryview(struct.pack(">I", len(body)) + body)
    while view:
        view = view[os.write(fd, view) :]


def receive(fd: int) -> Any:
    """Read one message.

    Raises:
        EOFError: the sender is gone.
        Malformed: what came is no message.
    """
    (size,) = struct.unpack(">I", _read(fd, 4))
    if size > MAX_FRAME:
        raise Malformed("too long")
    return decode(_read(fd, size))


def encode(value: Any, keep: Any = None) -> bytes:
    out = bytearray()
    _put(out, value, keep, 0)
    if len(out) > MAX_FRAME:
        raise Malformed("too long")
    return bytes(out)


def decode(data: bytes) -> Any:
    value, end = _take(data, 0, 0)
    if end != len(data):
        raise Malformed("something follows the value")
    return value


def _read(fd: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _put(out: bytearray, value: Any, keep: Any, depth: int) -> None:
    """Append `value`. Objects of derived classes (namedtuple, Counter) go as the plain type that they compare as."""
    if depth > MAX_DEPTH or len(out) > MAX_FRAME:
        raise Malformed("too deep or too long")
    if value is None:
        out += b"N"
    elif value is True or value is False:
        out += b"T" if value else b"F"
    elif isinstance(value, int):
        size = int.bit_length(value) // 8 + 1
        _sized(out, b"i", int.to_bytes(value, size, "big", signed=True))
    elif isinstance(value, float):
        out += b"d" + struct.pack(">d", value)
    elif isinstance(value, complex):
        out += b"c" + struct.pack(">dd", value.real, value.imag)
    elif isinstance(value, str):
        _sized(out, b"s", str.encode(value, "utf-8", "surrogatepass"))
    elif isinstance(value, bytes | bytearray):
        _sized(out, b"b" if isinstance(value, bytes) else b"B", bytes(value))
    elif isinstance(value, range):
        _many(out, b"r", [value.start, value.stop, value.step], keep, depth)
    elif isinstance(value, dict):
        _many(out, b"D", [part for pair in dict.items(value) for part in pair], keep, depth)
    elif isinstance(value, type({}.keys())):
        _many(out, b"k", list(value), keep, depth)
    elif isinstance(value, type({}.items())):
        _many(out, b"m", [part for pair in value for part in pair], keep, depth)
    elif isinstance(value, Handle):
        _sized(out, b"h", value.number.to_bytes(8, "big"))
    elif plain := next((kind for kind in _NAME_OF if isinstance(value, kind)), None):
        _many(out, _NAME_OF[plain], list(plain.__iter__(value)), keep, depth)
    elif _is(value, "decimal", "Decimal"):
        _sized(out, b"x", str(value).encode())
    elif _is(value, "fractions", "Fraction"):
        _many(out, b"f", [value.numerator, value.denominator], keep, depth)
    elif type(value).__module__ == "numpy" and hasattr(value, "item") and not getattr(value, "shape", True):
        _put(out, value.item(), keep, depth + 1)  # one number of numpy's compares as the plain number
    elif keep is not None:
        _put(out, keep(value), None, depth)
    else:
        raise Malformed(f"{type(value).__name__} cannot be sent")


def _is(value: Any, module: str, name: str) -> bool:
    """Whether it is of that class, without an import that few programs need."""
    return (type(value).__module__, type(value).__name__) == (module, name)


def _sized(out: bytearray, name: bytes, body: bytes) -> None:
    out += name + struct.pack(">I", len(body)) + body


def _many(out: bytearray, name: bytes, parts: list[Any], keep: Any, depth: int) -> None:
    out += name + struct.pack(">I", len(parts))
    for part in parts:
        _put(out, part, keep, depth + 1)


def _take(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends."""
    name, at = data[at : at + 1], at + 1
    if depth > MAX_DEPTH or not name:
        raise Malformed("too deep or too short")
    if name in b"NTF":
        return {b"N": None, b"T": True, b"F": False}[name], at
    if name in b"dc":
        size = 8 if name == b"d" else 16
        numbers = struct.unpack(">d" if name == b"d" else ">dd", _cut(data, at, size))
        return (numbers[0] if name == b"d" else complex(*numbers)), at + size
    (size,) = struct.unpack(">I", _cut(data, at, 4))
    at += 4
    if name in b"isbBhx":
        return _scalar(name, _cut(data, at, size)), at + size
    if name not in b"ltSZrDkmf" or size > len(data) - at:  # every part takes a byte at least
        raise Malformed("no such value")
    parts = []
    for _ in range(size):
        part, at = _take(data, at, depth + 1)
        parts.append(part)
    return _container(name, parts), at


def _cut(data: bytes, at: int, size: int) -> bytes:
    if size > len(data) - at:
        raise Malformed("too short")
    return data[at : at + size]


def _scalar(name: bytes, body: bytes) -> Any:
    try:
        if name == b"i":
            return int.from_bytes(body, "big", signed=True)
        if name == b"s":
            return body.decode("utf-8", "surrogatepass")
        if name == b"h":
            return Handle(int.from_bytes(body, "big"))
        if name == b"x":
            from decimal import Decimal

            return Decimal(body.decode())
    except (ValueError, ArithmeticError) as error:
        raise Malformed(str(error)) from error
    return body if name == b"b" else bytearray(body)


def _container(name: bytes, parts: list[Any]) -> Any:
    try:
        if name in _CONTAINER:
            return _CONTAINER[name](parts)
        if name == b"r":
            return range(*parts)
        if name == b"f":
            from fractions import Fraction

            return Fraction(*parts)
        if name == b"k":
            return dict.fromkeys(parts).keys()
        pairs = dict(zip(parts[::2], parts[1::2], strict=True))
        return pairs if name == b"D" else pairs.items()
    except (TypeError, ValueError, ArithmeticError) as error:  # an unhashable key, an odd number of parts, 1/0
        raise Malformed(str(error)) from error
