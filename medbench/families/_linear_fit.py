"""Fitting `linear`: its terms, what each label makes of them, and the axes of its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError, Stopped
from medbench.families import Fitting
from medbench.families._ngrams import FUNCTION_WORDS, SLICE, Ngrams, learn_pieces, learn_terms
from medbench.records import Examples, Truth

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from medbench.families.linear import LinearOptions

Floats = npt.NDArray[np.float32]
# A margin of 1 is where an SVM calls an item safely inside: slope 2 puts it at .88. Calibration refines this later.
SLOPE = {"svm": 2.0, "logistic": 1.0}
_CELLS = 40_000_000
_PIECE_SIZES = range(3, 6)
_FLOOR = 0.25
_STRANGEST = 0.1
_FEW_TEXTS = 40


def terms_allowed(options: LinearOptions, n_labels: int) -> int:
    """Return how many terms may be kept so that the weights of all labels stay within 160 MB."""
    return min(options.max_features, max(5_000, _CELLS // max(n_labels, 1)))


def learn_vocabulary(train: Examples, options: LinearOptions) -> Ngrams:
    """Return the terms of the training texts that count. Raises MedbenchError when they hold no words."""
    most = terms_allowed(options, len(train.labels))
    skipped = sorted(FUNCTION_WORDS) if options.skip_function_words else []
    for min_texts in (options.min_texts, 1):  # a handful of texts may share no word: then every word counts
        terms, _ = learn_terms(train.items, options.words, min_texts, most, skipped)
        if terms:
            break
    else:
        raise MedbenchError("training texts with words in them", f"{len(train)} without any", "Check the text column.")
    pieces = learn_pieces(train.items, _PIECE_SIZES, min_texts + 1, most) if options.pieces else []
    return Ngrams(terms, pieces, options.title_weight, skipped=skipped)


def count_terms(ngrams: Ngrams, texts: Sequence[str]) -> tuple[csr_matrix, Floats]:
    """Return (n, F) float32 counts of the terms in texts, and (n,) each text's share of known words."""
    from scipy.sparse import vstack

    parts = [ngrams.counts_and_known(texts[begin : begin + SLICE]) for begin in range(0, len(texts), SLICE)]
    table: csr_matrix = vstack([counts for counts, _ in parts], format="csr", dtype=np.float32)
    return table, np.concatenate([known for _, known in parts])


def fit_labels(table: csr_matrix, train: Examples, options: LinearOptions, fitting: Fitting) -> tuple[Floats, Floats]:
    """Return (F, L) weights, rounded to half precision as they are saved, and (L,) intercepts.

    Raises:
        Stopped: The user cancelled.
    """
    weights = np.zeros((table.shape[1], len(train.labels)), dtype=np.float32)
    intercepts = np.zeros(len(train.labels), dtype=np.float32)
    table = table.astype(np.float64)  # what the solver works in: convert once, not once per label
    emphasis = _Emphasis(table, train.truth) if options.emphasis else None
    for at, label in enumerate(train.labels):
        if fitting.say.stopping:
            raise Stopped
        truth = train.truth[:, at]
        positives = int(truth.sum())
        if 0 < positives < len(truth):
            scale = emphasis.scale(at) if emphasis else np.ones(table.shape[1])
            scaled = table.copy()
            scaled.data *= scale[scaled.indices]
            fitted = _classifier(options, positives, len(truth), fitting.rng).fit(scaled, truth)
            weights[:, at] = fitted.coef_[0] * scale
            intercepts[at] = fitted.intercept_[0]
        else:  # nothing to tell apart: the label's share in the training data, smoothed
            share = (positives + 0.5) / (len(truth) + 1)
            intercepts[at] = np.log(share / (1 - share)) / SLOPE[options.loss]
        fitting.say("progress", step=at + 1, steps=len(train.labels), label=label)
    return weights.astype(np.float16).astype(np.float32), intercepts


class _Emphasis:
    """How much each term is emphasised for a label: the size of its log-odds ratio (after Wang & Manning 2012).

    They multiply binary features by the signed ratio; here TF-IDF is multiplied by a quarter plus three quarters of its
    absolute value, and the rows are brought back to a mean squared length of 1, so that C keeps its meaning.
    """

    def __init__(self, table: csr_matrix, truth: Truth) -> None:
        present = table.copy()
        present.data[:] = 1
        self._truth = truth
        self._transposed = present.T.tocsr()
        self._everywhere = np.asarray(present.sum(axis=0)).ravel()
        self._squares = np.asarray(table.multiply(table).mean(axis=0)).ravel()

    def scale(self, label: int) -> npt.NDArray[np.float64]:
        """Return (F,) factors for a label (its column in `truth`)."""
        inside = self._truth[:, label]
        within = self._transposed @ inside.astype(np.float64)
        here = (within + 1) / (inside.sum() + 2)
        there = (self._everywhere - within + 1) / ((~inside).sum() + 2)
        factor = _FLOOR + (1 - _FLOOR) * np.abs(np.log(here / there))
        return np.asarray(factor / np.sqrt((self._squares * factor**2).sum()))


def _classifier(options: LinearOptions, positives: int, n_items: int, rng: np.random.Generator) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    rarity = (n_items - positives) / positives
    weight = {"none": None, "balanced": {True: rarity, False: 1.0}, "half": {True: rarity**0.5, False: 1.0}}
    chosen = weight[options.class_weight]
    seed = int(rng.integers(2**31))
    if options.loss == "svm":
        return LinearSVC(C=options.C, class_weight=chosen, tol=0.01, random_state=seed, max_iter=3000)
    return LogisticRegression(
        C=options.C, class_weight=chosen, solver="liblinear", tol=0.01, random_state=seed, max_iter=300
    )


def latent_axes(table: csr_matrix, dimensions: int, rng: np.random.Generator) -> Floats:
    """Return (p, d) axes of a truncated SVD (latent semantic analysis, Deerwester 1990), in half-precision steps."""
    from sklearn.utils.extmath import randomized_svd

    size = max(1, min(dimensions, table.shape[0] // 10, min(table.shape) - 1))
    _, _, axes = randomized_svd(table, size, n_iter=2, random_state=int(rng.integers(2**31)))
    return np.asarray(axes.T.astype(np.float16).astype(np.float32))


def least_explained(table: csr_matrix, known: Floats, dimensions: int, rng: np.random.Generator) -> float:
    """Return the share of a new text that axes explain, exceeded by nine in ten texts; 0 for under 40 texts.

    Axes explain the texts they were drawn through too well, so axes through one half are measured on the other.
    """
    order = rng.permutation(table.shape[0])
    first, second = np.array_split(order, 2)
    if len(order) < _FEW_TEXTS:
        return 0.0
    norms = np.linalg.norm(table[second] @ latent_axes(table[first], dimensions, rng), axis=1) * known[second]
    return float(np.float32(np.quantile(norms, _STRANGEST)))
