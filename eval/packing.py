"""Items as the page holds them: JSON in parts of some 128 kB, each compressed (zlib) and written as base64.

Called by `eval.browsable`; `eval/html/unpack.js` is the other side.
"""

import base64
import json
import zlib
from collections.abc import Iterable
from typing import Any

from open_instruct.core.records import encode_json

LONGEST = 100_000  # characters of a text that the page holds; a model that never ends writes more
_PART = 1 << 17  # bytes of JSON that are packed together
_FIRST = 90  # characters of a question in the list
_LEVEL = 3  # of zlib: as fast as 1, as small as 4


def held_text(value: Any) -> str:
    """A text as the page holds it; one that is too long is cut, and says so."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n[cut here: {len(text):,} characters, which predictions.jsonl holds]"


def first_line(text: str) -> str:
    """What the list shows of a question."""
    return text[: 4 * _FIRST].strip().partition("\n")[0][:_FIRST]


def packed_items(items: Iterable[Any]) -> tuple[list[int], list[str]]:
    """The number of the first item of each part and, last, the number of all; and the parts."""
    offsets, parts = [0], []
    texts: list[bytes] = []
    size = 0
    for number, item in enumerate(items, start=1):
        texts.append(encode_json(item))
        size += len(texts[-1])
        if size >= _PART:
            parts.append(_joined(texts))
            offsets.append(number)
            texts, size = [], 0
    if texts:
        parts.append(_joined(texts))
        offsets.append(offsets[-1] + len(texts))
    return offsets, parts


def packed(value: Any) -> str:
    """One JSON value as a part."""
    return _packed(encode_json(value))


def _joined(texts: list[bytes]) -> str:
    return _packed(b"[" + b",".join(texts) + b"]")


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, _LEVEL)).decode("ascii")
