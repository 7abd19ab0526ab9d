"""Areas under ROC and precision-recall curves, with resamples of groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.records import Truth
from medbench.resampling import mean_of, ratio, resample_weights
from medbench.slices import SLICE_CELLS, area_over_pairs, sums_before

Floats = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]
MOST, LEAST = 1000, 200
"""Resamples: as many as the largest tables allow, and none where that is fewer than the least."""
# Cells (resamples x items x labels) that may be touched: about three seconds.
_CELLS = 2e8


def ranked(
    truth: Truth, prob: Probabilities, group: npt.NDArray[np.int64], rng: np.random.Generator, n_boot: int
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return the point values and the resamples of "auc", "auc_micro" and "average_precision".

    A point value that is not defined is 0; in a resample it is NaN.
    """
    once = np.ones((1, int(group.max()) + 1))
    point = _areas_with(truth, prob, group, once)
    resamples = int(min(n_boot, MOST, _CELLS / truth.size))
    if resamples < min(n_boot, LEAST) or not resamples:
        return point, {}
    drawn = [resample_weights(once.shape[1], rng, size) for size in _parts(resamples, truth.size)]
    return point, _areas_with(truth, prob, group, np.concatenate(drawn), nothing=np.nan)


def _parts(resamples: int, cells: int) -> list[int]:
    size = int(max(1, min(resamples, 2e7 / max(cells, 1))))
    return [min(size, resamples - begin) for begin in range(0, resamples, size)]


def _areas_with(
    truth: Truth, prob: Probabilities, group: npt.NDArray[np.int64], weights: Floats, nothing: float = 0.0
) -> dict[str, Floats]:
    aucs, precisions = [], []
    for label in np.flatnonzero(truth.any(axis=0)):
        auc, precision = curve_areas(truth[:, label], prob[:, label], group, weights)
        aucs.append(auc)
        precisions.append(precision)
    if truth.size > SLICE_CELLS:  # too large for resamples: `weights` is the sample itself
        micro = np.array([area_over_pairs(truth, prob)])
    else:
        micro, _ = curve_areas(truth.T.ravel(), prob.T.ravel(), np.tile(group, truth.shape[1]), weights)
    return {
        "auc": _mean_over(aucs, len(weights), nothing),
        "auc_micro": np.where(np.isnan(micro), nothing, micro),
        "average_precision": _mean_over(precisions, len(weights), nothing),
    }


def mean_auc(truth: Truth, prob: Probabilities, group: npt.NDArray[np.int64]) -> tuple[float, Floats]:
    """Return the mean AUC over the labels that have true and false items, and what each group adds to its chance.

    To first order the mean AUC of a resample is this value plus the sum of the parts, each as often as its group was
    drawn, less once: the placements that DeLong et al. (1988) build their covariance from, summed over groups as
    Obuchowski (1997) does. Sums are cheap where sorting every resample is not. As there, a label with one true item
    adds nothing for it.

    Args:
        truth: (n, L) bool.
        prob: (n, L) scores.
        group: (n,) group of each item.

    Returns:
        The mean, 0 without such a label; (n_groups,) parts that add up to 0.
    """
    items, values = np.zeros(len(truth)), []
    for label in np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0)):
        true, scores = truth[:, label], np.asarray(prob[:, label], dtype=np.float64)
        # For each item of one kind: the share of the other kind that it stands on the right side of.
        won, kept = _share_below(scores[true], scores[~true]), 1 - _share_below(scores[~true], scores[true])
        values.append(float(won.mean()))
        for side, placed in ((true, won), (~true, kept)):
            n = len(placed)
            # n - 1 as in a sample covariance, where there are two
            items[side] += (placed - placed.mean()) / (n * (max(n - 1, 1) / n) ** 0.5)
    parts = np.bincount(group, weights=items).astype(np.float64)
    return (float(np.mean(values)), parts / len(values)) if values else (0.0, parts)


def _share_below(scores: Floats, others: Floats) -> Floats:
    """Return for each score the share of the others that lie below it, equal ones half."""
    ranked = np.sort(others)
    both = np.searchsorted(ranked, scores, side="left") + np.searchsorted(ranked, scores, side="right")
    return np.asarray(both / (2 * len(others)), dtype=np.float64)


def _mean_over(values: list[Floats], n_boot: int, nothing: float) -> Floats:
    if not values:
        return np.full(n_boot, nothing)
    table = np.stack(values, axis=1)
    return mean_of(np.nan_to_num(table), ~np.isnan(table), nothing)


def curve_areas(
    truth: npt.NDArray[np.bool_], prob: Probabilities, group: npt.NDArray[np.int64], weights: Floats
) -> tuple[Floats, Floats]:
    """Return (AUC-ROC, average precision), each (B,), NaN where a resample lacks what the curve needs.

    AUC is the chance that a true item outranks a false one, ties half (Hanley & McNeil 1982), from weighted ranks.
    Average precision is the sum of precision times the step in recall over distinct scores. Both are sums over the
    true items alone, which are few.

    Args:
        truth: (n,) bool.
        prob: (n,) scores.
        group: (n,) group of each item.
        weights: (B, n_groups) how often each resample holds each group.
    """
    order = np.argsort(-prob, kind="stable")  # once for all resamples, which are then taken a few at a time
    ends = np.cumsum(_parts(len(weights), len(prob)))[:-1]
    parts = [_areas(truth[order], prob[order], group[order], part) for part in np.split(weights, ends)]
    return np.concatenate([auc for auc, _ in parts]), np.concatenate([area for _, area in parts])


def _areas(
    true_at: npt.NDArray[np.bool_], ranked: Probabilities, group: npt.NDArray[np.int64], weights: Floats
) -> tuple[Floats, Floats]:
    hits = np.flatnonzero(true_at)
    # For every true item: where its tie begins and ends, among all items and among the true ones.
    begin = np.searchsorted(-ranked, -ranked[hits], side="left")
    end = np.searchsorted(-ranked, -ranked[hits], side="right")
    above = weights.take(group, axis=1)
    mine = above.take(hits, axis=1)
    np.cumsum(above, axis=1, out=above)
    true = np.cumsum(mine, axis=1)
    all_end, all_begin = above.take(end - 1, axis=1), sums_before(above, begin)
    true_end = true.take(np.searchsorted(hits, end) - 1, axis=1)
    true_begin = sums_before(true, np.searchsorted(hits, begin))
    false_end, false_begin = all_end - true_end, all_begin - true_begin
    n_true = true[:, -1] if len(hits) else np.zeros(len(weights))
    n_false = above[:, -1] - n_true
    won = (mine * (n_false[:, None] - 0.5 * (false_end + false_begin))).sum(axis=1)
    area = (mine * ratio(true_end, all_end)).sum(axis=1)
    nothing = np.full(len(weights), np.nan)
    auc = np.divide(won, n_true * n_false, out=nothing.copy(), where=n_true * n_false > 0)
    return auc, np.divide(area, n_true, out=nothing, where=n_true > 0)
