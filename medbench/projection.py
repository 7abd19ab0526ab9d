"""Carries marked stretches of a text over to its translation, learning the two languages from the pairs alone.

Corpora are often marked in one language and used in another. Three steps, each classical:

1. Sentences are paired by dynamic programming over similar sentences at similar places (after Gale & Church 1993).
2. Word translation probabilities come from IBM Model 1 in both directions (Brown et al. 1993), started from cognates:
   medical words look alike in many languages (orquiepididimitis, orchiepididymitis).
3. A marked word goes to the word of the paired sentences with the best probability; the words of a mark that land close
   together are the projected mark. A mark none of whose words is found is dropped, never guessed.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Stretch = tuple[int, int]
Tell = Callable[[float, str], None]
Tick = Callable[[float], None]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_WORD = re.compile(r"[^\W_]+")
_END = re.compile(r"(?<=[.?!:;])\s+(?=[^\W\d_a-zà-ÿ]|[¿¡\d])|\n+")
# Spellings that part Greek and Latin words of one language from another's; applied in this order.
_SPELLINGS = (
    *(("ph", "f"), ("th", "t"), ("rh", "r"), ("ch", "c"), ("y", "i"), ("k", "c"), ("qu", "c"), ("cion", "tion")),
    *((f"{letter}{letter}", letter) for letter in "lsmnpcft"),
    *(("oe", "e"), ("ae", "e")),
)
# Pairing moves: sentences taken on either side, and what the move is worth beside its similarity.
_MOVES = ((1, 1, 1.0), (1, 0, -0.1), (0, 1, -0.1), (2, 1, 0.8), (1, 2, 0.8))
_OFF_DIAGONAL = 1.5
_LONGEST = 80
_COGNATE = 0.6
_ROUNDS = 6
_LIKELY = 0.02
_FOUND = 0.08
_GAP = 4
_LEAST_COVERED = 1 / 3
_FREQUENT = 0.3


@dataclass(frozen=True)
class _Side:
    """One side of the pairs: per text its sentences, each a list of (word number, start, end)."""

    texts: list[list[list[tuple[int, int, int]]]]
    words: list[str]


def project(
    sources: Sequence[str],
    targets: Sequence[str],
    marks: Sequence[Sequence[Sequence[Stretch]]],
    say: Tell | None = None,
) -> list[list[Stretch | None]]:
    """Return where each mark lies in the translation.

    Args:
        sources: n texts in the language that was marked.
        targets: Their n translations.
        marks: For each text its marks; a mark is one or more stretches [start, end) in characters of the source.
        say: Told (share done 0-1, sentence) on the way.

    Returns:
        For each text and mark the stretch [start, end) of whole words in the target, or None when it was not found.
    """
    from scipy.sparse import csr_matrix

    tell: Tell = say or (lambda share, sentence: None)
    learning = "Learning which words translate which, to carry the marked evidence over."

    def part(begin: float, end: float, sentence: str = learning) -> Tick:
        return lambda share: tell(begin + (end - begin) * share, sentence)

    left, right = _side(sources), _side(targets)
    pairs = _paired(left, right, None, part(0.0, 0.12, "Pairing the sentences of the two languages."))
    for begin in (0.12, 0.38):
        lexicon = _lexicon(left, right, pairs, part(begin, begin + 0.14))
        pairs = _paired(left, right, lexicon, part(begin + 0.14, begin + 0.26))
    forth = _lexicon(left, right, pairs, part(0.64, 0.78))
    back = _lexicon(right, left, [[(theirs, ours) for ours, theirs in each] for each in pairs], part(0.78, 0.92))
    score = _Likeness(left.words, right.words, csr_matrix(forth.multiply(back.T)).sqrt())
    common, found = _common(left), []
    for n in range(len(left.texts)):
        found.append(_carried(left.texts[n], right.texts[n], pairs[n], marks[n], score, common))
        tell(0.92 + 0.08 * n / len(left.texts), f"Carrying marked evidence over: {n:,} of {len(left.texts):,} texts.")
    return found


def _side(texts: Sequence[str]) -> _Side:
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    found = []
    for text in texts:
        cuts = [0, *(match.end() for match in _END.finditer(text)), len(text)]
        sentences = [
            [(numbers[_plain(match.group())], *match.span()) for match in _WORD.finditer(text, begin, end)]
            for begin, end in pairwise(cuts)
        ]
        found.append([sentence for sentence in sentences if sentence])
    return _Side(found, list(numbers))


def _plain(word: str) -> str:
    """Return a word in lower case without accents."""
    letters = unicodedata.normalize("NFD", word.lower())
    return letters if letters.isascii() else "".join(letter for letter in letters if not unicodedata.combining(letter))


@cache
def _root(word: str) -> str:
    """Return a word in a spelling that languages share."""
    for ours, shared in _SPELLINGS:
        word = word.replace(ours, shared)
    # Spanish puts an e before s and a consonant: estenosis, stenosis.
    return word[1:] if len(word) > 4 and word.startswith("es") and word[2] in "tpcf" else word


@cache
def likeness(first: str, second: str) -> float:
    """Return how alike two words are across languages, 0-1: a shared beginning, or shared pairs of letters (Dice)."""
    if first == second:
        return 1.0
    first, second = _root(first), _root(second)
    shorter = min(len(first), len(second))
    if shorter < 4:
        return 0.9 * (first == second)
    ours, theirs = _letter_pairs(first), _letter_pairs(second)
    dice = 2 * len(ours & theirs) / (len(ours) + len(theirs))
    if first[:4] != second[:4]:
        return dice
    begin = next((at for at in range(4, shorter) if first[at] != second[at]), shorter)
    return max(begin / shorter, dice)


@cache
def _letter_pairs(word: str) -> frozenset[str]:
    return frozenset(word[at : at + 2] for at in range(len(word) - 1))


Pairs = list[list[tuple[range, range]]]


def _paired(left: _Side, right: _Side, lexicon: csr_matrix | None, tick: Tick) -> Pairs:
    """Return for each text the paired runs of sentences."""
    from scipy.sparse import csr_matrix

    keys: defaultdict[str, int] = defaultdict(count().__next__)
    key = [np.array([keys[_root(word)[:5]] for word in side.words], dtype=np.int64) for side in (left, right)]
    texts_with = np.zeros(len(keys))
    for sentences in left.texts:
        texts_with[np.unique([key[0][word] for sentence in sentences for word, _, _ in sentence]).astype(int)] += 1
    idf = np.log((1 + len(left.texts)) / (1 + texts_with))
    by_key = [csr_matrix((np.ones(len(k)), (np.arange(len(k)), k)), shape=(len(k), len(keys))) for k in key]
    found: Pairs = []
    for ours, theirs in zip(left.texts, right.texts, strict=True):
        tick(len(found) / len(left.texts))
        if not ours or not theirs:
            found.append([])
            continue
        rows, columns = _presence(ours, len(left.words)), _presence(theirs, len(right.words))
        weighted = _once(rows @ by_key[0])
        weighted.data = weighted.data * idf[weighted.indices]
        score = (weighted @ _once(columns @ by_key[1]).T).toarray()
        if lexicon is not None:
            score = score + 2 * (rows @ lexicon @ columns.T).toarray()
        lengths = np.outer([len(one) for one in ours], [len(one) for one in theirs])
        found.append(_walk(score / lengths**0.25))
    return found


def _presence(sentences: list[list[tuple[int, int, int]]], n_words: int) -> csr_matrix:
    from scipy.sparse import csr_matrix

    words = np.concatenate([[word for word, _, _ in sentence] for sentence in sentences]).astype(np.int64)
    ends = np.cumsum([0, *map(len, sentences)])
    return _once(csr_matrix((np.ones(len(words)), words, ends), shape=(len(sentences), n_words)))


def _once(table: csr_matrix) -> csr_matrix:
    table.sum_duplicates()
    table.data = np.minimum(table.data, 1.0)
    return table


def _walk(score: Floats) -> list[tuple[range, range]]:
    """Return the best monotone pairing of n with m sentences by dynamic programming over `_MOVES`."""
    n, m = score.shape
    apart = np.abs(np.arange(n)[:, None] / n - np.arange(m)[None] / m)
    worth = score - _OFF_DIAGONAL * apart
    gains = [(down, over, _gains(worth, down, over, factor)) for down, over, factor in _MOVES]
    best = [[-np.inf] * (m + 1) for _ in range(n + 1)]
    best[0][0] = 0.0
    came: dict[Stretch, Stretch] = {}
    for i in range(n + 1):
        for j in range(m + 1):
            so_far = best[i][j]
            for down, over, gain in gains:
                a, b = i + down, j + over
                if a <= n and b <= m and so_far + gain[i][j] > best[a][b]:
                    best[a][b], came[a, b] = so_far + gain[i][j], (down, over)
    found = []
    i, j = n, m
    while i or j:
        down, over = came[i, j]
        i, j = i - down, j - over
        if down and over:
            found.append((range(i, i + down), range(j, j + over)))
    return found[::-1]


def _gains(worth: Floats, down: int, over: int, factor: float) -> list[list[float]]:
    """Return (n + 1, m + 1) what a move from each place adds: `factor` times the worth of the sentences it pairs."""
    n, m = worth.shape
    if not (down and over):
        return [[factor] * (m + 1) for _ in range(n + 1)]
    total = np.zeros((n + 1, m + 1))
    for row in range(down):
        for column in range(over):
            total[: n - row, : m - column] += worth[row:, column:]
    return (factor * total).tolist()  # type: ignore[no-any-return]


def _lexicon(left: _Side, right: _Side, pairs: Pairs, tick: Tick) -> csr_matrix:
    """Return (left words, right words) probabilities that a word gives the other: IBM Model 1 with cognates ahead."""
    from scipy.sparse import csr_matrix

    n_left, n_right = len(left.words), len(right.words)
    ours: list[Ints] = []
    theirs: list[Ints] = []
    slots: list[Ints] = []
    slot = 0
    for text, runs in enumerate(pairs):
        for rows, columns in runs:
            gave = [n_left, *(word for row in rows for word, _, _ in left.texts[text][row])]  # the last is "nothing"
            got = [word for column in columns for word, _, _ in right.texts[text][column]]
            if len(gave) <= _LONGEST and len(got) <= _LONGEST:
                ours.append(np.tile(np.array(gave, dtype=np.int64), len(got)))
                theirs.append(np.repeat(np.array(got, dtype=np.int64), len(gave)))
                slots.append(np.repeat(np.arange(slot, slot + len(got)), len(gave)))
                slot += len(got)
    if not ours:
        return csr_matrix((n_left, n_right))
    tick(0.15)
    slot_of = np.concatenate(slots)
    pair, at = np.unique(np.concatenate(ours) * n_right + np.concatenate(theirs), return_inverse=True)
    word, other = pair // n_right, pair % n_right
    tick(0.4)
    kin = _kinship(left.words, right.words, word, other)
    chance = np.where(word == n_left, 0.3, 1 + 20 * kin)
    for done in range(_ROUNDS):
        tick(0.6 + 0.4 * done / _ROUNDS)
        weight = chance[at]
        weight /= np.bincount(slot_of, weights=weight)[slot_of]
        expected = np.bincount(at, weights=weight) + 2 * kin
        chance = expected / (np.bincount(word, weights=expected, minlength=n_left + 1)[word] + 0.5)
    kept = (word < n_left) & (chance > _LIKELY / 20)
    return csr_matrix((chance[kept], (word[kept], other[kept])), shape=(n_left, n_right))


def _kinship(left: list[str], right: list[str], word: Ints, other: Ints) -> Floats:
    """Return the squared likeness of every pair of words that begin alike, 0 for the rest."""
    ours = np.array([*(_root(one)[:1] for one in left), "\0"])
    theirs = np.array([_root(one)[:1] for one in right])
    kin = np.zeros(len(word))
    for at in np.flatnonzero(ours[word] == theirs[other]).tolist():
        alike = likeness(left[word[at]], right[other[at]])
        kin[at] = alike * alike if alike > _COGNATE else 0.0
    return kin


class _Likeness:
    """How well words translate each other: what was learnt, or what their shape says where that is more."""

    def __init__(self, left: list[str], right: list[str], certain: csr_matrix) -> None:
        self._left, self._right = left, right
        self._ends, self._others, self._chances = certain.indptr, certain.indices, certain.data
        self._known: dict[int, dict[int, float]] = {}

    def __call__(self, word: int, others: Sequence[int]) -> Floats:
        """Return how well each of the other language's words translates this one, 0-1."""
        known = self._known.setdefault(word, {})
        fresh = [other for other in others if other not in known]
        if fresh:
            place = slice(self._ends[word], self._ends[word + 1])
            learnt = dict(zip(self._others[place].tolist(), self._chances[place].tolist(), strict=True))
            for other in fresh:
                alike = likeness(self._left[word], self._right[other])
                known[other] = max(learnt.get(other, 0.0), alike * alike if alike > _COGNATE else 0.0)
        return np.array([known[other] for other in others])


def _common(side: _Side) -> frozenset[int]:
    """Return the short words that stand in at least three in ten texts: articles, prepositions, conjunctions."""
    held = Counter(word for text in side.texts for word in {word for sentence in text for word, _, _ in sentence})
    least = max(2.0, _FREQUENT * len(side.texts))
    return frozenset(word for word, texts in held.items() if texts >= least and len(side.words[word]) <= 5)


def _carried(
    ours: list[list[tuple[int, int, int]]],
    theirs: list[list[tuple[int, int, int]]],
    runs: list[tuple[range, range]],
    marks: Sequence[Sequence[Stretch]],
    score: _Likeness,
    common: frozenset[int],
) -> list[Stretch | None]:
    where: defaultdict[int, list[int]] = defaultdict(list)
    for rows, columns in runs:
        for row in rows:
            where[row].extend(columns)
    found: list[Stretch | None] = []
    entries = [
        (word, row, at / len(sentence)) for row, sentence in enumerate(ours) for at, (word, _, _) in enumerate(sentence)
    ]
    begins, ends = ([word[side] for sentence in ours for word in sentence] for side in (1, 2))
    for mark in marks:
        # Words follow each other without overlap, so those that a stretch touches lie side by side.
        touched = {at for start, stop in mark for at in range(bisect_right(ends, start), bisect_left(begins, stop))}
        words = [entries[at] for at in sorted(touched)]
        telling = [entry for entry in words if entry[0] not in common] or words
        found.append(_landed([_best(*entry, where[entry[1]], theirs, score) for entry in telling], theirs))
    return found


def _best(
    word: int,
    row: int,
    place: float,
    columns: Sequence[int],
    theirs: list[list[tuple[int, int, int]]],
    score: _Likeness,
) -> tuple[int, int] | None:
    """Return (sentence, position) of the word's translation, the nearer place preferred; None when there is none."""
    best, at = _FOUND, None
    for column in columns:
        sentence = theirs[column]
        apart = np.abs(place - np.arange(len(sentence)) / len(sentence))
        values = score(word, [other for other, _, _ in sentence]) * (1 - _FREQUENT * apart)
        top = int(values.argmax())
        if values[top] > best:
            best, at = float(values[top]), (column, top)
    return at


def _landed(
    places: Sequence[tuple[int, int] | None], theirs: list[list[tuple[int, int, int]]]
) -> tuple[int, int] | None:
    """Return the stretch from the first to the last word of the largest group that lies close together."""
    hits = sorted({place for place in places if place is not None})
    groups: list[list[tuple[int, int]]] = []
    for hit in hits:
        if groups and groups[-1][-1][0] == hit[0] and hit[1] - groups[-1][-1][1] <= _GAP:
            groups[-1].append(hit)
        else:
            groups.append([hit])
    largest = max(groups, key=len, default=[])
    if not largest or len(largest) < _LEAST_COVERED * len(places):
        return None
    (sentence, first), (_, last) = largest[0], largest[-1]
    return theirs[sentence][first][1], theirs[sentence][last][2]
