"""Texts become sparse counts of words, groups of words and pieces of words; shared by `keywords` and `linear`.

A group of words is looked up as a pair of numbers in a sorted array, slice by slice, so that 100,000 abstracts take
seconds. On disk the whole vocabulary is a JSON list of terms in column order.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.attribution import word_spans
from medbench.records import AnswerKind, Span

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORD = r"\w+"
SLICE = 2048
_MARKS = 40
_UNKNOWN, _SKIPPED = -1, -2
_LONGEST_TITLE = 60
# Words that carry grammar, not matter. Negations (no, not, without) are not among them: they carry matter.
FUNCTION_WORDS = frozenset(
    re.findall(
        WORD,
        "a about above after again against all also although am among an and another any are as at be because "
        "been before being below between both but by can could did do does doing done due during each either "
        "et for from further had has have having he her here hers him his how however i if in into is it its "
        "itself just may me might more most must my now of off on once only or other our out over own per "
        "same she should since so some such than that the their them then there therefore these they this "
        "those through thus to together too under until up upon us using very via was we were what when where "
        "whether which while who whom whose why will with within would you your",
    )
)
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass
class Ngrams:
    """A vocabulary: which terms are counted, and in which column.

    Attributes:
        terms: Groups of 1 to 3 words, each joined by single spaces, in column order.
        pieces: Pieces of words (a space marks the word's edge); their columns follow those of the terms.
        title_weight: How often a word of the first line counts when more text follows and the line has at most 60
            words; 1 for no difference.
        pattern: The regular expression that finds words in lower-cased text.
        skipped: Words that are passed over: what stands before and after them counts as neighbours.
    """

    terms: list[str]
    pieces: list[str] = field(default_factory=list)
    title_weight: float = 1.0
    pattern: str = WORD
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._find = re.compile(self.pattern)
        groups = [tuple(term.split(" ")) for term in self.terms]
        self.words = list(dict.fromkeys(chain.from_iterable(groups)))
        self._number = {word: number for number, word in enumerate(self.words)}
        self._keys, self._columns = _index(groups, self._number)
        self._number |= dict.fromkeys(self.skipped, _SKIPPED)
        self._piece = {piece: number for number, piece in enumerate(self.pieces)}
        sizes = [len(piece) for piece in self.pieces]
        self._piece_sizes = range(min(sizes, default=1), max(sizes, default=0) + 1)

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.terms) + len(self.pieces)

    def counts(self, texts: Sequence[str]) -> csr_matrix:
        """Return (n_texts, columns) float32 CSR counts; a title word counts `title_weight` times."""
        return self.counts_and_known(texts)[0]

    def counts_and_known(self, texts: Sequence[str]) -> tuple[csr_matrix, Floats]:
        """Return the counts and (n_texts,) float32: the share of each text's words that the vocabulary knows."""
        from scipy.sparse import csr_matrix, hstack

        tokens, sizes, weight = self._read(texts)
        row = np.repeat(np.arange(len(texts)), sizes)
        number = np.fromiter(map(self._number.get, tokens, repeat(_UNKNOWN)), np.int64, len(tokens))
        found = list(self._found(number, row))
        columns = np.concatenate([column for _, _, column in found])
        starts = np.concatenate([first for first, _, _ in found])
        shape = (len(texts), len(self.terms))
        counted = csr_matrix((weight[starts], (row[starts], columns)), shape=shape, dtype=np.float32)
        known = np.bincount(row[number >= 0], minlength=len(texts))
        known_share = known / np.maximum(known + np.bincount(row[number == _UNKNOWN], minlength=len(texts)), 1)
        if self.pieces:
            pieces = self._piece_counts(tokens, row, weight, len(texts))
            counted = hstack([counted, pieces], format="csr", dtype=np.float32)
        return counted, known_share.astype(np.float32)

    def _read(self, texts: Sequence[str]) -> tuple[list[str], Ints, npt.NDArray[np.float32]]:
        """Return all words one after another, how many each text has, and each word's weight."""
        find = self._find.findall
        lists = [find(text.lower()) for text in texts]
        sizes = np.fromiter(map(len, lists), np.int64, len(lists))
        weight = np.ones(int(sizes.sum()), dtype=np.float32)
        if self.title_weight != 1:
            begin = 0
            for text, size in zip(texts, sizes.tolist(), strict=True):
                if (line := text.find("\n")) >= 0 and (title := len(find(text[:line]))) <= _LONGEST_TITLE:
                    weight[begin : begin + title] = self.title_weight
                begin += size
        return list(chain.from_iterable(lists)), sizes, weight

    def _found(self, number: Ints, row: Ints) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Yield, for one word, two words, three words: (first word, last word, column) of every term found."""
        kept = np.flatnonzero(number != _SKIPPED)
        number, row = number[kept], row[kept]
        start = np.flatnonzero(number >= 0)
        entry = number[start]
        for length, columns in enumerate(self._columns, start=1):
            if length > 1:
                start, entry = self._longer(start, entry, number, row, length)
            column = columns[entry]
            last = start[column >= 0] + length - 1
            yield kept[start[column >= 0]], kept[last], column[column >= 0]

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
        return by_word @ _table(inside or [[]], len(self.pieces))

    def places(self, text: str) -> list[tuple[int, int, int]]:
        """Return (start, end, column) of every term found in `text`, in characters of the original text."""
        # Lower-casing can change a text's length (İ becomes two characters): find words one by one in the original.
        stretches = [match.span() for match in self._find.finditer(text)]
        words = [text[start:end].lower() for start, end in stretches]
        number = np.fromiter(map(self._number.get, words, repeat(_UNKNOWN)), np.int64, len(words))
        return [
            (stretches[first][0], stretches[last][1], column)
            for found in self._found(number, np.zeros(len(words), dtype=np.int64))
            for first, last, column in zip(*(part.tolist() for part in found), strict=True)
        ]

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
            "skipped": self.skipped,
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
    texts: Sequence[str], longest: int, min_texts: int, most: int, skipped: Collection[str] = (), pattern: str = WORD
) -> tuple[list[str], Ints]:
    """Choose the terms to count.

    Args:
        texts: Training texts.
        longest: Longest group of words, 1 to 3.
        min_texts: A term must stand in at least this many texts.
        most: Keep at most this many terms, those in most texts.
        skipped: Words to pass over, as in `Ngrams`.
        pattern: The regular expression of a word.

    Returns:
        The terms, those in most texts first, and (terms,) in how many texts each stands.
    """
    number, row, words = _numbered(texts, skipped, pattern)
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
        group = words[distinct % len(words)]
        if length > 1:
            group = shorter[distinct // len(words)] + " " + group
        names.append(group[kept])
        frequency.append(in_texts[kept])
        # Only what is frequent can begin something frequent: number the survivors anew.
        start = start[kept[entry]]
        entry = (np.cumsum(kept) - 1)[entry[kept[entry]]]
        shorter = group[kept]
    name, in_texts = np.concatenate(names), np.concatenate(frequency)
    order = np.argsort(-in_texts, kind="stable")[:most]
    return name[order].tolist(), in_texts[order]


def _numbered(
    texts: Sequence[str], skipped: Collection[str], pattern: str
) -> tuple[Ints, Ints, npt.NDArray[np.object_]]:
    """Return each word's number, its text's row, and the words in the order of their numbers."""
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
    kept = np.fromiter((word not in skipped for word in words), np.bool_, len(words))[number]
    number, row = number[kept], row[kept]
    return number, row, words


def _in_texts(entry: Ints, row: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the distinct entries, in how many texts each stands, and each entry's position among the distinct."""
    distinct, at = np.unique(entry, return_inverse=True)
    n_rows = int(row[-1]) + 1 if len(row) else 1
    pairs = np.sort(at * n_rows + row)
    first = np.ones(len(pairs), dtype=bool)
    first[1:] = pairs[1:] != pairs[:-1]
    return distinct, np.bincount(pairs[first] // n_rows, minlength=len(distinct)), at


def learn_pieces(texts: Sequence[str], sizes: range, min_texts: int, most: int, pattern: str = WORD) -> list[str]:
    """Choose the pieces of words to count: in at least `min_texts` texts, at most `most`, the most common first."""
    find = re.compile(pattern).findall
    known: dict[str, list[int]] = {}
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    in_texts = np.zeros(0, dtype=np.int64)
    for begin in range(0, len(texts), SLICE):
        lists = [set(find(text.lower())) for text in texts[begin : begin + SLICE]]
        words = sorted(set().union(*lists))
        for word in words:
            if word not in known:
                known[word] = [numbers[piece] for piece in pieces_of(word, sizes)]
        column = {word: at for at, word in enumerate(words)}
        by_word = _table([[column[word] for word in sorted(found)] for found in lists], len(words))
        product: csr_matrix = by_word @ _table([known[word] for word in words], len(numbers))
        seen = np.bincount(product.indices, minlength=len(numbers))
        seen[: len(in_texts)] += in_texts
        in_texts = seen
    names = list(numbers)
    order = np.argsort(-in_texts, kind="stable")[:most]
    return [names[at] for at in order if in_texts[at] >= min_texts]


def _table(columns: Sequence[Sequence[int]], width: int) -> csr_matrix:
    """Return a CSR matrix with a 1 at every listed column of every row (repeats add up)."""
    from scipy.sparse import csr_matrix

    ends = np.cumsum([0, *map(len, columns)])
    flat = np.fromiter(chain.from_iterable(columns), np.int64, int(ends[-1]))
    return csr_matrix((np.ones(len(flat), np.float32), flat, ends), shape=(len(columns), width))


def tfidf(counts: csr_matrix, idf: Floats) -> csr_matrix:
    """Return (1 + log count) x idf with rows of length 1 (Salton & Buckley 1988), in place of the counts."""
    counts.data = (1 + np.log(counts.data)) * idf[counts.indices]
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    norm = np.sqrt(np.bincount(rows, weights=counts.data.astype(np.float64) ** 2, minlength=counts.shape[0]))
    counts.data = (counts.data / norm[rows]).astype(np.float32)
    return counts


def squashed(margins: Floats, answer: AnswerKind, slope: float) -> Floats:
    """Return (n, L) float32 scores from margins: logistic per label for "many", softmax over labels for "one"."""
    if answer == "many":
        return np.asarray(0.5 * (1 + np.tanh(0.5 * slope * margins)), dtype=np.float32)
    power = np.exp(slope * (margins - margins.max(axis=1, keepdims=True)))
    return np.asarray(power / power.sum(axis=1, keepdims=True), dtype=np.float32)


def spread_over_words(text: str, places: Sequence[tuple[int, int, int]], worth: dict[int, float]) -> tuple[Span, ...]:
    """Share what each term is worth equally among its places and their words; join neighbours that a term spans.

    Function words inside a term get no share.

    Args:
        text: The original text.
        places: (start, end, column) of every term found.
        worth: What a column adds to the margin, all its places together.

    Returns:
        The strongest 40 spans in text order.
    """
    units = word_spans(text)
    starts = [start for start, _ in units]
    telling = np.array([text[start:end].lower() not in FUNCTION_WORDS for start, end in units], dtype=bool)
    times = Counter(column for _, _, column in places)
    weight, bound = np.zeros(len(units)), np.zeros(len(units))
    for start, end, column in places:
        first, last = bisect_right(starts, start) - 1, bisect_right(starts, end - 1) - 1
        if first < 0:
            continue
        inside = np.arange(first, last + 1)
        inside = inside[telling[inside]] if telling[inside].any() else inside
        share = worth[column] / times[column]
        weight[inside] += share / len(inside)
        bound[first:last] += share  # what holds a word to the next one
    spans: list[Span] = []
    strong = sorted(at for at in np.argsort(-np.abs(weight), kind="stable")[:_MARKS].tolist() if weight[at])
    for before, at in zip([-2, *strong], strong, strict=False):
        start, end = units[at]
        if before == at - 1 and _belong(weight[before], weight[at], bound[before]):
            spans[-1] = Span(spans[-1].start, end, spans[-1].weight + float(weight[at]))
        else:
            spans.append(Span(start, end, float(weight[at])))
    return tuple(spans)


def _belong(first: float, second: float, bound: float) -> bool:
    """Return whether two neighbours are one mark: of one sign, of like weight, and held together by a term."""
    alike = min(abs(first), abs(second)) >= 0.25 * max(abs(first), abs(second))
    return bool(alike and first * second > 0 and bound * second > 0)
