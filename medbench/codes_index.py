"""An inverted index over short texts that forgives typos and endings: which texts share the rare words of a query?

Every query word stands for itself and, less, for the words of the index that are spelled like it (trigrams in common).
A text's score is the cosine between query and text, words weighted by their rarity. Files, written by `Index.save`:

    index.npz      postings (term → texts), rarity, norm, and trigrams → terms, all numbers
    terms.txt      the words, one a line, in the order of their numbers
    grams.txt      the trigrams, likewise
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medbench.codes_words import words

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
_ALIKE = 0.55  # trigrams in common (Dice) from which two words count as alike
_ALIKE_KNOWN = 0.7  # the same for a word that the index knows itself: then it is hardly a typo
_MOST_ALIKE = 6


@dataclass(frozen=True)
class Grams:
    """Which words have a trigram: to find words that are spelled alike.

    Attributes:
        grams: The trigrams.
        starts: (n_grams + 1,) int32, where a trigram's words begin.
        terms: word numbers, ascending within a trigram.
        sizes: (V,) float32, how many trigrams a word has.
    """

    grams: Sequence[str]
    starts: Ints
    terms: Ints
    sizes: Floats

    @classmethod
    def of(cls, terms: Sequence[str]) -> Grams:
        """Spell words; the number of a word is its position."""
        held: dict[str, list[int]] = {}
        sizes = np.zeros(len(terms), dtype=np.float32)
        for at, term in enumerate(terms):
            each = _grams(term)
            sizes[at] = len(each)
            for gram in each:
                held.setdefault(gram, []).append(at)
        starts = np.cumsum([0, *(len(each) for each in held.values())]).astype(np.int32)
        flat = np.array([at for each in held.values() for at in each], dtype=np.int32)
        return cls(list(held), starts, flat, sizes)


class Index:
    """Texts, ready to be searched. Read-only, so threads may share it.

    Attributes:
        terms: V words.
        starts: (V + 1,) int32, where a word's postings begin.
        postings: text numbers, ascending within a word.
        rarity: (V,) float32, the logarithm of how rare a word is.
        norm: (n_texts,) float32, length of a text's vector.
        numbers: A word's number.
    """

    def __init__(
        self,
        terms: Sequence[str],
        starts: Ints,
        postings: Ints,
        rarity: Floats,
        norm: Floats,
        grams: Grams | None = None,
    ) -> None:
        """Take the arrays; see the class. `grams` are worked out when they are not given."""
        self.terms, self.starts, self.postings, self.rarity, self.norm = list(terms), starts, postings, rarity, norm
        self.numbers = {term: at for at, term in enumerate(self.terms)}
        self._grams = Grams.of(self.terms) if grams is None else grams
        self._gram_number = {gram: at for at, gram in enumerate(self._grams.grams)}
        self.meanings = lru_cache(maxsize=20_000)(self._meanings)

    @classmethod
    def of(cls, texts: Sequence[str]) -> Index:
        """Index texts; the number of a text is its position."""
        found = [tuple(dict.fromkeys(words(text))) for text in texts]
        counts = Counter(word for each in found for word in each)
        terms = sorted(counts)
        number = {term: at for at, term in enumerate(terms)}
        rarity = np.log((len(texts) + 1) / (np.array([counts[term] for term in terms]) + 0.5)).astype(np.float32)
        sizes = np.array([len(each) for each in found], dtype=np.int64)
        flat = np.array([number[word] for each in found for word in each], dtype=np.int32)
        owner = np.repeat(np.arange(len(texts), dtype=np.int32), sizes)
        order = np.lexsort((owner, flat))
        starts = np.searchsorted(flat[order], np.arange(len(terms) + 1)).astype(np.int32)
        norm = np.sqrt(np.bincount(owner, weights=rarity[flat] ** 2, minlength=len(texts))).astype(np.float32)
        return cls(terms, starts, owner[order], rarity, np.maximum(norm, 1e-6))

    def save(self, folder: Path) -> None:
        """Write the files into an existing folder."""
        arrays = {name: getattr(self, name) for name in ("starts", "postings", "rarity", "norm")}
        spelled = {"gram_starts": self._grams.starts, "gram_terms": self._grams.terms, "gram_sizes": self._grams.sizes}
        np.savez(folder / "index.npz", allow_pickle=False, **arrays, **spelled)
        (folder / "terms.txt").write_text("\n".join(self.terms), encoding="utf-8")
        (folder / "grams.txt").write_text("\n".join(self._grams.grams), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Read what `save` wrote."""
        terms, grams = ((folder / name).read_text(encoding="utf-8").split("\n") for name in ("terms.txt", "grams.txt"))
        with np.load(folder / "index.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("starts", "postings", "rarity", "norm")}
            spelled = Grams(grams, *(file[f"gram_{name}"] for name in ("starts", "terms", "sizes")))
        return cls(terms, **arrays, grams=spelled)

    def _meanings(self, word: str) -> tuple[tuple[int, float], ...]:
        """Return (word number, likeness 0-1) of the words that a query word may stand for, itself first."""
        known = self.numbers.get(word)
        exact = [(known, 1.0)] if known is not None else []
        if len(word) < 4 or word.isdigit():
            return tuple(exact)
        grams = _grams(word)
        numbers = [self._gram_number[gram] for gram in grams if gram in self._gram_number]
        if not numbers:
            return tuple(exact)
        held = self._grams
        found = [held.terms[held.starts[at] : held.starts[at + 1]] for at in numbers]
        shared = np.bincount(np.concatenate(found), minlength=len(self.terms)).astype(np.float32)
        likeness = 2 * shared / (held.sizes + len(grams))
        if known is not None:
            likeness[known] = 0
        alike = np.flatnonzero(likeness >= (_ALIKE if known is None else _ALIKE_KNOWN))
        best = alike[np.argsort(-likeness[alike], kind="stable")][:_MOST_ALIKE]
        return (*exact, *((int(at), float(likeness[at]) ** 2) for at in best))

    def weight(self, word: str) -> float:
        """Return a query word's rarity; of an unknown word that of the word most like it, else that of a rare word."""
        found = self.meanings(word)
        return float(self.rarity[found[0][0]]) if found else float(self.rarity.max(initial=1.0))

    def match(self, query: Sequence[str]) -> tuple[Floats, Floats]:
        """Return how well every text fits the words of a query.

        Returns:
            (n_texts,) float32 cosine in [0, 1], and (n_texts,) float32 share of the query's rarity found in the text.
        """
        dot = np.zeros(len(self.norm), dtype=np.float32)
        share = np.zeros(len(self.norm), dtype=np.float32)
        total = square = 1e-9
        for word in dict.fromkeys(query):
            weight = self.weight(word)
            total += weight
            square += weight**2
            for texts, likeness, rarity in self._found(word):
                dot[texts] += likeness * rarity * weight
                share[texts] += likeness * weight
        return np.minimum(dot / (self.norm * np.float32(square**0.5)), 1), np.minimum(share / np.float32(total), 1)

    def _found(self, word: str) -> list[tuple[Ints, float, float]]:
        """Return (texts, likeness, rarity) of a query word's meanings; a text with several counts by the best."""
        parts = [
            (self.postings[self.starts[term] : self.starts[term + 1]], likeness, float(self.rarity[term]))
            for term, likeness in self.meanings(word)
        ]
        if len(parts) < 2:
            return parts
        taken = np.zeros(len(self.norm), dtype=bool)
        out = []
        for texts, likeness, rarity in sorted(parts, key=lambda part: -part[1]):
            fresh = texts[~taken[texts]]
            taken[fresh] = True
            out.append((fresh, likeness, rarity))
        return out


@lru_cache(maxsize=200_000)
def _grams(word: str) -> frozenset[str]:
    """Return a word's trigrams, its beginning counted twice: typos are rare in first letters."""
    padded = f"^{word}$"
    return frozenset([*(padded[at : at + 3] for at in range(len(padded) - 2)), f"^^{word[:1]}", f"^^{word[:2]}"])
