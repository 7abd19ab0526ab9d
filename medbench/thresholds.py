"""Where probabilities become decisions: per-label F1 thresholds, and the cutoff of conformal sets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medbench.records import AnswerKind, Truth

Floats = npt.NDArray[np.float64]
# A label's measured and its expected cut weigh the same when the label has this many positives.
SHRINK = 5.0
MANY_LABELS = 200
"""With more labels than this, one cut serves them all."""
_HARDLY = 0.01
_RESAMPLES = 25
_NEARLY_BEST = 0.01
# A label is chosen for at most this many times as many items as carry it: beyond that, F1 rewards choosing it always.
_MOST_CHOSEN = 4


def best_cut(prob: Floats, truth: npt.NDArray[np.bool_] | Floats, weight: Floats | None = None) -> float:
    """Return the threshold with the highest F1: the middle between the last item above it and the first below.

    Args:
        prob: (n,) probabilities.
        truth: (n,) bool; or the chance that each item is true, and F1 is the one expected (Lipton 2014).
        weight: (n,) how often each item counts; None means once.

    Returns:
        A threshold in (0, 1); 1 when there is no positive item.
    """
    order = np.argsort(-prob, kind="stable")
    ranked, hit = prob[order], truth[order].astype(np.float64)
    count = np.ones(len(prob)) if weight is None else weight[order]
    true_positives, chosen = np.cumsum(hit * count), np.cumsum(count)
    if not len(prob) or true_positives[-1] == 0:
        return 1.0
    f1 = 2 * true_positives / (chosen + true_positives[-1])
    below = np.append(ranked[1:], 0.0)
    f1[ranked == below] = -1.0  # a threshold cannot part equal probabilities
    best = int(f1.argmax())
    return float(0.5 * (ranked[best] + below[best]))


def tune_thresholds(prob: Floats, truth: Truth, rng: np.random.Generator, shrink: float = SHRINK) -> Floats:
    """Return the (L,) thresholds that give each label a high F1 on data not seen here.

    A label's measured cut, the best on the truth, is averaged over 25 bootstrap resamples and then drawn towards its
    expected cut, the best if the calibrated probabilities were the truth: weight n_positive / (n_positive + shrink)
    for the measured one, so that no single item sets it. A label without positives gets the cut that serves all
    (item, label) pairs best. With more than 200 labels all get that cut: most are too rare for one of their own, and
    cuts of their own would choose rare labels far too often.

    Args:
        prob: (n, L) calibrated probabilities.
        truth: (n, L) bool.
        rng: Draws the resamples.
        shrink: The number of positives at which measured and expected cut weigh the same.
    """
    n_items, n_labels = truth.shape
    positives = truth.sum(axis=0)
    if not positives.any():
        return np.full(n_labels, 0.5)
    if n_labels > MANY_LABELS:
        near = (prob > _HARDLY) | truth  # no cut lies among the rest, which are nearly all
        return np.full(n_labels, best_cut(prob[near], truth[near]))
    draws = rng.integers(0, n_items, (_RESAMPLES, n_items))
    weights = np.stack([np.bincount(draw, minlength=n_items) for draw in draws]).astype(np.float64)
    thresholds = np.full(n_labels, best_cut(prob.ravel(), truth.ravel()))
    for label in np.flatnonzero(positives):
        mine, count = prob[:, label], int(positives[label])
        expected = best_cut(mine, mine)
        # A resample without a positive says nothing.
        cuts = [cut for weight in weights if (cut := best_cut(mine, truth[:, label], weight)) < 1] or [expected]
        share = count / (count + shrink)
        lowest = np.sort(mine)[-min(_MOST_CHOSEN * count, n_items)]
        thresholds[label] = max(share * float(np.mean(cuts)) + (1 - share) * expected, lowest)
    return thresholds


def balancing_shares(prob: Floats, truth: Truth) -> Floats:
    """Return (L,) positive shares: deciding for the highest probability / share gives rare labels their due.

    Dividing by the labels' shares of the items maximises the mean sensitivity (balanced accuracy) when probabilities
    are right; how far to go that way, the power 0 to 1, is what serves these items best, the middle of what does nearly
    as well.

    Args:
        prob: (n, L) calibrated probabilities of items that calibration did not see.
        truth: (n, L) bool, one True per row.
    """
    counts = truth.sum(axis=0)
    shares = np.maximum(counts, 0.5) / max(len(truth), 1)
    powers = np.linspace(0, 1, 11)
    known = counts > 0
    found = []
    for power in powers:
        chosen = (prob / shares**power).argmax(axis=1)
        hits = truth[np.arange(len(truth)), chosen]
        right = np.bincount(chosen[hits], minlength=truth.shape[1])
        found.append(float((right[known] / counts[known]).mean()) if known.any() else 0.0)
    near = powers[np.array(found) >= max(found) - _NEARLY_BEST]
    balanced: Floats = shares ** float(np.median(near))
    return balanced


def conformal_cutoff(prob: Floats, truth: Truth, answer: AnswerKind, coverage: float) -> float | None:
    """Return the probability at which a label enters the conformal set.

    "one": split-conformal sets with the score 1 - p(true label) and the finite-sample rank ceil((n + 1) coverage)
    (Sadinle 2019; Angelopoulos & Bates 2021): the true label is in the set for at least `coverage` of new items.
    "many": conformal risk control of the false-negative rate (Angelopoulos 2022): on average at least `coverage` of a
    new item's true labels are in its set. Items without a label have nothing to miss and are left out.

    Both promises hold when new items come from where these came from.

    Returns:
        The cutoff in [0, 1], or None when there are too few items to promise anything but the full set.
    """
    held = truth.any(axis=1)
    prob, truth = prob[held], truth[held]
    n_items = len(prob)
    # Risk control asks n/(n+1) * risk + 1/(n+1) <= 1 - coverage: this is the risk the sample itself may show.
    allowed = ((n_items + 1) * (1 - coverage) - 1) / n_items if n_items else -1.0
    if allowed < 0:
        return None
    missed = (1 / truth.sum(axis=1) / n_items)[np.nonzero(truth)[0]]
    values = prob[truth]
    if answer == "one":
        # The k-th smallest probability of a true label, k = floor((n + 1)(1 - coverage)).
        rank = int(np.floor((n_items + 1) * (1 - coverage) + 1e-9))
        return float(np.sort(values)[rank - 1])
    order = np.argsort(values, kind="stable")
    ranked, risk = values[order], np.cumsum(missed[order])
    # With the cutoff at ranked[j], the labels before j are missed: find the last j whose loss is still allowed.
    before = np.concatenate([[0.0], risk[:-1]])
    first = np.concatenate([[True], ranked[1:] > ranked[:-1]])
    fine = np.flatnonzero(first & (before <= allowed + 1e-12))
    return float(ranked[fine[-1]])
