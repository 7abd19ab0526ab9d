"""Curves of one class against the rest, and what deciding at a point of them would mean for patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import metrics
from medbench.proportions import share_interval
from medbench.records import Metric

Floats = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Curves:
    """ROC and precision-recall curve of one class against the rest, one point per distinct score.

    Attributes:
        false_positive: (p,) 1 - specificity, from 0 to 1.
        sensitivity: (p,) from 0 to 1.
        threshold: (p,) the score at and above which items are decided for; the first is infinite.
        recall: (q,) sensitivity again, of the precision-recall curve.
        precision: (q,).
    """

    false_positive: Floats
    sensitivity: Floats
    threshold: Floats
    recall: Floats
    precision: Floats


def curves(truth: Flags, scores: Probabilities) -> Curves:
    """Return both curves of (n,) truth and (n,) scores."""
    false_positive, sensitivity, threshold = metrics.roc_curve(truth, scores)
    recall, precision, _ = metrics.precision_recall_curve(truth, scores)
    return Curves(false_positive, sensitivity, threshold, recall, precision)


def sensitivity_at(truth: Flags, scores: Probabilities, specificity: float) -> tuple[float, float]:
    """Return the highest sensitivity with at least this specificity, and its threshold (decide at and above it).

    Points between two scores do not exist, so nothing is interpolated. The threshold is infinite when only deciding for
    nothing is specific enough.
    """
    curve = curves(truth, scores)
    # The shares are quotients of counts: a rounding in the last digit must not lose a point.
    within = np.flatnonzero(1 - curve.false_positive >= specificity - 1e-12)
    best = within[int(curve.sensitivity[within].argmax())]
    return float(curve.sensitivity[best]), float(curve.threshold[best])


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold means for patients, at a prevalence of their clinic.

    Attributes:
        threshold: Biopsy at and above this probability.
        prevalence: Share of patients who have the disease, 0-1.
        sensitivity: Share of the diseased who are found.
        specificity: Share of the others who are left alone.
        missed: Diseased patients not found, per 1,000 patients.
        biopsies: Patients biopsied, per 1,000 patients.
        biopsies_per_found: Biopsies for each diseased patient found; None when none is found.

    The two shares are `Metric`s with a 95 % interval; so are the three counts, whose intervals follow from those: the
    ends of one share for `missed`, of both together for the biopsies, which is a little wide.
    """

    threshold: float
    prevalence: float
    sensitivity: Metric
    specificity: Metric
    missed: Metric
    biopsies: Metric
    biopsies_per_found: Metric | None


def operating_point(
    truth: Flags, scores: Probabilities, threshold: float, prevalence: float, groups: Sequence[str] | None = None
) -> OperatingPoint:
    """Return what deciding at `threshold` would mean: missed cases per 1,000 patients and biopsies per case found.

    Sensitivity and specificity come from the items, the share of diseased patients from `prevalence`, because test sets
    hold many more melanomas than a clinic sees. The intervals hold for a threshold that was not chosen on these items.

    Args:
        truth: (n,) bool, the diseased; both kinds must occur.
        scores: (n,) probabilities.
        threshold: Decide for the disease at and above it.
        prevalence: Share of diseased among the patients, 0-1.
        groups: n keys of lesions or patients; None when every item stands alone.

    Raises:
        ValueError: When the prevalence is no share or one kind of item is missing.
    """
    if not 0 <= prevalence <= 1:
        raise ValueError(f"a prevalence from 0 to 1, not {prevalence}")
    if not truth.any() or truth.all():
        raise ValueError("an operating point needs items with and without the disease")
    said = np.asarray(scores) >= threshold
    sensitivity = _share("sensitivity", said, truth, groups)
    specificity = _share("specificity", ~said, ~truth, groups)
    (found, least, most), (spared, fewest, largest) = _ends(sensitivity), _ends(specificity)
    ill, well, n = 1000 * prevalence, 1000 * (1 - prevalence), len(truth)

    def biopsied(found: float, spared: float) -> float:
        return ill * found + well * (1 - spared)

    each = None
    if ill * found > 0:
        ratio, high, low = (
            biopsied(*ends) / (ill * ends[0]) for ends in ((found, spared), (least, fewest), (most, largest))
        )
        each = Metric("biopsies_per_found", ratio, low, high, n)
    return OperatingPoint(
        threshold,
        prevalence,
        sensitivity,
        specificity,
        Metric("missed", ill * (1 - found), ill * (1 - most), ill * (1 - least), sensitivity.n),
        Metric("biopsies", biopsied(found, spared), biopsied(least, largest), biopsied(most, fewest), n),
        each,
    )


def _share(name: str, hits: Flags, among: Flags, groups: Sequence[str] | None) -> Metric:
    """Return the share of hits among some items, with the interval of grouped items."""
    low, high = share_interval(hits[among], None if groups is None else np.asarray(groups)[among])
    return Metric(name, float(hits[among].mean()), low, high, int(among.sum()))


def _ends(metric: Metric) -> tuple[float, float, float]:
    """Return (value, low, high)."""
    low, high = metric.low, metric.high
    return metric.value, metric.value if low is None else low, metric.value if high is None else high
