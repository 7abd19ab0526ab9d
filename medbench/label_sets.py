"""Labels that go together: how probable each label is, given how probable the others are.

Most texts that carry "Urology" carry "Surgery" too, and hardly any carries "Urology" and "Dentistry". A model that
decides every label by itself does not know that; the sets of labels that occurred in its training data do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medbench.records import Truth
from medbench.slices import slices_of

Floats = npt.NDArray[np.float64]
MOST_SETS = 4000
"""So many of the most common sets are kept."""
# How much a set's frequency counts beside what its labels' own probabilities, which know their frequency, say of it.
_FREQUENCY = 0.25
# New items carry sets that no known item carries: half of each probability is the label's own.
_OWN = 0.5
_NEVER = 1e-4


@dataclass(frozen=True)
class LabelSets:
    """The sets of labels of known items; called on probabilities, it returns those that agree better with each other.

    An item's set is taken to be one of the known ones, S, with probability proportional to the product of the odds
    p / (1 - p) of its labels times n^(1/4), n being how many known items carry it (a label powerset over independent
    answers; after Read, Pfahringer and Holmes 2008). A label's probability is the mean of its own and of the sum over
    the sets that hold it.

    Attributes:
        sets: (S, L) bool, each different; the empty set may be one.
        count: (S,) int64, how many items carry it, at least 1.
    """

    sets: Truth
    count: npt.NDArray[np.int64]

    def __call__(self, prob: Floats) -> Floats:
        """Return (n, L) float64 probabilities in [0, 1]; `prob` is not changed."""
        held, frequency = self.sets.astype(np.float64), _FREQUENCY * np.log(self.count)
        result = np.empty(prob.shape)
        for rows in slices_of(len(prob), len(self.sets)):
            own = np.asarray(prob[rows], dtype=np.float64)
            inside = own.clip(_NEVER, 1 - _NEVER)
            odds = (np.log(inside) - np.log1p(-inside)) @ held.T + frequency
            share = np.exp(odds - odds.max(axis=1, keepdims=True))
            share /= share.sum(axis=1, keepdims=True)
            result[rows] = _OWN * own + (1 - _OWN) * (share @ held)
        return result


def label_sets(truth: Truth) -> LabelSets:
    """Return the sets of labels that items carry, the most common first.

    Args:
        truth: (n, L) bool, at least one item.
    """
    sets, count = np.unique(truth, axis=0, return_counts=True)
    order = np.argsort(-count, kind="stable")[:MOST_SETS]
    return LabelSets(sets[order], count[order].astype(np.int64))
