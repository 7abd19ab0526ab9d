"""Truth and probabilities become numbers with intervals.

Conventions, the same everywhere:
    - truth and decided are (n, L) bool, prob is (n, L) float; "one" has exactly one True per row of truth.
    - A ratio with nothing below it is 0. Labels that are neither true nor decided anywhere are left out of macro-F1,
      labels never true are left out of macro recall, labels never decided count 0 in macro precision if they are true.
    - ROC curves need true and false items, precision-recall curves true ones: other labels are left out.
    - Intervals are 95 % percentile bootstrap intervals (Efron 1979) over groups: 1,000 resamples, 200 for the two
      families that need sorting (AUC, average precision), none for those on very large tables. The interval of the
      calibration error is moved back by the bootstrap's own bias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.calibration import BINS, EPSILON, bin_of, calibration_pairs, expected_calibration_error
from medbench.hierarchy import Hierarchy
from medbench.records import AnswerKind, Metric, Truth
from medbench.slices import SLICE_CELLS, area_over_pairs, label_ranking_precision, slices_of, sums_before

Floats = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]
Sums = Callable[[Floats], Floats]
Read = Callable[[Floats], dict[str, Floats]]
AT = (1, 3, 5, 10)
RANKED_BOOT = 200
# Cells (resamples x items x labels) that the sorted metrics may touch: about three seconds.
_RANKED_CELLS = 2e8
_CHUNK = 100


def evaluate(
    truth: Truth,
    prob: Probabilities,
    decided: Truth,
    *,
    answer: AnswerKind,
    groups: Sequence[str] | None = None,
    rng: np.random.Generator,
    n_boot: int = 1000,
    tree: Hierarchy | None = None,
) -> dict[str, Metric]:
    """Return every metric by name, each with its 95 % interval.

    Args:
        truth: (n, L) bool.
        prob: (n, L) calibrated probabilities.
        decided: (n, L) bool.
        answer: "one" or "many".
        groups: n keys of what is resampled together (patient, article); None resamples items.
        rng: Draws the resamples.
        n_boot: Resamples; 0 for no intervals.
        tree: A tree over the labels, for h_precision, h_recall and h_f1.

    Returns:
        micro_f1, macro_f1, micro_precision, micro_recall, macro_precision, macro_recall, balanced_accuracy, accuracy
        (share of right (item, label) pairs for "many", of right items for "one"), exact_match, hamming_loss, p_at_k,
        r_at_k (k in 1, 3, 5, 10 below the number of labels), map, auc, auc_micro, average_precision, ece, brier,
        log_loss. Empty when there is no item.
    """
    n_items = len(truth)
    if not n_items:
        return {}
    group = np.unique(np.asarray(groups), return_inverse=True)[1] if groups else np.arange(n_items)
    columns = Columns(truth, prob, decided, answer, tree)
    once = np.ones((1, int(group.max()) + 1))
    sums = columns.by_group(group)
    point = columns.read(sums(once))
    spread = _resampled(sums, once.shape[1], columns.read, rng, n_boot)
    ranked_point, ranked_spread = _ranked(truth, prob, group, rng, n_boot)
    point.update(ranked_point)
    spread.update(ranked_spread)
    return {name: _metric(name, float(value[0]), spread.get(name), n_items) for name, value in point.items()}


def _metric(name: str, value: float, spread: Floats | None, n_items: int) -> Metric:
    if spread is None or not len(spread):
        return Metric(name, value, n=n_items)
    low, high = np.quantile(spread, [0.025, 0.975])
    if name == "ece":
        # Resampling adds noise to every bin, so resampled ECEs lie above the one they are drawn around: move them back.
        moved = float(spread.mean()) - value
        low, high = min(max(low - moved, 0.0), value), max(high - moved, value)
    return Metric(name, value, float(low), float(high), n_items)


class Columns:
    """Every metric but the sorted ones is a function of column sums: this holds the columns and reads their sums.

    Counts are sparse and probabilities are read in slices: thousands of labels on thousands of items fit into memory.
    With a tree, what an item's labels imply is counted as well: hierarchical precision, recall and F1 are those of the
    true and decided labels, each with all that stand above them (Kiritchenko, Matwin, Nock & Famili 2006), summed over
    the items.
    """

    def __init__(
        self, truth: Truth, prob: Probabilities, decided: Truth, answer: AnswerKind, tree: Hierarchy | None = None
    ) -> None:
        from scipy.sparse import csr_matrix, hstack

        self.answer = answer
        self.n_labels = truth.shape[1]
        self.at = [k for k in AT if k < max(self.n_labels, 2)]
        counts = (truth & decided, ~truth & decided, truth & ~decided)
        self.counts = hstack([csr_matrix(part, dtype=np.float64) for part in counts], format="csr")
        parts = []
        for rows in slices_of(*truth.shape):
            true, said, claimed = truth[rows], decided[rows], np.asarray(prob[rows], dtype=np.float64)
            parts.append(np.concatenate([self._items(true, claimed, said), self._bins(true, claimed)], axis=1))
        self.rest = np.concatenate(parts)
        self.tree = tree
        if tree is not None:
            self.rest = np.concatenate([tree.implied_counts(truth, decided), self.rest], axis=1)

    def by_group(self, group: npt.NDArray[np.int64]) -> Sums:
        """Return a function: (B, groups) how often each resample holds each group -> (B, columns) sums."""
        from scipy.sparse import csr_matrix

        n_items = len(group)
        member = csr_matrix((np.ones(n_items), (group, np.arange(n_items))), shape=(int(group.max()) + 1, n_items))
        turned, rest = (member @ self.counts).T.tocsr(), member @ self.rest
        return lambda weights: np.concatenate([(turned @ weights.T).T, weights @ rest], axis=1)

    def _items(self, truth: Truth, prob: Floats, decided: Truth) -> Floats:
        n_true = truth.sum(axis=1)
        kept = np.clip(prob, EPSILON, 1 - EPSILON)
        if self.answer == "one":
            log_loss = -np.log(np.where(truth, kept, 1).prod(axis=1))
            brier = ((prob - truth) ** 2).sum(axis=1)
        else:
            log_loss = -np.log(np.where(truth, kept, 1 - kept)).mean(axis=1)
            brier = ((prob - truth) ** 2).mean(axis=1)
        hits = _hits_at(truth, prob, self.at)
        parts = [
            np.ones(len(truth)),
            n_true > 0,
            (truth == decided).all(axis=1),
            brier,
            log_loss,
            label_ranking_precision(truth, prob),
            *(hits[:, at] / k for at, k in enumerate(self.at)),
            *(hits[:, at] / np.maximum(n_true, 1) for at in range(len(self.at))),
        ]
        return np.stack([np.asarray(part, dtype=np.float64) for part in parts], axis=1)

    def _bins(self, truth: Truth, prob: Floats) -> Floats:
        """Return (n, BINS) sums of probability minus truth per calibration bin; pairs per item are averaged."""
        claimed, true = calibration_pairs(prob, truth, self.answer)
        claimed, true = claimed.reshape(len(truth), -1), true.reshape(len(truth), -1)
        cell = np.arange(len(truth))[:, None] * BINS + bin_of(claimed)
        gaps = np.bincount(cell.ravel(), weights=(claimed - true).ravel(), minlength=len(truth) * BINS)
        return gaps.reshape(len(truth), BINS) / claimed.shape[1]

    def read(self, sums: Floats) -> dict[str, Floats]:
        """Return each metric, (B,), from (B, columns) sums."""
        n, begin = self.n_labels, 3 * self.n_labels + (0 if self.tree is None else 3)
        tp, fp, fn = sums[:, :n], sums[:, n : 2 * n], sums[:, 2 * n : 3 * n]
        items, gaps = sums[:, begin:-BINS], sums[:, -BINS:]
        total, labelled = items[:, 0], items[:, 1]
        tn = total[:, None] - tp - fp - fn
        all_tp, all_fp, all_fn = tp.sum(axis=1), fp.sum(axis=1), fn.sum(axis=1)
        recall, seen = _ratio(tp, tp + fn), tp + fn > 0
        specificity = _ratio(tn, tn + fp)
        wrong = _ratio(all_fp + all_fn, total * n)
        exact = _ratio(items[:, 2], total)
        one = self.answer == "one"
        read = {
            "micro_f1": _ratio(2 * all_tp, 2 * all_tp + all_fp + all_fn),
            "macro_f1": _mean(_ratio(2 * tp, 2 * tp + fp + fn), tp + fp + fn > 0),
            "micro_precision": _ratio(all_tp, all_tp + all_fp),
            "micro_recall": _ratio(all_tp, all_tp + all_fn),
            "macro_precision": _mean(_ratio(tp, tp + fp), tp + fp + fn > 0),
            "macro_recall": _mean(recall, seen),
            "balanced_accuracy": _mean(recall, seen)
            if one
            else _mean((recall + specificity) / 2, seen & (tn + fp > 0)),
            "accuracy": exact if one else 1 - wrong,
            "exact_match": exact,
            "hamming_loss": wrong,
            "map": _ratio(items[:, 5], labelled),
        }
        for at, k in enumerate(self.at):
            read[f"p_at_{k}"] = _ratio(items[:, 6 + at], total)
            read[f"r_at_{k}"] = _ratio(items[:, 6 + len(self.at) + at], labelled)
        read["ece"] = _ratio(np.abs(gaps).sum(axis=1), total)
        read["brier"] = _ratio(items[:, 3], total)
        read["log_loss"] = _ratio(items[:, 4], total)
        if self.tree is not None:
            both, true, said = sums[:, 3 * n], sums[:, 3 * n + 1], sums[:, 3 * n + 2]
            read["h_f1"] = _ratio(2 * both, true + said)
            read |= {"h_precision": _ratio(both, said), "h_recall": _ratio(both, true)}
        return read


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below > 0)


def _mean(values: Floats, kept: npt.NDArray[np.bool_]) -> Floats:
    return _ratio(np.where(kept, values, 0).sum(axis=1), kept.sum(axis=1).astype(np.float64))


def resample_weights(n_groups: int, rng: np.random.Generator, n_boot: int) -> Floats:
    """Return (n_boot, n_groups) float64: how often each resample drew each group."""
    draws = rng.integers(0, n_groups, (n_boot, n_groups))
    draws += np.arange(n_boot)[:, None] * n_groups
    return np.bincount(draws.ravel(), minlength=n_boot * n_groups).reshape(n_boot, n_groups).astype(np.float64)


def _resampled(sums: Sums, n_groups: int, read: Read, rng: np.random.Generator, n_boot: int) -> dict[str, Floats]:
    sizes = [min(_CHUNK, n_boot - begin) for begin in range(0, n_boot, _CHUNK)]
    parts = [read(sums(resample_weights(n_groups, rng, size))) for size in sizes]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _hits_at(truth: Truth, prob: Floats, at: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return (n, len(at)): how many of an item's k most probable labels are true; ties go to the earlier column."""
    deepest = max(at, default=0)
    if truth.shape[1] > 4 * deepest:
        # Rank only the head: with thousands of codes a full sort of every row costs more than everything else.
        head = np.sort(np.argpartition(-prob, deepest, axis=1)[:, : deepest + 1], axis=1)
        order = np.take_along_axis(head, np.argsort(-np.take_along_axis(prob, head, axis=1), axis=1, kind="stable"), 1)
    else:
        order = np.argsort(-prob, axis=1, kind="stable")
    hits = np.cumsum(np.take_along_axis(truth, order[:, :deepest], axis=1), axis=1)
    return np.asarray(hits[:, [k - 1 for k in at]], dtype=np.int64)


def _ranked(
    truth: Truth, prob: Probabilities, group: npt.NDArray[np.int64], rng: np.random.Generator, n_boot: int
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return the point values and resamples of the metrics that need items sorted by score."""
    once = np.ones((1, int(group.max()) + 1))
    point = _ranked_with(truth, prob, group, once)
    resamples = int(min(n_boot, RANKED_BOOT, _RANKED_CELLS / truth.size))
    if resamples < 50:
        return point, {}
    drawn = [resample_weights(once.shape[1], rng, size) for size in _parts(resamples, truth.size)]
    return point, _ranked_with(truth, prob, group, np.concatenate(drawn))


def _parts(resamples: int, cells: int) -> list[int]:
    size = int(max(1, min(resamples, 2e7 / cells)))
    return [min(size, resamples - begin) for begin in range(0, resamples, size)]


def _ranked_with(truth: Truth, prob: Probabilities, group: npt.NDArray[np.int64], weights: Floats) -> dict[str, Floats]:
    aucs, precisions = [], []
    for label in np.flatnonzero(truth.any(axis=0)):
        auc, precision = _curve_areas(truth[:, label], prob[:, label], group, weights)
        aucs.append(auc)
        precisions.append(precision)
    if truth.size > SLICE_CELLS:  # too large for resamples: `weights` is the sample itself
        micro = np.array([area_over_pairs(truth, prob)])
    else:
        micro, _ = _curve_areas(truth.T.ravel(), prob.T.ravel(), np.tile(group, truth.shape[1]), weights)
    return {
        "auc": _mean_over_labels(aucs, len(weights)),
        "auc_micro": np.nan_to_num(micro),
        "average_precision": _mean_over_labels(precisions, len(weights)),
    }


def _mean_over_labels(values: list[Floats], n_boot: int) -> Floats:
    if not values:
        return np.zeros(n_boot)
    table = np.stack(values, axis=1)
    return _mean(np.nan_to_num(table), ~np.isnan(table))


def _curve_areas(
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
    area = (mine * _ratio(true_end, all_end)).sum(axis=1)
    nothing = np.full(len(weights), np.nan)
    auc = np.divide(won, n_true * n_false, out=nothing.copy(), where=n_true * n_false > 0)
    return auc, np.divide(area, n_true, out=nothing, where=n_true > 0)


def per_label(truth: Truth, prob: Probabilities, decided: Truth, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per label: label, n (true items), decided, precision, recall, specificity, f1, auc, ap, ece.

    auc is None for a label whose items are all true or all false, ap for one without true items.
    """
    rows = []
    once = np.ones((1, len(truth)))
    for at, label in enumerate(labels):
        true, said = truth[:, at], decided[:, at]
        tp, fp, fn = (int(count.sum()) for count in (true & said, ~true & said, true & ~said))
        tn = len(truth) - tp - fp - fn
        auc, area = (
            _curve_areas(true, prob[:, at], np.arange(len(truth)), once) if len(truth) else (np.array([np.nan]),) * 2
        )
        pairs = np.asarray(prob[:, at : at + 1], dtype=np.float64)
        rows.append(
            {
                "label": label,
                "n": tp + fn,
                "decided": tp + fp,
                "precision": _share(tp, tp + fp),
                "recall": _share(tp, tp + fn),
                "specificity": _share(tn, tn + fp),
                "f1": _share(2 * tp, 2 * tp + fp + fn),
                "auc": None if np.isnan(auc[0]) else float(auc[0]),
                "ap": None if np.isnan(area[0]) else float(area[0]),
                "ece": expected_calibration_error(pairs, true[:, None], "many"),
            }
        )
    return rows


def _share(above: int, below: int) -> float:
    return above / below if below else 0.0


def confusion(truth: Truth, decided: Truth) -> npt.NDArray[np.int64]:
    """Return (L, L) counts: row = true label, column = decided label.

    For "many" an item with several labels is counted in every pair of a true and a decided one.
    """
    return truth.T.astype(np.int64) @ decided.astype(np.int64)


def reliability_curve(
    truth: Truth, prob: Probabilities, answer: AnswerKind, bins: int = BINS
) -> list[dict[str, float]]:
    """Return one row per bin that holds pairs: claimed (mean probability), true (share), n. Bins as for ECE."""
    claimed, true = (array.ravel() for array in calibration_pairs(prob, truth, answer))
    bin_index = bin_of(claimed, bins)
    count = np.bincount(bin_index, minlength=bins)
    said, was = (np.bincount(bin_index, weights=values, minlength=bins) for values in (claimed, true))
    return [
        {"claimed": float(said[b] / count[b]), "true": float(was[b] / count[b]), "n": float(count[b])}
        for b in np.flatnonzero(count)
    ]


def roc_curve(truth: npt.NDArray[np.bool_], prob: Probabilities) -> tuple[Floats, Floats, Floats]:
    """Return (false-positive rate, sensitivity, threshold) of one label, from (0, 0) to (1, 1)."""
    true, false, thresholds = _steps_down(truth, prob)
    return _ratio(false, false[-1:]), _ratio(true, true[-1:]), thresholds


def precision_recall_curve(truth: npt.NDArray[np.bool_], prob: Probabilities) -> tuple[Floats, Floats, Floats]:
    """Return (recall, precision, threshold) of one label, one point per distinct score, highest first."""
    true, false, thresholds = (array[1:] for array in _steps_down(truth, prob))
    return _ratio(true, true[-1:]), _ratio(true, true + false), thresholds


def _steps_down(truth: npt.NDArray[np.bool_], prob: Probabilities) -> tuple[Floats, Floats, Floats]:
    order = np.argsort(-prob, kind="stable")
    ranked, hit = prob[order].astype(np.float64), truth[order].astype(np.float64)
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.empty(0, dtype=np.int64)
    true, false = np.cumsum(hit)[ends], np.cumsum(1 - hit)[ends]
    return np.append(0.0, true), np.append(0.0, false), np.append(np.inf, ranked[ends])
