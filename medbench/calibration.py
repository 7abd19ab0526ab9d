"""How far probabilities are off: calibration error, log loss, and the maps between margins and probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medbench.records import AnswerKind, Truth
from medbench.slices import slices_of

Floats = npt.NDArray[np.float64]
BINS = 15
EPSILON = 1e-6


def calibration_pairs(prob: npt.ArrayLike, truth: Truth, answer: AnswerKind) -> tuple[Floats, Floats]:
    """Return what a calibration curve is drawn from: (claimed, true), both (m,) or (n, L) float64.

    Answer "one": the probability of the top label and whether it was right, one pair per item (Guo 2017).
    Answer "many": every (item, label) probability and whether the label is true, shape (n, L).
    """
    values = np.asarray(prob, dtype=np.float64)
    if answer == "many":
        return values, truth.astype(np.float64)
    top = values.argmax(axis=1)
    rows = np.arange(len(values))
    return values[rows, top], truth[rows, top].astype(np.float64)


def bin_of(claimed: Floats, bins: int = BINS) -> npt.NDArray[np.int64]:
    """Return the index of the equal-width bin each probability falls in: bin b holds (b/bins, (b+1)/bins]."""
    return np.clip(np.ceil(claimed * bins).astype(np.int64) - 1, 0, bins - 1)


def expected_calibration_error(prob: npt.ArrayLike, truth: Truth, answer: AnswerKind, bins: int = BINS) -> float:
    """Return the expected calibration error (Guo 2017), 0-1, over `bins` equal-width bins; 0 when there is no item.

    For answer "many" it runs over all (item, label) pairs; for "one" over the top label of each item.
    """
    table, gaps, n_pairs = np.asarray(prob), np.zeros(bins), 0
    for rows in slices_of(*truth.shape):
        claimed, true = (array.ravel() for array in calibration_pairs(table[rows], truth[rows], answer))
        gaps += np.bincount(bin_of(claimed, bins), weights=claimed - true, minlength=bins)
        n_pairs += claimed.size
    return float(np.abs(gaps).sum() / n_pairs) if n_pairs else 0.0


def log_loss(prob: npt.ArrayLike, truth: Truth, answer: AnswerKind) -> float:
    """Return the mean negative log-likelihood in nats: per item for "one", per (item, label) pair for "many".

    Probabilities are kept inside [1e-6, 1 - 1e-6].
    """
    table, nats, n_values = np.asarray(prob), 0.0, 0
    for rows in slices_of(*truth.shape):
        values = np.clip(np.asarray(table[rows], dtype=np.float64), EPSILON, 1 - EPSILON)
        likelihood = values[truth[rows]] if answer == "one" else np.where(truth[rows], values, 1 - values)
        nats -= float(np.log(likelihood).sum())
        n_values += likelihood.size
    return nats / n_values if n_values else 0.0


def logit(prob: npt.ArrayLike) -> Floats:
    """Return log(p / (1 - p)), float64, with p kept inside [1e-6, 1 - 1e-6]."""
    values = np.clip(np.asarray(prob, dtype=np.float64), EPSILON, 1 - EPSILON)
    return np.asarray(np.log(values) - np.log1p(-values))


def logistic(margin: npt.ArrayLike) -> Floats:
    """Return 1 / (1 + exp(-margin)), float64, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(margin, dtype=np.float64))))


def softmax(margin: Floats) -> Floats:
    """Return (n, L) float64 rows that sum to 1, of (n, L) margins."""
    power = np.exp(margin - margin.max(axis=1, keepdims=True))
    return np.asarray(power / power.sum(axis=1, keepdims=True))
