"""Texts become sparse counts of words, groups of words and pieces of words; shared by `keywords` and `linear`.

A group of words is looked up as a pair of numbers in a sorted array, slice by slice, so that 100,000 abstracts take
seconds. On disk the whole vocabulary is a JSON list of terms in column order.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORD = r"\w+"
SLICE = 2048
Ints = npt.NDArray[np.int64]


@dataclass
class Ngrams:
    """A vocabulary: which terms are counted, and in which column.

    Attributes:
        terms: Groups of 1 to 3 words, each joined by single spaces, in column order.
        pieces: Pieces of words (a space marks the word's edge); their columns follow those of the terms.
        title_weight: How often a word of the first line counts when more text follows; 1 for no difference.
        pattern: The regular expression that finds words in lower-cased text.
    """

    terms: list[str]
    pieces: list[str] = field(default_factory=list)
    title_weight: float = 1.0
    pattern: str = WORD

    def __post_init__(self) -> None:
        self._find = re.compile(self.pattern)
        groups = [tuple(term.split(" ")) for term in self.terms]
        self.words = list(dict.fromkeys(chain.from_iterable(groups)))
        self._number = {word: number for number, word in enumerate(self.words)}
        self._keys, self._columns = _index(groups, self._number)
        self._piece = {piece: number for number, piece in enumerate(self.pieces)}
        sizes = [len(piece) for piece in self.pieces]
        self._piece_sizes = range(min(sizes, default=1), max(sizes, default=0) + 1)

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.terms) + len(self.pieces)

    def counts(self, texts: Sequence[str]) -> csr_matrix:
        """Return (n_texts, columns) float32 CSR counts; a title word counts `title_weight` times."""
        from scipy.sparse import csr_matrix, hstack

        tokens, sizes, weight = self._read(texts)
        row = np.repeat(np.arange(len(texts)), sizes)
        found = list(self._found(tokens, row))
        columns = np.concatenate([column for _, column in found] or [np.empty(0, np.int64)])
        starts = np.concatenate([start for start, _ in found] or [np.empty(0, np.int64)])
        shape = (len(texts), len(self.terms))
        counted = csr_matrix((weight[starts], (row[starts], columns)), shape=shape, dtype=np.float32)
        if not self.pieces:
            return counted
        both: csr_matrix = hstack([counted, self._piece_counts(tokens, row, weight, len(texts))], "csr", np.float32)
        return both

    def _read(self, texts: Sequence[str]) -> tuple[list[str], Ints, npt.NDArray[np.float32]]:
        """Return all words one after another, how many each text has, and each word's weight."""
        find = self._find.findall
        lists = [find(text.lower()) for text in texts]
        sizes = np.fromiter(map(len, lists), np.int64, len(lists))
        weight = np.ones(int(sizes.sum()), dtype=np.float32)
        if self.title_weight != 1:
            begin = 0
            for text, size in zip(texts, sizes.tolist(), strict=True):
                if (line := text.find("\n")) >= 0:
                    weight[begin : begin + len(find(text[:line]))] = self.title_weight
                begin += size
        return list(chain.from_iterable(lists)), sizes, weight

    def _found(self, tokens: Sequence[str], row: Ints) -> Iterator[tuple[Ints, Ints]]:
        """Yield, for one word, two words, three words: (index of the first word, column) of every term found."""
        number = np.fromiter(map(self._number.get, tokens, repeat(-1)), np.int64, len(tokens))
        start = np.flatnonzero(number >= 0)
        entry = number[start]
        for length, columns in enumerate(self._columns, start=1):
            if length > 1:
                start, entry = self._longer(start, entry, number, row, length)
            column = columns[entry]
            yield start[column >= 0], column[column >= 0]

    def _longer(self, start: Ints, entry: Ints, number: Ints, row: Ints, length: int) -> tuple[Ints, Ints]:
        last = start + length - 1
        inside = last < len(number)
        start, entry, last = start[inside], entry[inside], last[inside]
        goes_on = (row[last] == row[start]) & (number[last] >= 0)
        start, entry, last = start[goes_on], entry[goes_on], last[goes_on]
        keys = self._keys[length - 2]
        wanted = entry * len(self.words) + number[last]
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        known = keys[at] == wanted
        return start[known], at[known]

    def _piece_counts(self, tokens: Sequence[str], row: Ints, weight: npt.NDArray[np.float32], n_texts: int) -> Any:
        from scipy.sparse import csr_matrix

        numbers: defaultdict[str, int] = defaultdict(count().__next__)
        number = np.fromiter(map(numbers.__getitem__, tokens), np.int64, len(tokens))
        by_word = csr_matrix((weight, (row, number)), shape=(n_texts, max(len(numbers), 1)), dtype=np.float32)
        inside = [
            [at for piece in pieces_of(word, self._piece_sizes) if (at := self._piece.get(piece)) is not None]
            for word in numbers
        ]
        ends = np.cumsum([0, *map(len, inside)]) if inside else np.zeros(2, dtype=np.int64)
        columns = np.fromiter(chain.from_iterable(inside), np.int64, int(ends[-1]))
        shape = (len(ends) - 1, len(self.pieces))
        return by_word @ csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape=shape)

    def places(self, text: str) -> list[tuple[int, int, int]]:
        """Return (start, end, column) of every term found in `text`, in characters of the original text."""
        # Lower-casing can change a text's length (İ becomes two characters): find words one by one in the original.
        stretches = [match.span() for match in self._find.finditer(text)]
        tokens = [text[start:end].lower() for start, end in stretches]
        found = []
        for length, (start, column) in enumerate(self._found(tokens, np.zeros(len(tokens), dtype=np.int64)), start=1):
            for first, at in zip(start.tolist(), column.tolist(), strict=True):
                found.append((stretches[first][0], stretches[first + length - 1][1], at))
        return found

    def piece_places(self, text: str) -> list[tuple[int, int, int]]:
        """Return (start, end, column) of every known piece in `text`; start and end are those of its whole word."""
        return [
            (*match.span(), len(self.terms) + at)
            for match in self._find.finditer(text)
            for piece in pieces_of(match.group().lower(), self._piece_sizes)
            if (at := self._piece.get(piece)) is not None
        ]

    def as_json(self) -> dict[str, Any]:
        """Return what `Ngrams(**...)` needs, JSON-ready."""
        return {
            "terms": self.terms,
            "pieces": self.pieces,
            "title_weight": self.title_weight,
            "pattern": self.pattern,
        }


def pieces_of(word: str, sizes: range) -> list[str]:
    """Return the pieces of a word, its edges marked by a space: "cell" in sizes 3 and 4 begins " ce", "cel", "ell"."""
    marked = f" {word} "
    return [marked[at : at + size] for size in sizes for at in range(len(marked) - size + 1)]


def _index(groups: Sequence[tuple[str, ...]], number: dict[str, int]) -> tuple[list[Ints], list[npt.NDArray[np.int64]]]:
    """Return the sorted keys of two- and three-word groups, and the column of each entry (-1: only leads further)."""
    columns = [np.full(len(number), -1, dtype=np.int64)]
    keys: list[Ints] = []
    entry: dict[tuple[str, ...], int] = {(word,): at for word, at in number.items()}
    for length in range(1, max(map(len, groups), default=1) + 1):
        wanted = {group[:length]: -1 for group in groups if len(group) > length}
        wanted |= {group: column for column, group in enumerate(groups) if len(group) == length}
        if length == 1:
            columns[0][[number[group[0]] for group in wanted]] = list(wanted.values())
            continue
        key = np.array([entry[group[:-1]] * len(number) + number[group[-1]] for group in wanted], dtype=np.int64)
        order = np.argsort(key)
        keys.append(key[order])
        columns.append(np.array(list(wanted.values()), dtype=np.int64)[order])
        names = list(wanted)
        entry = {names[at]: position for position, at in enumerate(order.tolist())}
    return keys, columns


def learn_terms(
    texts: Sequence[str], longest: int, min_texts: int, most: int, pattern: str = WORD
) -> tuple[list[str], Ints]:
    """Choose the terms to count.

    Args:
        texts: Training texts.
        longest: Longest group of words, 1 to 3.
        min_texts: A term must stand in at least this many texts.
        most: Keep at most this many terms, those in most texts.
        pattern: The regular expression of a word.

    Returns:
        The terms, those in most texts first, and (terms,) in how many texts each stands.
    """
    find = re.compile(pattern).findall
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    parts: list[Ints] = []
    sizes = np.zeros(len(texts), dtype=np.int64)
    for at, text in enumerate(texts):
        tokens = find(text.lower())
        sizes[at] = len(tokens)
        parts.append(np.fromiter(map(numbers.__getitem__, tokens), np.int64, len(tokens)))
    number = np.concatenate(parts or [np.empty(0, np.int64)])
    words = np.array(list(numbers), dtype=object)
    row = np.repeat(np.arange(len(texts)), sizes)
    start, entry = np.arange(len(number)), number
    names, frequency = [], []
    shorter = words
    for length in range(1, longest + 1):
        if length > 1:
            last = start + length - 1
            inside = last < len(number)
            inside[inside] &= row[last[inside]] == row[start[inside]]
            start, entry, last = start[inside], entry[inside], last[inside]
            entry = entry * len(words) + number[last]
        distinct, in_texts, entry = _in_texts(entry, row[start])
        kept = in_texts >= min_texts
        group = words
        if length > 1:
            group = shorter[distinct // len(words)] + " " + words[distinct % len(words)]
        names.append(group[kept])
        frequency.append(in_texts[kept])
        # Only what is frequent can begin something frequent: number the survivors anew.
        start = start[kept[entry]]
        entry = (np.cumsum(kept) - 1)[entry[kept[entry]]]
        shorter = group[kept]
    name, in_texts = np.concatenate(names), np.concatenate(frequency)
    order = np.argsort(-in_texts, kind="stable")[:most]
    return name[order].tolist(), in_texts[order]


def _in_texts(entry: Ints, row: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the distinct entries, in how many texts each stands, and each entry's position among the distinct."""
    distinct, at = np.unique(entry, return_inverse=True)
    order = np.lexsort((row, at))
    at_sorted, row_sorted = at[order], row[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (at_sorted[1:] != at_sorted[:-1]) | (row_sorted[1:] != row_sorted[:-1])
    return distinct, np.bincount(at_sorted[first], minlength=len(distinct)), at


def learn_pieces(texts: Sequence[str], sizes: range, min_texts: int, most: int, pattern: str = WORD) -> list[str]:
    """Choose the pieces of words to count: in at least `min_texts` texts, at most `most`, the most common first."""
    find = re.compile(pattern).findall
    known: dict[str, list[int]] = {}
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    in_texts = np.zeros(1 << 20, dtype=np.int64)
    for text in texts:
        words = set(find(text.lower()))
        for word in words - known.keys():
            known[word] = [numbers[piece] for piece in pieces_of(word, sizes)]
        if len(in_texts) < len(numbers):
            in_texts = np.append(in_texts, np.zeros(2 * len(numbers), dtype=np.int64))
        in_texts[list(set(chain.from_iterable(known[word] for word in words)))] += 1
    names = list(numbers)
    order = np.argsort(-in_texts[: len(names)], kind="stable")[:most]
    return [names[at] for at in order if in_texts[at] >= min_texts]
