"""Truth and probabilities become numbers with intervals.

Conventions, the same everywhere:
    - truth and decided are (n, L) bool, prob is (n, L) float; "one" has exactly one True per row of truth.
    - A ratio with nothing below it is 0. Labels that are neither true nor decided anywhere are left out of macro-F1,
      labels never true are left out of macro recall, labels never decided count 0 in macro precision if they are true.
    - ROC curves need true and false items, precision-recall curves true ones: other labels are left out.
    - Intervals are 95 % percentile bootstrap intervals (Efron 1979) over groups: 1,000 resamples, fewer (down to 200)
      for AUC and average precision on large tables, none on very large ones. A resample in which a figure is not
      defined is left out. The interval of the calibration error is moved back by the bootstrap's own bias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import areas
from medbench.calibration import BINS, EPSILON, bin_of, calibration_pairs, expected_calibration_error
from medbench.hierarchy import Hierarchy
from medbench.records import AnswerKind, Metric, Truth
from medbench.resampling import interval, mean_of, ratio, resample_weights
from medbench.slices import label_ranking_precision, slices_of

Floats = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]
Sums = Callable[[Floats], Floats]
AT = (1, 3, 5, 10)
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
    spread = resampled(sums, once.shape[1], columns, rng, n_boot)
    ranked_point, ranked_spread = areas.ranked(truth, prob, group, rng, n_boot)
    point.update(ranked_point)
    spread.update(ranked_spread)
    return {name: _metric(name, float(value[0]), spread.get(name), n_items) for name, value in point.items()}


def _metric(name: str, value: float, spread: Floats | None, n_items: int) -> Metric:
    ends = interval(spread) if spread is not None else None
    if ends is None or spread is None:
        return Metric(name, value, n=n_items)
    low, high = ends
    if name == "ece":
        # Resampling adds noise to every bin, so resampled ECEs lie above the one they are drawn around: move them back.
        moved = float(spread.mean()) - value
        low, high = min(max(low - moved, 0.0), value), max(high - moved, value)
    return Metric(name, value, low, high, n_items)


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

    def read(self, sums: Floats, nothing: float = 0.0) -> dict[str, Floats]:
        """Return each metric, (B,), from (B, columns) sums; `nothing` where there is nothing below a ratio."""
        n, begin = self.n_labels, 3 * self.n_labels + (0 if self.tree is None else 3)
        tp, fp, fn = sums[:, :n], sums[:, n : 2 * n], sums[:, 2 * n : 3 * n]
        items, gaps = sums[:, begin:-BINS], sums[:, -BINS:]
        total, labelled = items[:, 0], items[:, 1]
        tn = total[:, None] - tp - fp - fn
        all_tp, all_fp, all_fn = tp.sum(axis=1), fp.sum(axis=1), fn.sum(axis=1)
        recall, seen = ratio(tp, tp + fn), tp + fn > 0
        specificity = ratio(tn, tn + fp)
        wrong = ratio(all_fp + all_fn, total * n)
        exact = ratio(items[:, 2], total)
        one = self.answer == "one"
        read = {
            "micro_f1": ratio(2 * all_tp, 2 * all_tp + all_fp + all_fn, nothing),
            "macro_f1": mean_of(ratio(2 * tp, 2 * tp + fp + fn), tp + fp + fn > 0, nothing),
            "micro_precision": ratio(all_tp, all_tp + all_fp, nothing),
            "micro_recall": ratio(all_tp, all_tp + all_fn, nothing),
            "macro_precision": mean_of(ratio(tp, tp + fp), tp + fp + fn > 0, nothing),
            "macro_recall": mean_of(recall, seen, nothing),
            "balanced_accuracy": mean_of(recall, seen, nothing)
            if one
            else mean_of((recall + specificity) / 2, seen & (tn + fp > 0), nothing),
            "accuracy": exact if one else 1 - wrong,
            "exact_match": exact,
            "hamming_loss": wrong,
            "map": ratio(items[:, 5], labelled, nothing),
        }
        for at, k in enumerate(self.at):
            read[f"p_at_{k}"] = ratio(items[:, 6 + at], total)
            read[f"r_at_{k}"] = ratio(items[:, 6 + len(self.at) + at], labelled, nothing)
        read["ece"] = ratio(np.abs(gaps).sum(axis=1), total)
        read["brier"] = ratio(items[:, 3], total)
        read["log_loss"] = ratio(items[:, 4], total)
        if self.tree is not None:
            both, true, said = sums[:, 3 * n], sums[:, 3 * n + 1], sums[:, 3 * n + 2]
            read["h_f1"] = ratio(2 * both, true + said, nothing)
            read |= {"h_precision": ratio(both, said, nothing), "h_recall": ratio(both, true, nothing)}
        return read


def resampled(sums: Sums, n_groups: int, columns: Columns, rng: np.random.Generator, n_boot: int) -> dict[str, Floats]:
    """Return each metric of `columns` in `n_boot` resamples of the groups, (n_boot,), NaN where it is not defined."""
    sizes = [min(_CHUNK, n_boot - begin) for begin in range(0, n_boot, _CHUNK)]
    parts = [columns.read(sums(resample_weights(n_groups, rng, size)), nothing=np.nan) for size in sizes]
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
            areas.curve_areas(true, prob[:, at], np.arange(len(truth)), once)
            if len(truth)
            else (np.array([np.nan]),) * 2
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
    return ratio(false, false[-1:]), ratio(true, true[-1:]), thresholds


def precision_recall_curve(truth: npt.NDArray[np.bool_], prob: Probabilities) -> tuple[Floats, Floats, Floats]:
    """Return (recall, precision, threshold) of one label, one point per distinct score, highest first."""
    true, false, thresholds = (array[1:] for array in _steps_down(truth, prob))
    return ratio(true, true[-1:]), ratio(true, true + false), thresholds


def _steps_down(truth: npt.NDArray[np.bool_], prob: Probabilities) -> tuple[Floats, Floats, Floats]:
    order = np.argsort(-prob, kind="stable")
    ranked, hit = prob[order].astype(np.float64), truth[order].astype(np.float64)
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.empty(0, dtype=np.int64)
    true, false = np.cumsum(hit)[ends], np.cumsum(1 - hit)[ends]
    return np.append(0.0, true), np.append(0.0, false), np.append(np.inf, ranked[ends])
