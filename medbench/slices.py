"""Tables of items by labels that are too large to be worked on as one: their slices, and their ROC area."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.records import Truth

SLICE_CELLS = 4_000_000


def slices_of(n: int, width: int) -> list[slice]:
    """Return slices of n rows of which each holds about 4 million cells: one for most tables."""
    size = max(1, SLICE_CELLS // max(width, 1))
    return [slice(begin, begin + size) for begin in range(0, n, size)]


def area_over_pairs(truth: Truth, prob: npt.NDArray[np.floating[Any]]) -> float:
    """Return the chance that a true pair outranks a false one, ties half (Hanley & McNeil 1982); NaN without either.

    Args:
        truth: (n, L) bool.
        prob: (n, L) scores.
    """
    _, hits, counts = _between(truth, prob)
    n_true, n_false = int(hits.sum()), int(counts.sum())
    if not n_true or not n_false:
        return float("nan")
    below = np.cumsum(counts)[:-1:2]
    return float((hits * (below + 0.5 * counts[1::2])).sum() / (n_true * n_false))


def steps_over_pairs(
    truth: Truth, prob: npt.NDArray[np.floating[Any]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return true pairs at and above, false ones above, false ones at and above each score of a true pair, falling.

    One entry for every distinct score of a true pair: the corners of the pooled ROC and precision-recall curves.

    Args:
        truth: (n, L) bool.
        prob: (n, L) scores.
    """
    _, hits, counts = _between(truth, prob)
    false = np.cumsum(counts[::-1])
    return np.cumsum(hits[::-1]), false[:-1:2], false[1::2]


def _between(
    truth: Truth, prob: npt.NDArray[np.floating[Any]]
) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the m distinct scores of true pairs, (m,) true pairs at each, (2 m + 1,) false pairs between and at them.

    True pairs are few: false ones are only counted between their scores, a slice of items at a time. Memory beside the
    table is that of one slice and of the true pairs.
    """
    marks, hits = np.unique(prob[truth], return_counts=True)
    # Bin 2 i holds scores between marks i - 1 and i, bin 2 i + 1 those equal to mark i.
    counts = np.zeros(2 * len(marks) + 1, dtype=np.int64)
    for rows in slices_of(*truth.shape):
        values = prob[rows].ravel()
        at = np.searchsorted(marks, values)
        tied = np.zeros(len(values), dtype=bool)
        inside = at < len(marks)
        tied[inside] = marks[at[inside]] == values[inside]
        counts += np.bincount(2 * at + tied, minlength=len(counts))
    counts[1::2] -= hits
    return marks, hits, counts


def sums_before(cumulated: npt.NDArray[np.float64], index: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the sums, cumulated along each row of (B, n), just before these positions; 0 before the first."""
    return (
        np.where(index > 0, cumulated.take(np.maximum(index - 1, 0), axis=1), 0.0) if len(index) else cumulated[:, :0]
    )


def label_ranking_precision(truth: Truth, prob: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return (n,) average precision of each item's label ranking; 0 for an item without a true label.

    Its mean over labelled items is MAP. Tied labels all take the worst rank of the tie, as in label ranking average
    precision (Tsoumakas 2010), so that constant scores earn nothing.
    """
    at, column = np.nonzero(truth)
    share = np.empty(len(at))
    for part in slices_of(len(at), truth.shape[1]):
        rows = at[part]
        above = prob[rows] >= prob[rows, column[part], None]
        share[part] = (above & truth[rows]).sum(axis=1) / above.sum(axis=1)
    total = np.asarray(np.bincount(at, weights=share, minlength=len(truth)), dtype=np.float64)
    n_true = truth.sum(axis=1)
    mean: npt.NDArray[np.float64] = np.divide(total, n_true, out=np.zeros(len(truth)), where=n_true > 0)
    return mean
