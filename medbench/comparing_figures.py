"""The numbers behind the plots of a comparison: curves, bands of labels, subgroups, quality against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import metrics
from medbench.comparing_judged import Answered, JudgedItems
from medbench.comparing_tests import net_benefit
from medbench.comparing_verdict import LOWER_IS_BETTER
from medbench.records import Metric
from medbench.resampling import interval

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
POINTS = 400
THRESHOLDS = np.linspace(0.01, 0.99, 99)
BANDS = ((0, 9, "under 10"), (10, 49, "10 to 49"), (50, 199, "50 to 199"), (200, 999, "200 to 999"))
_OFTEN = "1,000 and more"
N_BOOT = 1000
FEWEST_PAIRS = 5
"""Pairs of item and label in a bin of claims that is drawn: fewer say nothing."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a curve, at most some hundreds.

    Attributes:
        x: (p,).
        y: (p,).
        threshold: (p,) probability at and above which the label is decided; empty where it means nothing.
    """

    x: Floats
    y: Floats
    threshold: Floats


def roc(model: Answered, label: str) -> Curve:
    """Return 1 - specificity against sensitivity of one label."""
    column = model.labels.index(label)
    return _thinned(*metrics.roc_curve(model.truth[:, column], model.probabilities[:, column]))


def precision_recall(model: Answered, label: str) -> Curve:
    """Return recall against precision of one label."""
    column = model.labels.index(label)
    return _thinned(*metrics.precision_recall_curve(model.truth[:, column], model.probabilities[:, column]))


def _thinned(x: Floats, y: Floats, threshold: Floats) -> Curve:
    """Keep some hundreds of points, both ends among them."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).astype(int)) if len(x) else np.zeros(0, dtype=int)
    return Curve(x[kept], y[kept], threshold[kept])


def reliability(model: Answered) -> Floats:
    """Return (b, 3): claimed probability, true share and n of every bin, after calibration."""
    bins = metrics.reliability_curve(model.truth, model.probabilities, model.answer)
    return np.array([[row["claimed"], row["true"], row["n"]] for row in bins]).reshape(-1, 3)


def enough_pairs(bins: Floats) -> Floats:
    """Return the bins of a reliability curve that hold pairs enough to be drawn."""
    return bins[bins[:, 2] >= FEWEST_PAIRS]


def benefit(model: Answered, label: str) -> Curve:
    """Return the net benefit of acting on one label at every threshold."""
    column = model.labels.index(label)
    values = net_benefit(model.truth[:, column], model.probabilities[:, column], THRESHOLDS)
    return Curve(THRESHOLDS, values, THRESHOLDS)


def benefit_of_all(model: Answered, label: str) -> Curve:
    """Return the net benefit of acting on everybody."""
    truth = model.truth[:, model.labels.index(label)]
    return Curve(THRESHOLDS, net_benefit(truth, np.ones(len(truth)), THRESHOLDS), THRESHOLDS)


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What deciding for one label at a threshold would mean on the judged items."""

    threshold: float
    decided: int
    sensitivity: float
    specificity: float
    precision: float
    f1: float


def at_threshold(model: Answered, label: str, threshold: float) -> AtThreshold:
    """Return the figures of one label decided at and above `threshold`; a ratio with nothing below it is 0."""
    column = model.labels.index(label)
    true, said = model.truth[:, column], model.probabilities[:, column] >= np.float32(threshold)
    tp, fp, fn = (int(part.sum()) for part in (true & said, ~true & said, true & ~said))
    tn = len(true) - tp - fp - fn
    shares = [a / b if b else 0.0 for a, b in ((tp, tp + fn), (tn, tn + fp), (tp, tp + fp), (2 * tp, 2 * tp + fp + fn))]
    return AtThreshold(threshold, tp + fp, *shares)


# --- labels ----------------------------------------------------------------------------------------------------


def label_table(models: Sequence[Answered], learnt: Sequence[int]) -> list[dict[str, Any]]:
    """Return one row per label that is true or decided somewhere: n, training count, each model's F1, most items first.

    Args:
        models: Judged on the same items.
        learnt: (L,) training items of each label.
    """
    truth = models[0].truth
    scores = {model.id: label_f1(model) for model in models}
    live = truth.any(axis=0) | np.any([model.decided.any(axis=0) for model in models], axis=0)
    rows = [
        {
            "label": label,
            "n": int(truth[:, at].sum()),
            "learnt": int(learnt[at]),
            **{f"f1 {name}": float(values[at]) for name, values in scores.items()},
        }
        for at, label in enumerate(models[0].labels)
        if live[at]
    ]
    return sorted(rows, key=lambda row: -row["n"])


def label_f1(model: Answered) -> Floats:
    """Return (L,) F1 of every label; 0 for a label that is neither true nor decided."""
    tp = (model.truth & model.decided).sum(axis=0)
    both = model.truth.sum(axis=0) + model.decided.sum(axis=0)
    return np.asarray(np.divide(2.0 * tp, both, out=np.zeros(len(tp)), where=both > 0), dtype=np.float64)


def learnt_counts(model: Answered, items: JudgedItems) -> list[int]:
    """Return (L,) training items of each label: what the card says, without the judged items where they were added.

    A card that says nothing leaves the items of the train split.
    """
    stored = model.card.get("learnt_from", {})
    counts = stored.get("counts")
    if counts is None:
        return [round(float(share) * items.n_train) for share in items.shares]
    added = model.truth.sum(axis=0) if model.split in stored.get("splits", ()) else np.zeros(len(counts), dtype=int)
    return [max(int(count) - int(more), 0) for count, more in zip(counts, added, strict=True)]


def band_of(count: int) -> str:
    """Return in words how many training items a label had."""
    return next((words for low, high, words in BANDS if low <= count <= high), _OFTEN)


def by_frequency(models: Sequence[Answered], learnt: Sequence[int]) -> list[dict[str, Any]]:
    """Return one row per band of training counts: labels, true pairs, each model's micro-F1 inside the band."""
    names = np.array([band_of(count) for count in learnt])
    rows = []
    for band in (*(words for _, _, words in BANDS), _OFTEN):
        mine = names == band
        if not mine.any():
            continue
        row: dict[str, Any] = {"band": band, "labels": int(mine.sum()), "n": int(models[0].truth[:, mine].sum())}
        for model in models:
            tp = int((model.truth[:, mine] & model.decided[:, mine]).sum())
            both = int(model.truth[:, mine].sum() + model.decided[:, mine].sum())
            row[f"f1 {model.id}"] = 2 * tp / both if both else 0.0
        rows.append(row)
    return rows


# --- subgroups -------------------------------------------------------------------------------------------------


def subgroup_metric(
    model: Answered, rows: npt.NDArray[np.int64], items: JudgedItems, metric: str, rng: np.random.Generator
) -> Metric:
    """Return one metric on some of the judged items, with its interval by group."""
    truth, decided = model.truth[rows], model.decided[rows]
    columns = metrics.Columns(truth, model.probabilities[rows], decided, model.answer, items.tree)
    group = np.unique(items.groups[rows], return_inverse=True)[1].astype(np.int64)
    n_groups = int(group.max()) + 1
    sums = columns.by_group(group)
    value = float(columns.read(sums(np.ones((1, n_groups))))[metric][0])
    drawn = metrics.resampled(sums, n_groups, columns, rng, N_BOOT)[metric]
    low, high = interval(drawn) or (None, None)
    return Metric(metric, value, low, high, len(rows))


# --- quality against cost --------------------------------------------------------------------------------------


def pareto(quality: Mapping[str, float], cost: Mapping[str, float], metric: str) -> set[str]:
    """Return the models that no other beats in both quality and cost (less is better for cost)."""
    sign = -1 if metric in LOWER_IS_BETTER else 1
    kept = set()
    for name in quality:
        better = [
            other
            for other in quality
            if sign * quality[other] >= sign * quality[name]
            and cost[other] <= cost[name]
            and (sign * quality[other] > sign * quality[name] or cost[other] < cost[name])
        ]
        if not better:
            kept.add(name)
    return kept
