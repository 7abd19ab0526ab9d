"""Resampling with replacement (the bootstrap, Efron 1979): draws of groups, and the interval of what they came to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LEAST_DEFINED = 0.5
"""With a smaller share of the resamples holding what a figure needs, they say little of its spread: no interval."""


def ratio(above: Floats, below: Floats, nothing: float = 0.0) -> Floats:
    """Return above / below, element by element; `nothing` where nothing is below."""
    out: Floats = np.full(np.broadcast(above, below).shape, nothing)
    return np.divide(above, below, out=out, where=below > 0)


def mean_of(values: Floats, kept: npt.NDArray[np.bool_], nothing: float = 0.0) -> Floats:
    """Return (B,) the mean over those columns of (B, L) values that are kept; `nothing` where none is."""
    return ratio(np.where(kept, values, 0).sum(axis=1), kept.sum(axis=1).astype(np.float64), nothing)


def resample_weights(n_groups: int, rng: np.random.Generator, n_boot: int) -> Floats:
    """Return (n_boot, n_groups) float64: how often each resample drew each group."""
    draws = rng.integers(0, n_groups, (n_boot, n_groups))
    draws += np.arange(n_boot)[:, None] * n_groups
    return np.bincount(draws.ravel(), minlength=n_boot * n_groups).reshape(n_boot, n_groups).astype(np.float64)


def interval(drawn: Floats) -> tuple[float, float] | None:
    """Return the 2.5th and 97.5th percentiles of a figure's resamples.

    A resample without what the figure needs (an AUC without a positive) is NaN and left out: it says nothing of how far
    the figure would move. There is no interval where too few are left, or where all came to the very same: that
    happens when every item was right, or when there is one group, and would read as certainty.

    Args:
        drawn: (B,) the figure in each resample, NaN where it is undefined.
    """
    kept = drawn[~np.isnan(drawn)]
    if not len(kept) or len(kept) < LEAST_DEFINED * len(drawn) or np.ptp(kept) == 0:
        return None
    low, high = np.quantile(kept, [0.025, 0.975])
    return float(low), float(high)
