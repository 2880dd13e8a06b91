"""Finds text of evaluation sets in other texts: runs of 13 words in common (as for GPT-3, arXiv 2005.14165, C).

Words are compared without case and punctuation; runs that are mostly numbers do not count. A text of an evaluation set
(or a line of one that asks) that is shorter than n words counts, from LEAST_WORDS on, where it is a whole line or
sentence of the other text: within one it may be a proverb. Anything shorter is too common to tell. In languages without
spaces twice as many characters take the place of the words. What stands in more than MOST_ITEMS items of the sets
("Which of the following statements is ...") is a form of words and no item.
"""

import csv
import gzip
import hashlib
import json
import os
import re
import sys
from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from open_instruct.core.errors import UserError
from self_seq.words import unspaced_share, words

LEAST_WORDS = 8
MOST_ITEMS = 10
CHARACTERS_A_WORD = 2
_SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".txt")
_EXPECTED = f"expected {', '.join(_SUFFIXES)} (each also with .gz), or a folder of them"
_FACTOR = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_FACTOR, -1, 2**64)


class Contamination:
    """An index of the runs of words in evaluation sets: 12 bytes a run."""

    def __init__(self, paths: Iterable[str | os.PathLike], n: int = 13) -> None:
        """
        Args:
            paths: files, or folders of which every such file below is taken; every text in them counts.
            n: words in common from which on a text is contaminated.

        Raises:
            UserError: a path does not exist, is of another kind, is broken, or nothing is in it; `n` is too small.
        """
        if n < LEAST_WORDS:
            raise UserError(
                f"decontamination with runs of {n} words: fewer than {LEAST_WORDS} are too common; take 13."
            )
        self._n = n
        self._files: list[str] = []
        self._file_of = array("I")  # of each item
        self._line_of = array("I")
        collected: dict[int, list[tuple[np.ndarray, int]]] = {}  # by length of the run: hashes and their item
        self._whole: dict[
            int, tuple[int, int]
        ] = {}  # hash of a short text or line: its first item, and how many have it
        for file in _files(paths):
            self._files.append(str(file))
            for line, value in _items(file):
                for text in _texts(value):
                    self._collect(text, line, collected)
        if not collected and not self._whole:
            raise UserError(f"{', '.join(map(str, paths))}: no text of {LEAST_WORDS} words or more to look for.")
        self._runs = {length: _index(found) for length, found in sorted(collected.items())}

    @property
    def digest(self) -> str:
        """Names what is looked for, so that a changed evaluation set is noticed."""
        whole = hashlib.sha256(repr((self._n, sorted(self._whole))).encode())
        for known, _ in self._runs.values():
            whole.update(known.tobytes())
        return whole.hexdigest()[:16]

    def find(self, text: str) -> tuple[str, str] | None:
        """(FILE:LINE of the evaluation set, the words in common) for the first run in common; None if there is none.

        LINE is the number of the item in a JSON array.
        """
        tokens = words(text)
        prefixes = _prefixes(tokens)
        for length, (known, items) in self._runs.items():
            if len(tokens) < length:
                continue
            runs = _runs(prefixes, length)
            places = np.searchsorted(known, runs)
            places[places == len(known)] = 0
            for start in np.flatnonzero(known[places] == runs).tolist():
                run = tokens[start : start + length]
                if sum(token[0].isalpha() for token in run) > length / 2:
                    return self._where(int(items[places[start]])), _spelled(run)
        for piece in _pieces(text) if self._whole else ():
            run = words(piece)
            if len(run) < LEAST_WORDS:
                continue
            item, count = self._whole.get(_whole_hash(run), (0, 0))
            if 0 < count <= MOST_ITEMS:
                return self._where(item), _spelled(run)
        return None

    def _where(self, item: int) -> str:
        return f"{self._files[self._file_of[item]]}:{self._line_of[item]}"

    def _collect(self, text: str, line: int, collected: dict) -> None:
        tokens = words(text)
        weight = _weight(tokens)
        if len(tokens) < LEAST_WORDS * weight:
            return
        item = self._item(line)
        if len(tokens) >= self._n * weight:
            collected.setdefault(self._n * weight, []).append((_runs(_prefixes(tokens), self._n * weight), item))
        for piece in dict.fromkeys([text, *_questions(text)]):
            tokens = words(piece)
            if LEAST_WORDS * _weight(tokens) <= len(tokens) < self._n * _weight(tokens):
                first, count = self._whole.get(_whole_hash(tokens), (item, 0))
                self._whole[_whole_hash(tokens)] = first, count + 1

    def _item(self, line: int) -> int:
        """The number of the item in this line of the file that is being read."""
        if not self._file_of or (self._file_of[-1], self._line_of[-1]) != (len(self._files) - 1, line):
            self._file_of.append(len(self._files) - 1)
            self._line_of.append(line)
        return len(self._file_of) - 1


def _weight(tokens: list[str]) -> int:
    return CHARACTERS_A_WORD if unspaced_share(tokens) > 0.5 else 1


def _index(found: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray]:
    """(sorted hashes, the first item of each), without those of more than MOST_ITEMS items."""
    hashes = np.concatenate([runs for runs, _ in found])
    items = np.repeat(np.array([item for _, item in found], dtype=np.uint32), [len(runs) for runs, _ in found])
    order = np.lexsort((items, hashes))
    hashes, items = hashes[order], items[order]
    new = np.ones(len(hashes), dtype=bool)  # a run that an item holds twice counts once
    new[1:] = (hashes[1:] != hashes[:-1]) | (items[1:] != items[:-1])
    hashes, items = hashes[new], items[new]
    known, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    rare = counts <= MOST_ITEMS
    if not rare.any():
        return np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.uint32)
    return known[rare], items[first[rare]]


# --- hashes of runs of words: sums of hash * factor**place, so that any run costs one subtraction


def _prefixes(tokens: list[str]) -> np.ndarray:
    hashes = np.fromiter((_word_hash(token) for token in tokens), dtype=np.uint64, count=len(tokens))
    return np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(hashes * _powers(_FACTOR, len(tokens)))])


def _runs(prefixes: np.ndarray, length: int) -> np.ndarray:
    sums = prefixes[length:] - prefixes[:-length]
    return sums * _powers(_INVERSE, len(sums))


@lru_cache(maxsize=100_000)
def _word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


_POWERS: dict[int, np.ndarray] = {}


def _whole_hash(tokens: list[str]) -> int:
    return int(_prefixes(tokens)[-1])


_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")


_LABEL = re.compile(r"^\s*\w+ ?\d*\s*[:.]\s+")  # "Question: ", "Q1. "


def _questions(text: str) -> list[str]:
    """The lines of a text that ask something, without a label before them."""
    return [_LABEL.sub("", line) for line in text.split("\n") if line.rstrip().endswith(("?", "？"))]


def _pieces(text: str) -> dict[str, None]:
    """The text, its lines, questions and sentences."""
    return dict.fromkeys([text, *text.split("\n"), *_questions(text), *_SENTENCE_END.split(text)])


def _powers(factor: int, count: int) -> np.ndarray:
    known = _POWERS.get(factor)
    if known is None or len(known) < count:
        size = max(count, 1024) * 2
        steps = np.full(size, factor, dtype=np.uint64)
        steps[0] = 1
        known = _POWERS[factor] = np.cumprod(steps, dtype=np.uint64)
    return known[:count]


def _spelled(tokens: list[str]) -> str:
    return ("" if unspaced_share(tokens) > 0.5 else " ").join(tokens)


# --- reading evaluation sets


def _files(paths: Iterable[str | os.PathLike]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            below = sorted(file for file in path.rglob("*") if file.is_file() and _suffix(file) in _SUFFIXES)
            if not below:
                raise UserError(f"{path}: the folder holds no evaluation set; {_EXPECTED}.")
            yield from below
        elif not path.exists():
            raise UserError(f"{path}: no such file or folder; {_EXPECTED}.")
        elif _suffix(path) not in _SUFFIXES:
            raise UserError(f"{path}: not a kind of file that is read here; {_EXPECTED}.")
        else:
            yield path


def _suffix(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def _items(file: Path) -> Iterator[tuple[int, Any]]:
    """(line, value) of a file; of a JSON array the number of the element, from 1 on."""
    opened = gzip.open if file.name.lower().endswith(".gz") else open
    line = 0
    try:
        with opened(file, "rt", encoding="utf-8-sig", newline="") as lines:
            if _suffix(file) == ".json":
                yield from _json_items(lines.read())
            elif _suffix(file) == ".csv":
                csv.field_size_limit(sys.maxsize)
                reader = csv.reader(lines)
                for value in reader:
                    yield reader.line_num, value
            else:
                for line, text in enumerate(lines, start=1):
                    if _suffix(file) == ".jsonl":
                        if text.strip():
                            yield line, json.loads(text)
                    else:
                        yield line, text.rstrip("\r\n").split("\t") if _suffix(file) == ".tsv" else text
    except UnicodeDecodeError:
        raise UserError(f"{file}: not UTF-8; expected UTF-8 text. Convert the file (iconv -t UTF-8).") from None
    except (json.JSONDecodeError, RecursionError, csv.Error) as error:
        raise UserError(
            f"{file}:{max(line, 1)}: cannot be read ({error}); is it of the kind that its name says?"
        ) from None
    except (OSError, EOFError) as error:
        raise UserError(f"{file}: cannot be read ({error}). Check the path, or copy the file again.") from None


def _json_items(text: str) -> Iterator[tuple[int, Any]]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        if "\n" not in text.strip():
            raise
        value = [json.loads(line) for line in text.splitlines() if line.strip()]  # JSONL under the name of .json
    # {"examples": [...]} and {"data": [...]}: the elements of the longest list are the items
    if isinstance(value, dict):
        lists = [element for element in value.values() if isinstance(element, list)]
        longest = max(lists, key=len, default=[])
        yield 0, {key: element for key, element in value.items() if element is not longest}
        value = longest
    yield from enumerate(value, start=1) if isinstance(value, list) else [(1, value)]


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for element in value.values():
            yield from _texts(element)
    elif isinstance(value, list):
        for element in value:
            yield from _texts(element)
