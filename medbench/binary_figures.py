"""The figures of one question with yes and no: sensitivity, specificity, areas, each with its n and its interval.

Intervals are 95 %. Plain shares (sensitivity, specificity, precision) have Wilson's, with the effective number of items
where these come in groups (`proportions`); F1, AUC and average precision the bootstrap over groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import areas
from medbench.proportions import share_interval
from medbench.records import Metric
from medbench.resampling import interval, ratio, resample_weights

Floats = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]
N_BOOT = 1000
FEWEST = 5
"""With fewer groups (lesions, patients) that hold a yes, or a no, resamples cannot show how far an AUC, an average
precision or an F1 would move: it gets no interval."""


@dataclass(frozen=True, slots=True)
class Binary:
    """One question with yes and no: a class against the rest, or malignant against benign.

    Attributes:
        name: The class.
        n: All items.
        positives: Items of the class.
        sensitivity: Share of the class that was found; None without an item of the class.
        specificity: Share of the rest that was left alone; None without a rest.
        precision: Share of those decided for that are of the class (positive predictive value at the data's own
            prevalence); None when nothing was decided for.
        f1: Harmonic mean of sensitivity and precision; None where neither is defined.
        auc: Area under the ROC curve; None without both kinds of items.
        average_precision: Area under the precision-recall curve; None without an item of the class.
    """

    name: str
    n: int
    positives: int
    sensitivity: Metric | None
    specificity: Metric | None
    precision: Metric | None
    f1: Metric | None
    auc: Metric | None
    average_precision: Metric | None


def binary(
    name: str,
    truth: Flags,
    scores: Probabilities,
    decided: Flags,
    *,
    groups: Sequence[str] | None = None,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
) -> Binary:
    """Return the figures of one yes-or-no question; the n of each is what it rests on, below the line of a share.

    Args:
        name: The class.
        truth: (n,) bool.
        scores: (n,) probabilities of yes.
        decided: (n,) bool.
        groups: n keys of what is resampled together; None resamples items.
        rng: Draws the resamples.
        n_boot: Resamples; 0 for no intervals.
    """
    group = np.unique(np.asarray(groups), return_inverse=True)[1] if groups else np.arange(len(truth))
    column = np.asarray(scores, dtype=np.float64)

    def told(called: str, hits: Flags) -> Metric | None:
        if not len(hits):
            return None
        low, high = share_interval(hits, inside[called] if groups else None) if n_boot else (None, None)
        return Metric(called, float(hits.mean()), low, high, len(hits))

    inside = {"sensitivity": group[truth], "specificity": group[~truth], "precision": group[decided]}
    f1, auc, average = _resampled_binary(truth, column, decided, group, rng, n_boot)
    return Binary(
        name,
        len(truth),
        int(truth.sum()),
        told("sensitivity", decided[truth]),
        told("specificity", ~decided[~truth]),
        told("precision", truth[decided]),
        f1 if truth.any() or decided.any() else None,
        auc if truth.any() and not truth.all() else None,
        average if truth.any() else None,
    )


def _resampled_binary(
    truth: Flags, scores: Floats, decided: Flags, group: npt.NDArray[np.int64], rng: np.random.Generator, n_boot: int
) -> tuple[Metric, Metric, Metric]:
    """Return F1, AUC and average precision, each with its bootstrap interval where there are groups enough."""
    n_groups = int(group.max()) + 1 if len(group) else 0
    fewest = min(len(set(group[truth].tolist())), len(set(group[~truth].tolist())))
    drawn = resample_weights(n_groups, rng, n_boot) if n_boot and fewest >= FEWEST else np.zeros((0, n_groups))
    weights = np.concatenate([np.ones((1, n_groups)), drawn])
    hits, said_or_true = (
        np.bincount(group, weights=counted.astype(np.float64), minlength=n_groups).astype(np.float64)
        for counted in (truth & decided, truth.astype(np.int64) + decided)
    )
    f1 = ratio(2 * (weights @ hits), weights @ said_or_true, np.nan)
    auc, average = areas.curve_areas(truth, scores, group, weights) if len(truth) else (f1, f1)

    def told(called: str, values: Floats) -> Metric:
        low, high = interval(values[1:]) or (None, None)
        return Metric(called, float(np.nan_to_num(values[0])), low, high, len(truth))

    return told("f1", f1), told("auc", auc), told("average_precision", average)
