"""What to read next: the record most likely to be relevant, the one in most doubt, the one least like those read."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from medbench.records import Scores

Floats = npt.NDArray[np.float32]
Strategy = Literal["mixed", "certainty", "uncertainty", "diversity"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
_ROUND: tuple[Strategy, ...] = (*("certainty",) * 4, "uncertainty", *("certainty",) * 4, "diversity")
"""How "mixed" takes turns: of ten records eight are the most relevant, one the most doubtful, one the strangest."""


def strategy_of(strategy: Strategy, turn: int) -> Strategy:
    """Return the plain strategy of this turn (records read so far, from 0)."""
    return _ROUND[turn % len(_ROUND)] if strategy == "mixed" else strategy


def worth(strategy: Strategy, scores: Scores, novelty: Floats) -> Floats:
    """Return (n,) how much each record is worth reading next under a plain strategy.

    Args:
        strategy: "certainty" (Lewis & Gale's relevance sampling, 1994), "uncertainty" (their uncertainty sampling) or
            "diversity" (the record farthest from all that were read, Sener & Savarese 2018).
        scores: (n, n_labels) in [0, 1].
        novelty: (n,) 1 less the largest cosine to a record that was read.

    Raises:
        ValueError: The strategy is "mixed", or unknown.
    """
    if strategy == "certainty":
        return np.asarray(scores.max(axis=1), dtype=np.float32)
    if strategy == "uncertainty":
        return np.asarray(1 - np.abs(2 * scores - 1).min(axis=1), dtype=np.float32)
    if strategy == "diversity":
        return novelty
    raise ValueError(f"no plain strategy: {strategy}")


def novelty_of(vectors: Floats, read: npt.NDArray[np.int64]) -> Floats:
    """Return (n,) 1 less the largest cosine between each record and one that was read; 1 when nothing was.

    Args:
        vectors: (n, d) rows of length 1 (or 0).
        read: Positions of those read.
    """
    if not len(read):
        return np.ones(len(vectors), dtype=np.float32)
    nearest = np.full(len(vectors), -1.0, dtype=np.float32)
    for begin in range(0, len(read), 1024):  # so that memory stays small
        np.maximum(nearest, (vectors @ vectors[read[begin : begin + 1024]].T).max(axis=1), out=nearest)
    return 1 - nearest
