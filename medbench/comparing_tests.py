"""The statistics of a comparison: is the difference between two models on the same items more than chance?

Pure functions of arrays. Conventions: p-values are two-sided, intervals are 95 %, `n` is the number of items or groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_Z95 = 1.959963984540054


# --- McNemar ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class McNemar:
    """Two models on the same items, right or wrong (McNemar 1947).

    Attributes:
        only_first: Items that only the first model got right.
        only_second: Items that only the second model got right.
        exact: p of the exact conditional (binomial) test.
        mid_p: p of the mid-p test: less conservative, and still at its level in practice (Fagerland et al. 2013).
        chi2: Statistic with Edwards' continuity correction (Edwards 1948).
        chi2_p: Its p, from the chi-squared distribution with one degree of freedom.
    """

    only_first: int
    only_second: int
    exact: float
    mid_p: float
    chi2: float
    chi2_p: float


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """Test whether the two discordant counts of a paired 2 × 2 table differ. Without any, every p is 1.

    Args:
        only_first: Items that only the first model got right.
        only_second: Items that only the second model got right.
    """
    from scipy.stats import binom, chi2

    n, least = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return McNemar(0, 0, 1.0, 1.0, 0.0, 1.0)
    here = float(binom.pmf(least, n, 0.5))
    if only_first == only_second:
        exact, mid_p = 1.0, 1 - 0.5 * here
    else:
        exact = min(1.0, 2 * float(binom.cdf(least, n, 0.5)))
        mid_p = exact - here
    statistic = max(abs(only_first - only_second) - 1, 0) ** 2 / n
    return McNemar(only_first, only_second, exact, mid_p, statistic, float(chi2.sf(statistic, 1)))


# --- DeLong ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeLong:
    """Areas under ROC curves that rest on the same items.

    Attributes:
        auc: (m,) one area per model.
        covariance: (m, m) covariance of the areas.
    """

    auc: Floats
    covariance: Floats

    def interval(self, at: int) -> tuple[float, float]:
        """Return the 95 % interval of one area (normal approximation, cut to [0, 1])."""
        half = _Z95 * math.sqrt(max(float(self.covariance[at, at]), 0.0))
        return max(float(self.auc[at]) - half, 0.0), min(float(self.auc[at]) + half, 1.0)

    def difference(self, first: int, second: int) -> AreaDifference:
        """Return how far the area of `second` lies above that of `first`."""
        from scipy.stats import norm

        cov = self.covariance
        value = float(self.auc[second] - self.auc[first])
        spread = math.sqrt(max(float(cov[first, first] + cov[second, second] - 2 * cov[first, second]), 0.0))
        if spread == 0:  # the same ranking twice, or two perfect ones: nothing varies
            return AreaDifference(value, value, value, 0.0, 1.0 if value == 0 else 0.0)
        z = value / spread
        return AreaDifference(value, value - _Z95 * spread, value + _Z95 * spread, z, 2 * float(norm.sf(abs(z))))


@dataclass(frozen=True, slots=True)
class AreaDifference:
    """A difference of two areas with its 95 % interval, z and p."""

    value: float
    low: float
    high: float
    z: float
    p: float


def delong(truth: Flags, scores: npt.NDArray[np.floating[Any]]) -> DeLong:
    """Return the areas under m correlated ROC curves and their covariance (DeLong et al. 1988).

    Computed from mid-ranks in O(m n log n), as Sun & Xu (2014) show. Items count as independent.

    Args:
        truth: (n,) bool; at least two true and two false items.
        scores: (m, n) one row of scores per model.

    Raises:
        ValueError: When there are fewer than two true or two false items.
    """
    from scipy.stats import rankdata

    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    n_true, n_false = int(truth.sum()), int((~truth).sum())
    if min(n_true, n_false) < 2:
        raise ValueError(f"DeLong's test needs two true and two false items, not {n_true} and {n_false}")
    true, false = table[:, truth], table[:, ~truth]
    among_true, among_false = rankdata(true, axis=1), rankdata(false, axis=1)
    among_all = rankdata(np.concatenate([true, false], axis=1), axis=1)
    # For each item of one kind: the share of the other kind that it stands on the right side of.
    won = (among_all[:, :n_true] - among_true) / n_false
    kept = 1 - (among_all[:, n_true:] - among_false) / n_true
    covariance = np.atleast_2d(np.cov(won)) / n_true + np.atleast_2d(np.cov(kept)) / n_false
    return DeLong(won.mean(axis=1), covariance)


# --- many comparisons ------------------------------------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's (1979) step-down rule, in the order given."""
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[at]))
        corrected[at] = highest
    return corrected


def percentile_interval(drawn: Floats) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentiles of bootstrap values (Efron 1979)."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation (n - 1 below the line; 0 for a single value)."""
    table = np.asarray(values, dtype=np.float64)
    return float(table.mean()), float(table.std(ddof=1)) if len(table) > 1 else 0.0


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Return Spearman's rank correlation and its 95 % interval; NaN when either side is constant or n < 4.

    Fisher's z with the variance (1 + r² / 2) / (n - 3) of Bonett & Wright (2000).
    """
    from scipy.stats import rankdata

    first, second = rankdata(x), rankdata(y)
    if len(first) < 4 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan, math.nan, math.nan
    r = float(np.corrcoef(first, second)[0, 1])
    if abs(r) >= 1:
        return r, r, r
    half = _Z95 * math.sqrt((1 + r * r / 2) / (len(first) - 3))
    z = math.atanh(r)
    return r, math.tanh(z - half), math.tanh(z + half)


# --- decisions -------------------------------------------------------------------------------------------------


def net_benefit(truth: Flags, prob: npt.NDArray[np.floating[Any]], thresholds: Floats) -> Floats:
    """Return the net benefit of acting at each threshold (Vickers & Elkin 2006): TP / n - FP / n · t / (1 - t).

    Args:
        truth: (n,) bool.
        prob: (n,) calibrated probabilities; all ones is "act on everybody".
        thresholds: (t,) in [0, 1).
    """
    values = np.asarray(prob, dtype=np.float64)
    # How many of each kind lie at or above every threshold.
    at_or_above = [len(side) - np.searchsorted(np.sort(side), thresholds) for side in (values[truth], values[~truth])]
    odds = thresholds / (1 - thresholds)
    return np.asarray((at_or_above[0] - at_or_above[1] * odds) / len(truth), dtype=np.float64)
