"""How members' probabilities become one: mean, vote, weighted mean or stacking; and which of these to trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Literal

import numpy as np
import numpy.typing as npt

from medbench.calibration import EPSILON, log_loss, logistic, logit, softmax
from medbench.records import AnswerKind, Scores, Truth
from medbench.thresholds import balancing_shares

Kind = Literal["mean", "voting", "weighted", "stacking"]
KINDS: tuple[Kind, ...] = ("mean", "voting", "weighted", "stacking")
Floats = npt.NDArray[np.float64]
Folds = Sequence[npt.NDArray[np.int64]]
# The simplex of weights is searched on the finest grid with at most so many points, fewer for very large tables.
_POINTS, _FEWEST, _CELLS = 400, 15, 2e8
_BEST_SHARE = 0.05
_PULLS = (1.0, 10.0, 100.0)


@dataclass(frozen=True, eq=False)
class Combiner:
    """Makes one table of probabilities out of those of M members.

    "mean" and "weighted" are linear pools, sum of weight x probability. "stacking" is a logistic regression on the
    members' log-odds (Wolpert 1992), for "one" on their log-probabilities (a logarithmic opinion pool, Genest 1984).
    "voting" counts the members that decide for a label by their own thresholds; where votes are equal, the mean of
    probabilities tells: (votes + mean) / (M + 1).

    Attributes:
        kind: How they are combined.
        answer: "one" or "many".
        weights: (M, L) float64; each column sums to 1 for pools.
        bias: (L,) float64, 0 for pools.
        thresholds: (M, L) float64, the members' own, for voting: probabilities for "many"; for "one" what probabilities
            are divided by before the highest wins, or zeros. None where nothing is voted on.
    """

    kind: Kind
    answer: AnswerKind
    weights: Floats
    bias: Floats
    thresholds: Floats | None = None

    def __call__(self, prob: Scores) -> Scores:
        """Return (n, L) float32 of (M, n, L) probabilities; rows sum to 1 when the answer is "one"."""
        values = np.asarray(prob, dtype=np.float64)
        if self.kind == "voting":
            votes = _votes(prob, self.thresholds, self.answer).sum(axis=0)
            return np.asarray((votes + values.mean(axis=0)) / (len(values) + 1), dtype=np.float32)
        if self.kind != "stacking":
            pooled = np.einsum("mnl,ml->nl", values, self.weights)
            if self.answer == "one":
                pooled = pooled / np.maximum(pooled.sum(axis=1, keepdims=True), EPSILON)
            return np.asarray(pooled.clip(0, 1), dtype=np.float32)
        return _stacked(_margins(values, self.answer), self.weights, self.bias, self.answer).astype(np.float32)

    @property
    def shares(self) -> Floats:
        """Each member's share in the answers, (M,) float64 that sum to 1: the mean size of its weights."""
        size = np.abs(self.weights).mean(axis=1)
        total = float(size.sum())
        return size / total if total > 0 else np.full(len(size), 1 / len(size))


def _votes(prob: Scores, thresholds: Floats | None, answer: AnswerKind) -> Truth:
    """Return (M, n, L) bool, what each member decides by its own thresholds, as `Trust.decide` would."""
    limits = np.zeros((len(prob), prob.shape[2])) if thresholds is None else thresholds
    if answer == "many":
        return np.asarray(prob >= limits[:, None].astype(np.float32))
    weighed = prob / np.where(limits.any(axis=1, keepdims=True), limits, 1.0)[:, None]
    votes = np.zeros(prob.shape, dtype=bool)
    np.put_along_axis(votes, weighed.argmax(axis=2)[:, :, None], True, axis=2)
    return votes


def fit_combiner(
    kind: Kind,
    prob: Scores,
    truth: Truth,
    answer: AnswerKind,
    headline: str,
    pull: float,
    thresholds: Floats | None = None,
) -> Combiner:
    """Fit a combination on items that no member was fitted on.

    Args:
        kind: How to combine.
        prob: (M, n, L) calibrated probabilities.
        truth: (n, L) bool.
        answer: "one" or "many".
        headline: The metric that weights are chosen for.
        pull: How strongly stacking is held to equal weights, in items.
        thresholds: (M, L) what the members decide by, for voting.
    """
    members, _, n_labels = prob.shape
    if kind == "stacking":
        return Combiner(kind, answer, *_fit_stacking(prob, truth, answer, pull))
    even = np.full(members, 1 / members)
    weights = _best_weights(prob, truth, answer, headline) if kind == "weighted" else even
    limits = thresholds if kind == "voting" else None
    return Combiner(kind, answer, np.tile(weights[:, None], (1, n_labels)), np.zeros(n_labels), limits)


@dataclass(frozen=True, eq=False)
class Choice:
    """A combination, and what it is worth on items that it was not fitted on.

    Attributes:
        combiner: Fitted on all items.
        held: (n, L) scores of those items, each from a combination that had not seen it.
        figures: What was tried -> the headline metric of such scores.
    """

    combiner: Combiner
    held: Scores
    figures: dict[str, float]


def choose(
    kinds: Sequence[Kind],
    prob: Scores,
    truth: Truth,
    answer: AnswerKind,
    headline: str,
    folds: Folds,
    thresholds: Floats | None = None,
) -> Choice:
    """Fit the kinds and keep the one with the highest cross-fitted headline, the simplest among equals.

    Args:
        kinds: What to try, simplest first.
        prob: (M, n, L) calibrated probabilities of items that no member was fitted on.
        truth: (n, L) bool.
        answer: "one" or "many".
        headline: A metric's name.
        folds: Row positions of each fold; every row in one.
        thresholds: (M, L) what the members decide by, for voting.
    """
    pull = _best_pull(prob, truth, answer, headline, folds) if "stacking" in kinds else 0.0
    held = {kind: _cross_fitted(kind, prob, truth, answer, headline, folds, pull, thresholds) for kind in kinds}
    figures: dict[str, float] = {kind: figure(headline, scores, truth, answer) for kind, scores in held.items()}
    best = max(kinds, key=lambda kind: figures[kind])
    return Choice(fit_combiner(best, prob, truth, answer, headline, pull, thresholds), held[best], figures)


def _cross_fitted(
    kind: Kind,
    prob: Scores,
    truth: Truth,
    answer: AnswerKind,
    headline: str,
    folds: Folds,
    pull: float,
    thresholds: Floats | None = None,
) -> Scores:
    """Return (n, L) scores, each item's from a combination that was fitted without its fold."""
    scores = np.zeros(truth.shape, dtype=np.float32)
    everything = np.arange(len(truth))
    for inside in folds:
        rest = np.setdiff1d(everything, inside)
        known = rest if len(rest) else everything  # a single item can only be fitted on itself
        combiner = fit_combiner(kind, prob[:, known], truth[known], answer, headline, pull, thresholds)
        scores[inside] = combiner(prob[:, inside])
    return scores


def _best_pull(prob: Scores, truth: Truth, answer: AnswerKind, headline: str, folds: Folds) -> float:
    def loss(pull: float) -> float:
        return log_loss(_cross_fitted("stacking", prob, truth, answer, headline, folds, pull), truth, answer)

    return min(_PULLS, key=loss)


# --- what weights are chosen by ----------------------------------------------------------------------------------


def figure(headline: str, prob: Scores, truth: Truth, answer: AnswerKind) -> float:
    """Return a metric of probabilities by decisions that need no tuning: higher is better.

    "many": each label goes to as many items as carry it (the break-even point, where precision equals recall). "one":
    the most probable label; for balanced accuracy, in proportion to the labels' shares.

    Args:
        headline: "balanced_accuracy", "macro_f1" or "micro_f1", as in `medbench.metrics`; others count as micro_f1.
        prob: (n, L) probabilities.
        truth: (n, L) bool.
        answer: "one" or "many".
    """
    decided = _decided(headline, np.asarray(prob, dtype=np.float64), truth, answer)
    hits = (truth & decided).sum(axis=0).astype(np.float64)
    true, chosen = truth.sum(axis=0), decided.sum(axis=0)
    if headline == "balanced_accuracy":
        return float((hits[true > 0] / true[true > 0]).mean()) if true.any() else 0.0
    if headline == "macro_f1":
        met = true + chosen > 0
        return float((2 * hits[met] / (true + chosen)[met]).mean()) if met.any() else 0.0
    return float(2 * hits.sum() / max(int(true.sum() + chosen.sum()), 1))


def _decided(headline: str, prob: Floats, truth: Truth, answer: AnswerKind) -> Truth:
    decided = np.zeros(truth.shape, dtype=bool)
    if answer == "one":
        shares = balancing_shares(prob, truth) if headline == "balanced_accuracy" else np.ones(truth.shape[1])
        decided[np.arange(len(prob)), (prob / shares).argmax(axis=1)] = True
        return decided
    order = np.argsort(-prob, axis=0, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(len(prob))[:, None], axis=0)
    return np.asarray(ranks < truth.sum(axis=0))


def _best_weights(prob: Scores, truth: Truth, answer: AnswerKind, headline: str) -> Floats:
    """Return (M,) weights: the mean of the best twentieth of the points of a grid over the simplex.

    A single best point owes much to chance; its neighbours do nearly as well and their mean does not jump.
    """
    points = simplex(len(prob), int(np.clip(_CELLS / max(prob.size, 1), _FEWEST, _POINTS)))
    values = np.asarray(prob, dtype=np.float64)
    found = np.array([figure(headline, np.tensordot(point, values, 1), truth, answer) for point in points])
    kept = max(1, round(_BEST_SHARE * len(points)))
    limit = np.sort(found)[-kept]
    best: Floats = points[found >= limit].mean(axis=0)
    return best


def simplex(members: int, most: int) -> Floats:
    """Return (points, members) float64: the finest grid with at most `most` points of weights that sum to 1."""
    steps = 1
    while members > 1 and comb(steps + members, members - 1) <= most:
        steps += 1
    bars = combinations(range(steps + members - 1), members - 1)
    edges = np.array([(-1, *at, steps + members - 1) for at in bars], dtype=np.float64)
    grid: Floats = (np.diff(edges, axis=1) - 1) / steps
    return grid


# --- stacking ----------------------------------------------------------------------------------------------------


def _margins(prob: Floats, answer: AnswerKind) -> Floats:
    return np.log(prob.clip(EPSILON, 1)) if answer == "one" else logit(prob)


def _stacked(margins: Floats, weights: Floats, bias: Floats, answer: AnswerKind) -> Floats:
    summed = np.einsum("mnl,ml->nl", margins, weights) + bias
    return softmax(summed) if answer == "one" else logistic(summed)


def _fit_stacking(prob: Scores, truth: Truth, answer: AnswerKind, pull: float) -> tuple[Floats, Floats]:
    """Return (M, L) weights and (L,) biases of a logistic regression that is held to few degrees of freedom.

    Every label has weights of its own, held to weights that all labels share, and those to equal ones; biases are held
    to 0. What is learnt for a rare label is therefore mostly what is learnt for all.
    """
    from scipy.optimize import minimize

    members, n_items, n_labels = prob.shape
    margins, target = _margins(np.asarray(prob, dtype=np.float64), answer), truth.astype(np.float64)
    hold, shape = pull / max(n_items, 1), (members, n_labels)

    def parted(x: Floats) -> tuple[Floats, Floats, Floats]:
        return x[:members], x[members : members + members * n_labels].reshape(shape), x[-n_labels:]

    def loss(x: Floats) -> tuple[float, Floats]:
        shared, own, bias = parted(x)
        chance = _stacked(margins, shared[:, None] + own, bias, answer)
        likely = chance if answer == "one" else np.where(truth, chance, 1 - chance)
        nats = -np.log((likely[truth] if answer == "one" else likely).clip(EPSILON, 1)).sum()
        error = (chance - target) / max(n_items, 1)
        slope = np.einsum("nl,mnl->ml", error, margins)
        away = shared - 1 / members
        value = float(nats) / max(n_items, 1) + 0.5 * hold * float((away**2).sum() + (own**2).sum() + (bias**2).sum())
        parts = (slope.sum(axis=1) + hold * away, (slope + hold * own).ravel(), error.sum(axis=0) + hold * bias)
        return value, np.concatenate(parts)

    start = np.concatenate([np.full(members, 1 / members), np.zeros(members * n_labels + n_labels)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 150}).x
    shared, own, bias = parted(found)
    return shared[:, None] + own, bias
