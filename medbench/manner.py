"""How a text is written, as far as neighbouring words tell: a second way to notice texts of another kind.

A model's own vectors are made of the words that tell its labels apart, so a visit note and an abstract about the same
disease lie side by side. What tells them apart is the manner of writing. It is learnt from the training texts alone:
words that stand in most texts keep their identity, others are told apart by their last letters only, numbers and marks
are words too. How much better such a symbol is foreseen from the one before it than from its frequency,

    s = mean over symbols of log( p(symbol | the one before) / p(symbol) ),

is a likelihood ratio of two models of the same text (Ren et al. 2019): what a text is about makes words frequent or
rare in both, and cancels. In texts of another kind common words follow each other otherwise, and s is low. Of few words
s varies more, so it is judged in units of what texts of its length vary by.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_TOKEN = re.compile(r"\d+|[^\W\d_]+|[^\w\s]|_")
_END = re.compile(r"[.!?](?=\s|$)")
_OF = "in 100 words and marks"
FACTS = ("words in a sentence", "letters in a word", f"numbers {_OF}", f"marks {_OF}", f"of their frequent words {_OF}")
"""What is told of a text beside those it is unlike, in the order of `Manner.usual`."""
_NAMED = 3
_WORDS, _ENDINGS, _LETTERS = 200, 100, 2  # so many frequent words, and endings of so many letters
_START, _OTHER, _NUMBER = 0, 1, 2  # symbols that every table has
_SMOOTHING = 20.0  # a symbol seen less often than this says little about the next
_IN_TEXTS = 3  # texts that a word must stand in to keep its identity
_LEAST, _MOST = 30, 20_000  # texts it is learnt from, a count
_FOLDS = 5
_SLICE = 512
_REMEMBERED = 200_000
_HALF_NORMAL = 0.4549  # median of the square of a standard normal variable


@dataclass(frozen=True)
class Manner:
    """The manner of the training texts.

    Attributes:
        words: Words that keep their identity.
        endings: Last letters by which others are told apart.
        counts: (S, S) how often one symbol follows another; S symbols: start, other, number, `words`, `endings`.
        scale: (3,) float64: the median of s over training texts that the counts did not see, its variance between
            texts, and the variance of one symbol's share in it.
        reference: (101,) float64, percentiles of how unusual such texts are.
        limit: Above it a text is called unlike the training data.
        usual: (5, 2) float64: between which values of each of `FACTS` 95 % of the training texts lie.
    """

    words: tuple[str, ...]
    endings: tuple[str, ...]
    counts: npt.NDArray[np.uint32]
    scale: Floats
    reference: Floats
    limit: float
    usual: Floats
    _table: npt.NDArray[np.float32] = field(init=False, repr=False, compare=False)
    _symbol: _Symbols = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what reading a text takes."""
        object.__setattr__(self, "_table", _ratios(self.counts))
        object.__setattr__(self, "_symbol", _Symbols(self.words, self.endings))

    def unusual(self, texts: Sequence[str]) -> Floats:
        """Return (n,) float64: by how many standard deviations of such a length each text falls short; 0 is usual."""
        parts = [
            _shortfall(*_means(self._table, self._symbol.of(texts[at : at + _SLICE]))[:2], self.scale)
            for at in range(0, len(texts), _SLICE)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def differs(self, text: str) -> str:
        """Return in words what sets a text apart: facts beyond those of the training texts, and runs they seldom have.

        Of the runs of two symbols with a word in them those that lower s the most are named, all places together.
        """
        tokens = _tokens(text)
        symbols = self._symbol.numbers(tokens)
        odd = [
            f"{_number(value)} {name} (theirs: {_number(low)} to {_number(high)})"
            for name, value, (low, high) in zip(FACTS, _facts(text, tokens, self.words), self.usual, strict=True)
            if not low <= value <= high
        ]
        lost: dict[str, float] = {}
        for run, value in zip(pairwise(tokens), self._table[symbols[1:-1], symbols[2:]].tolist(), strict=True):
            if any(one.isalpha() for one in run):
                lost[" ".join(run)] = lost.get(" ".join(run), 0.0) + value - float(self.scale[0])
        worst = [run for run in sorted(lost, key=lost.__getitem__)[:_NAMED] if lost[run] < 0]
        odd += [f"runs they seldom have: {', '.join(f'“{run}”' for run in worst)}"] if worst else []
        return "; ".join(odd)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `manner_from` needs; nothing that would have to be pickled."""
        return {
            "words": np.array(self.words, dtype=np.str_),
            "endings": np.array(self.endings, dtype=np.str_),
            "counts": self.counts,
            "scale": self.scale,
            "reference": self.reference,
            "limit": np.array(self.limit),
            "usual": self.usual,
        }


def manner_from(arrays: Mapping[str, npt.NDArray[Any]]) -> Manner:
    """Return what `Manner.arrays` wrote. Raises KeyError or ValueError when something is missing or damaged."""
    words, endings = (tuple(arrays[name].tolist()) for name in ("words", "endings"))
    size = _NUMBER + 1 + len(words) + len(endings)
    if arrays["counts"].shape != (size, size):
        raise ValueError(f"a table of {arrays['counts'].shape} for {size} symbols")
    figures = (arrays["scale"], arrays["reference"], float(arrays["limit"]), arrays["usual"])
    return Manner(words, endings, arrays["counts"], *figures)


def fit(texts: Sequence[str], rate: float, groups: Sequence[str] = ()) -> Manner | None:
    """Learn the manner of some texts; None of too few.

    Args:
        texts: Training texts; at most 20,000 of them are read. Draws of its own: nothing else moves.
        rate: Share of texts of the same kind that may be called unlike them, 0-1. It is kept to on texts that the
            counts did not see: each fifth is judged by the other four, and the counts of all are kept.
        groups: One key for each text; texts of one group are judged together.
    """
    rng = np.random.default_rng(0)
    if len(texts) < _LEAST:
        return None
    rows = np.sort(rng.permutation(len(texts))[:_MOST])
    tokens = [_tokens(texts[row]) for row in rows]
    words, endings = _frequent(tokens)
    symbols = _Symbols(words, endings)
    read = [symbols.numbers(one) for one in tokens]
    size = _NUMBER + 1 + len(words) + len(endings)
    key = np.unique([groups[row] for row in rows], return_inverse=True)[1] if len(groups) else np.arange(len(rows))
    fold = rng.permutation(int(key.max()) + 1)[key] % _FOLDS
    parts = [_counted([read[row] for row in np.flatnonzero(fold == number)], size) for number in range(_FOLDS)]
    counts = np.sum(parts, axis=0)
    mean, length, spread = (np.zeros(len(rows)) for _ in range(3))
    for number, part in enumerate(parts):
        inside = np.flatnonzero(fold == number)
        found = _means(_ratios(counts - part), [read[row] for row in inside])
        mean[inside], length[inside], spread[inside] = found
    scale = _scaled(mean, length, spread)
    held = _shortfall(mean, length, scale)
    reference = np.quantile(held, np.linspace(0, 1, 101))
    limit = float(np.quantile(held, 1 - rate, method="higher"))
    facts = [_facts(texts[row], one, words) for row, one in zip(rows.tolist(), tokens, strict=True)]
    usual = np.quantile(facts, [0.025, 0.975], axis=0).T
    return Manner(words, endings, counts.astype(np.uint32), scale, reference, limit, usual)


def _facts(text: str, tokens: Sequence[str], frequent: Sequence[str]) -> tuple[float, ...]:
    """Return the numbers that `FACTS` names."""
    words = [len(token) for token in tokens if token.isalpha()]
    numbers, known = sum(token.isdigit() for token in tokens), set(frequent)
    common = sum(token in known for token in tokens if token.isalpha())
    marks = len(tokens) - len(words) - numbers
    shares = [100 * count / max(len(tokens), 1) for count in (numbers, marks, common)]
    return len(words) / max(len(_END.findall(text)), 1), sum(words) / max(len(words), 1), *shares


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value < 10 else f"{value:.0f}"


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


def _frequent(tokens: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words in most texts, and the endings of most of the other words."""
    in_texts = Counter(chain.from_iterable(set(one) for one in tokens))
    ranked = sorted(in_texts.items(), key=lambda pair: (-pair[1], pair[0]))
    words = [word for word, number in ranked if number >= _IN_TEXTS and not word.isdigit()][:_WORDS]
    others = in_texts.keys() - set(words)
    ends = Counter(word[-_LETTERS:] for word in others if word.isalpha())
    endings = [end for end, _ in sorted(ends.items(), key=lambda pair: (-pair[1], pair[0]))][:_ENDINGS]
    return tuple(words), tuple(endings)


class _Symbols(dict[str, int]):
    """Numbers of words; what is looked up once is remembered."""

    def __init__(self, words: Sequence[str], endings: Sequence[str]) -> None:
        super().__init__({word: at for at, word in enumerate(words, start=_NUMBER + 1)})
        self.endings = {end: at for at, end in enumerate(endings, start=_NUMBER + 1 + len(words))}

    def __missing__(self, word: str) -> int:
        number = _NUMBER if word.isdigit() else self.endings.get(word[-_LETTERS:], _OTHER)
        if len(self) < _REMEMBERED:
            self[word] = number
        return number

    def numbers(self, tokens: Sequence[str]) -> Ints:
        """Return the symbols of a text, after the start."""
        return np.array([_START, *map(self.__getitem__, tokens)], dtype=np.int64)

    def of(self, texts: Sequence[str]) -> list[Ints]:
        """Return the symbols of texts."""
        return [self.numbers(_tokens(text)) for text in texts]


def _counted(read: Sequence[Ints], size: int) -> Ints:
    """Return (size, size) int64: how often one symbol follows another."""
    pairs = np.concatenate([one[:-1] * size + one[1:] for one in read]) if read else np.zeros(0, dtype=np.int64)
    return np.bincount(pairs, minlength=size * size).reshape(size, size).astype(np.int64)


def _ratios(counts: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return (S, S) float32: log of how much likelier a symbol is after another than anywhere."""
    anywhere = counts.sum(axis=0) + 0.5
    anywhere = anywhere / anywhere.sum()
    after = (counts + _SMOOTHING * anywhere) / (counts.sum(axis=1, keepdims=True) + _SMOOTHING)
    return np.asarray(np.log(after / anywhere), dtype=np.float32)


def _means(table: npt.NDArray[np.float32], read: Sequence[Ints]) -> tuple[Floats, Floats, Floats]:
    """Return, for each text, s, its number of symbols (at least 1), and their variance."""
    if not read:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    symbols = np.concatenate(read)
    lengths = np.array([len(one) for one in read])
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    # What precedes a text's start is another text: it counts nothing.
    values = np.concatenate([[0.0], table[symbols[:-1], symbols[1:]].astype(np.float64)])
    values[first] = 0.0
    number = np.maximum(lengths - 1, 1).astype(np.float64)
    mean = np.add.reduceat(values, first) / number
    spread = np.add.reduceat(values**2, first) / number - mean**2
    return mean, number, spread


def _scaled(mean: Floats, length: Floats, spread: Floats) -> Floats:
    """Return the scale of `Manner`, from medians: a few odd training texts must not widen it."""
    one = max(float(np.average(spread, weights=length)), 1e-6)
    middle = float(np.median(mean))
    between = float(np.median((mean - middle) ** 2 / _HALF_NORMAL - one / length))
    return np.array([middle, max(between, 1e-4), one])


def _shortfall(mean: Floats, length: Floats, scale: Floats) -> Floats:
    middle, between, one = scale
    return np.asarray((middle - mean) / np.sqrt(between + one / length))
