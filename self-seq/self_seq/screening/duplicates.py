"""Near-duplicates among many texts: MinHash finds candidates, and their exact similarity decides.

The similarity of two texts is the Jaccard index of their shingles: runs of SHINGLE words, of SHINGLE_CHARACTERS
characters in languages without spaces. `datasketch` makes the signatures. Its `MinHashLSH` keeps a set a row and band,
several KiB a row, so that a million rows would take gigabytes; here the bands of all rows are one array, sorted once.
Memory: 8 bytes a band and 4 a shingle, about 300 bytes for a row of 50 words.
"""

import re
import zlib
from array import array
from collections import Counter
from functools import cache

import numpy as np
from datasketch import MinHash

from open_instruct.core.errors import UserError
from self_seq.words import unspaced_share, words

SHINGLE = 3
SHINGLE_CHARACTERS = 5
_PERMUTATIONS = 64
_SCHEME = "affine32"
_LEAST_RECALL = 0.99  # of pairs just at the threshold, by the number of bands
# Texts of one template may share a band by the million; a row is compared with those that share most bands with it.
_MOST_IN_BUCKET = 1000
_MOST_COMPARED = 50
_SYMBOL = re.compile(r"[#%&@*/\\$+<=>^|~€£¥°]+")


class Duplicates:
    """Collects rows, then tells which of them repeat an earlier one."""

    def __init__(self, threshold: float = 0.8) -> None:
        """
        Args:
            threshold: two rows are duplicates from this similarity on; above 0, up to 1.

        Raises:
            UserError: it is not.
        """
        if not 0 < threshold <= 1:
            raise UserError(f"duplicates from a similarity of {threshold} on: must be above 0 and at most 1; take 0.8.")
        self._threshold = threshold
        self._bands, self._band_rows = _bands(threshold)
        self._numbers = array("q")
        self._signatures = array("Q")  # `_bands` hashes a row
        self._shingles = array("I")  # of all rows, one after the other
        self._ends = array("Q")  # where the shingles of each row end

    def add(self, number: int, text: str) -> None:
        """Take in a row. A text without a word is no duplicate of anything."""
        shingles = _shingles(text)
        if not shingles:
            return
        hashes = np.unique(np.array([zlib.crc32(shingle.encode()) for shingle in shingles], dtype=np.uint32))
        signature = _signature(hashes)[: self._bands * self._band_rows].astype(np.uint64)
        self._numbers.append(number)
        self._signatures.frombytes(_mixed(signature.reshape(self._bands, self._band_rows)).tobytes())
        self._shingles.frombytes(hashes.tobytes())
        self._ends.append(len(self._shingles))

    def found(self) -> dict[int, tuple[int, float]]:
        """Each row that repeats an earlier one that is kept: (the earlier row, their similarity)."""
        if not self._numbers:
            return {}
        buckets = _shared_buckets(np.frombuffer(self._signatures, dtype=np.uint64).reshape(-1, self._bands))
        kept_in: dict[int, list[int]] = {}
        dropped = {}
        for place in np.flatnonzero((buckets >= 0).any(axis=1)).tolist():
            mine = [bucket for bucket in buckets[place].tolist() if bucket >= 0]
            candidates = Counter(kept for bucket in mine for kept in kept_in.get(bucket, ()))
            best = max(
                ((self._similarity(place, kept), -kept) for kept, _ in candidates.most_common(_MOST_COMPARED)),
                default=(0.0, 0),
            )
            if best[0] >= self._threshold:
                dropped[self._numbers[place]] = (self._numbers[-best[1]], best[0])
                continue
            for bucket in mine:
                kept = kept_in.setdefault(bucket, [])
                if len(kept) < _MOST_IN_BUCKET:
                    kept.append(place)
        return dropped

    def _similarity(self, place: int, other: int) -> float:
        mine, others = self._shingles_of(place), self._shingles_of(other)
        smaller, larger = sorted((len(mine), len(others)))
        if smaller < self._threshold * larger:
            return 0.0  # even if one holds the other
        shared = len(np.intersect1d(mine, others, assume_unique=True))
        return shared / (len(mine) + len(others) - shared)

    def _shingles_of(self, place: int) -> np.ndarray:
        start = self._ends[place - 1] if place else 0
        return np.frombuffer(self._shingles, dtype=np.uint32)[start : self._ends[place]]


def _shingles(text: str) -> set[str]:
    # symbols tell "C++" from "C#", and a sum from a product
    tokens = words(_SYMBOL.sub(lambda symbol: f" {'x'.join(f'{ord(char):x}' for char in symbol[0])} ", text))
    size = SHINGLE_CHARACTERS if unspaced_share(tokens) > 0.5 else SHINGLE
    return {" ".join(tokens[start : start + size]) for start in range(max(len(tokens) - size + 1, 1))} - {""}


def _bands(threshold: float) -> tuple[int, int]:
    """(bands, values a band): the fewest candidates with which a pair at the threshold is found as good as surely."""
    for values in range(_PERMUTATIONS, 1, -1):
        bands = _PERMUTATIONS // values
        if 1 - (1 - threshold**values) ** bands >= _LEAST_RECALL:
            return bands, values
    return _PERMUTATIONS, 1


@cache
def _permutations():
    return MinHash(num_perm=_PERMUTATIONS, seed=1, scheme=_SCHEME).permutations


def _signature(hashes: np.ndarray) -> np.ndarray:
    minhash = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=int, permutations=_permutations(), scheme=_SCHEME)
    minhash.update_batch(hashes.tolist())
    return minhash.hashvalues


def _mixed(bands: np.ndarray) -> np.ndarray:
    """One 64-bit hash a band."""
    mixed = np.zeros(len(bands), dtype=np.uint64)
    for column in bands.T:
        mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _shared_buckets(signatures: np.ndarray) -> np.ndarray:
    """A bucket number for each row and band; -1 where no other row is in it. Shape: rows x bands."""
    buckets = np.full(signatures.shape, -1, dtype=np.int64)
    first = 0
    for band in range(signatures.shape[1]):
        _, inverse, counts = np.unique(signatures[:, band], return_inverse=True, return_counts=True)
        shared = counts > 1
        ids = np.where(shared, first + np.cumsum(shared) - 1, -1)
        buckets[:, band] = ids[inverse]
        first += int(shared.sum())
    return buckets
