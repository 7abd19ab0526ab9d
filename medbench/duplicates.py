"""Rows with the same text, and rows with nearly the same: MinHash over five-word shingles, every pair verified."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt

_WORD = re.compile(r"\w+")
SHINGLE = 5
NEAR = 0.8
# Fewer words than this make too few shingles for "nearly" to mean anything.
_MIN_WORDS = 10
# 16 bands of 5 hashes: a pair of Jaccard .8 is found with probability .998, one of .3 is looked at with .04.
_BANDS, _PER_BAND = 16, 5
_SLICE_WORDS = 40_000
_Words = npt.NDArray[np.int32]
_Hashes = npt.NDArray[np.uint64]


def words_of(text: str) -> list[str]:
    """Return the lower-case words of a text: what has to be equal for two texts to count as the same."""
    return _WORD.findall(text.lower())


class Union:
    """Disjoint sets over 0..n-1 (Tarjan 1975), by path halving; the smallest member stands for its set."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))

    def find(self, one: int) -> int:
        """Return the smallest member of the set that holds `one`."""
        parent = self.parent
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    def join(self, one: int, other: int) -> None:
        """Unite the sets of both."""
        first, second = self.find(one), self.find(other)
        if first != second:
            self.parent[max(first, second)] = min(first, second)

    def join_equal(self, keys: Iterable[Hashable]) -> None:
        """Unite rows with equal keys; None and "" unite nothing."""
        first: dict[Hashable, int] = {}
        for row, key in enumerate(keys):
            if key is not None and key != "":
                self.join(first.setdefault(key, row), row)

    def keys(self) -> list[int]:
        """Return for each row the smallest member of its set."""
        return [self.find(row) for row in range(len(self.parent))]


@dataclass(frozen=True)
class Duplicates:
    """Which rows repeat each other.

    Attributes:
        exact: (n,) first row with the same words in the same order (case and punctuation aside); -1 for no words.
        near: (n,) smallest row of the near-duplicate cluster; exact duplicates are in the same cluster.
    """

    exact: npt.NDArray[np.int64]
    near: npt.NDArray[np.int64]

    def exact_groups(self) -> list[list[int]]:
        """Return the groups of two or more rows with the same text, largest first."""
        return _groups(self.exact)

    def near_groups(self) -> list[list[int]]:
        """Return the clusters that hold at least two different texts, largest first."""
        return [group for group in _groups(self.near) if len({int(self.exact[row]) for row in group}) > 1]


def find_duplicates(texts: Sequence[str], say: Callable[[float, str], None] | None = None) -> Duplicates:
    """Find exact and near duplicates.

    Near means a Jaccard similarity of five-word shingles of at least .8 (Broder 1997), found by MinHash with banding
    (Leskovec, Rajaraman and Ullman 2014) and then computed exactly; clusters are the connected components.

    Args:
        texts: n texts.
        say: Told (share done 0-1, sentence).
    """
    tell = say or (lambda share, sentence: None)
    corpus = _Corpus.read(texts)
    tell(0.4, "Comparing texts for exact duplicates.")
    exact = corpus.first_same()
    near = Union(len(texts))
    for row, first in enumerate(exact.tolist()):
        if first >= 0:
            near.join(first, row)
    once = [row for row in range(len(texts)) if exact[row] == row and corpus.length(row) >= _MIN_WORDS]
    signatures = np.empty((len(once), _BANDS * _PER_BAND), dtype=np.uint32)
    done = 0
    for rows in corpus.slices(once):
        signatures[done : done + len(rows)] = corpus.signatures(rows)
        done += len(rows)
        tell(0.4 + 0.5 * done / len(once), "Comparing texts for near duplicates.")
    for one, other in _candidates(signatures):
        first, second = once[one], once[other]
        if near.find(first) != near.find(second) and corpus.similarity(first, second) >= NEAR:
            near.join(first, second)
    tell(1.0, "Compared all texts.")
    return Duplicates(exact, np.array(near.keys(), dtype=np.int64))


@dataclass(frozen=True)
class _Corpus:
    """All texts as word numbers, end to end: text i is words[start[i]:start[i + 1]]; hashes[w] belongs to word w."""

    words: _Words
    start: npt.NDArray[np.int64]
    hashes: _Hashes

    @classmethod
    def read(cls, texts: Sequence[str]) -> _Corpus:
        numbers: defaultdict[str, int] = defaultdict(count().__next__)
        pieces = [np.fromiter(map(numbers.__getitem__, words_of(text)), dtype=np.int32) for text in texts]
        start = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(piece) for piece in pieces], out=start[1:])
        words = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int32)
        return cls(words, start, _mixed(np.arange(len(numbers), dtype=np.uint64)))

    def of(self, row: int) -> _Words:
        return self.words[self.start[row] : self.start[row + 1]]

    def length(self, row: int) -> int:
        return int(self.start[row + 1] - self.start[row])

    def first_same(self) -> npt.NDArray[np.int64]:
        first: dict[bytes, int] = {}
        rows = len(self.start) - 1
        return np.array(
            [first.setdefault(self.of(row).tobytes(), row) if self.length(row) else -1 for row in range(rows)],
            dtype=np.int64,
        )

    def slices(self, rows: Sequence[int]) -> Iterator[list[int]]:
        """Yield consecutive rows whose words together fit the processor's cache."""
        held: list[int] = []
        size = 0
        for row in rows:
            held.append(row)
            size += self.length(row)
            if size >= _SLICE_WORDS:
                yield held
                held, size = [], 0
        if held:
            yield held

    def shingles(self, words: _Words) -> _Hashes:
        """Return a 64-bit hash of each run of five words."""
        hashes = self.hashes[words]
        runs = len(words) - SHINGLE + 1
        total = np.zeros(runs, dtype=np.uint64)
        for place in range(SHINGLE):
            total *= np.uint64(0x9E3779B97F4A7C15)
            total += hashes[place : place + runs]
        return _mixed(total)

    def signatures(self, rows: Sequence[int]) -> npt.NDArray[np.uint32]:
        """Return (n_rows, 80) MinHash signatures of rows with at least five words each."""
        pieces = [self.shingles(self.of(row)) for row in rows]
        starts = np.zeros(len(pieces), dtype=np.int64)
        np.cumsum([len(piece) for piece in pieces[:-1]], out=starts[1:])
        shingles = np.concatenate(pieces)
        found = np.empty((len(rows), _BANDS * _PER_BAND), dtype=np.uint32)
        work = np.empty_like(shingles)
        for place, salt in enumerate(_SALTS):
            np.bitwise_xor(shingles, salt, out=work)
            np.multiply(work, np.uint64(0xD1342543DE82EF95), out=work)
            found[:, place] = (np.minimum.reduceat(work, starts) >> np.uint64(32)).astype(np.uint32)
        return found

    def similarity(self, one: int, other: int) -> float:
        """Return the Jaccard similarity of two texts' shingle sets, 0-1."""
        first, second = np.unique(self.shingles(self.of(one))), np.unique(self.shingles(self.of(other)))
        if min(len(first), len(second)) < NEAR * max(len(first), len(second)):
            return 0.0
        shared = len(np.intersect1d(first, second, assume_unique=True))
        return shared / (len(first) + len(second) - shared)


def _mixed(values: _Hashes) -> _Hashes:
    """Spread 64-bit values evenly (the SplitMix64 finaliser, Steele, Lea and Flood 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


_SALTS = _mixed(np.arange(1, _BANDS * _PER_BAND + 1, dtype=np.uint64))


def _candidates(signatures: npt.NDArray[np.uint32]) -> Iterator[tuple[int, int]]:
    """Yield pairs that agree on a whole band: each member of a bucket with the one before it and with the first."""
    for band in range(_BANDS):
        part = signatures[:, band * _PER_BAND : (band + 1) * _PER_BAND].astype(np.uint64)
        key = np.zeros(len(part), dtype=np.uint64)
        for place in range(_PER_BAND):
            key = _mixed(key ^ part[:, place])
        order = np.argsort(key, kind="stable")
        same = np.flatnonzero(key[order][1:] == key[order][:-1]) + 1
        head, last = -1, -1
        for index in same.tolist():
            if index != last + 1:
                head = index - 1
            yield int(order[index - 1]), int(order[index])
            if head != index - 1:
                yield int(order[head]), int(order[index])
            last = index


def _groups(keys: npt.NDArray[np.int64]) -> list[list[int]]:
    held: dict[int, list[int]] = {}
    for row, key in enumerate(keys.tolist()):
        if key >= 0:
            held.setdefault(key, []).append(row)
    return sorted((rows for rows in held.values() if len(rows) > 1), key=lambda rows: (-len(rows), rows[0]))
