"""Latent semantic axes and a ridge regression on them: all labels at once, light enough for thousands of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.families._ngrams import FUNCTION_WORDS, SLICE, Ngrams, learn_terms, tfidf
from medbench.records import Truth

Floats = npt.NDArray[np.float32]
_RIDGE = 0.5
# The constant column is long, so that the penalty hardly holds the intercept back.
_CONSTANT = 10.0


@dataclass
class Semantic:
    """TF-IDF, its first axes (Deerwester 1990), and one ridge regression per label on them.

    Attributes:
        ngrams: The vocabulary, F columns.
        idf: (F,) float32.
        axes: (F, d) float32 that half precision holds exactly.
        weights: (d + 1, L) float32 that half precision holds exactly; the last row belongs to the constant.
    """

    ngrams: Ngrams
    idf: Floats
    axes: Floats
    weights: Floats

    def vectors(self, texts: Sequence[str]) -> Floats:
        """Return (n, d) float32 places of the texts on the axes; never longer than 1."""
        parts = [
            tfidf(self.ngrams.counts(texts[begin : begin + SLICE]), self.idf) @ self.axes
            for begin in range(0, len(texts), SLICE)
        ]
        return np.concatenate(parts).astype(np.float32) if parts else np.zeros((0, self.axes.shape[1]), np.float32)

    def shares(self, vectors: Floats) -> Floats:
        """Return (n, L) float32 expected truth, about 0 to 1, of texts at these places."""
        return np.asarray(vectors @ self.weights[:-1] + _CONSTANT * self.weights[-1], dtype=np.float32)

    def word_weights(self, label: int) -> Floats:
        """Return (F,) float32: what a unit of TF-IDF of each term adds to the label's expected truth."""
        return np.asarray(self.axes @ self.weights[:-1, label], dtype=np.float32)

    def table(self, text: str) -> Any:
        """Return the (1, F) sparse TF-IDF row of one text."""
        return tfidf(self.ngrams.counts([text]), self.idf)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `Semantic(...)` needs beside the vocabulary, in half precision where that loses nothing."""
        return {"idf": self.idf, "axes": self.axes.astype(np.float16), "weights": self.weights.astype(np.float16)}


def fit(texts: Sequence[str], truth: Truth, terms: int, dimensions: int, rng: np.random.Generator) -> Semantic:
    """Fit the axes and the regressions.

    Args:
        texts: n training texts.
        truth: (n, L) bool.
        terms: At most this many words and word pairs.
        dimensions: Number of axes; fewer for few texts.
        rng: Draws the start of the decomposition.
    """
    from sklearn.utils.extmath import randomized_svd

    skipped = sorted(FUNCTION_WORDS)
    names, _ = learn_terms(texts, 2, 2, terms, skipped)
    ngrams = Ngrams(names or learn_terms(texts, 1, 1, terms, skipped)[0], skipped=skipped)
    if not len(ngrams):
        ngrams = Ngrams(["-"])  # texts without words: every vector is 0
    counts = ngrams.counts(texts)
    in_texts = np.bincount(counts.indices, minlength=len(ngrams))
    idf = (np.log((1 + len(texts)) / (1 + in_texts)) + 1).astype(np.float32)
    table = tfidf(counts, idf)
    size = max(1, min(dimensions, table.shape[0] // 2, min(table.shape) - 1))
    _, _, axes = randomized_svd(table, size, n_iter=3, random_state=int(rng.integers(2**31)))
    axes = axes.T.astype(np.float16).astype(np.float32)
    places = np.column_stack([table @ axes, np.full(len(texts), _CONSTANT)]).astype(np.float64)
    penalised = places.T @ places + _RIDGE * np.eye(places.shape[1])
    weights = np.linalg.solve(penalised, places.T @ truth.astype(np.float64))
    return Semantic(ngrams, idf, axes, weights.astype(np.float16).astype(np.float32))
