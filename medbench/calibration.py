"""Scores become probabilities: Platt, isotonic, temperature and vector scaling, and how far off they are (ECE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from medbench.records import AnswerKind, Scores, Truth
from medbench.slices import slices_of
from medbench.tree_order import Ints, ordered

Floats = npt.NDArray[np.float64]
Method = Literal["identity", "platt", "isotonic", "temperature", "vector", "platt_normalised"]
BINS = 15
EPSILON = 1e-6
# Weight of the prior that pulls a label's Platt line towards the line of all labels together, in pseudo-items.
_PRIOR = 4.0
# Isotonic regression over-fits below about this many positives (Niculescu-Mizil & Caruana 2005 say 200 to 1,000).
_ISOTONIC_POSITIVES = 100
# Share of the Platt line in an isotonic label's probability: it keeps the order of items beyond the outer steps.
_LINE = 0.1


def calibration_pairs(prob: npt.ArrayLike, truth: Truth, answer: AnswerKind) -> tuple[Floats, Floats]:
    """Return what a calibration curve is drawn from: (claimed, true), both (m,) or (n, L) float64.

    Answer "one": the probability of the top label and whether it was right, one pair per item (Guo 2017).
    Answer "many": every (item, label) probability and whether the label is true, shape (n, L).
    """
    values = np.asarray(prob, dtype=np.float64)
    if answer == "many":
        return values, truth.astype(np.float64)
    top = values.argmax(axis=1)
    rows = np.arange(len(values))
    return values[rows, top], truth[rows, top].astype(np.float64)


def bin_of(claimed: Floats, bins: int = BINS) -> npt.NDArray[np.int64]:
    """Return the index of the equal-width bin each probability falls in: bin b holds (b/bins, (b+1)/bins]."""
    return np.clip(np.ceil(claimed * bins).astype(np.int64) - 1, 0, bins - 1)


def expected_calibration_error(prob: npt.ArrayLike, truth: Truth, answer: AnswerKind, bins: int = BINS) -> float:
    """Return the expected calibration error (Guo 2017), 0-1, over `bins` equal-width bins; 0 when there is no item.

    For answer "many" it runs over all (item, label) pairs; for "one" over the top label of each item.
    """
    table, gaps, n_pairs = np.asarray(prob), np.zeros(bins), 0
    for rows in slices_of(*truth.shape):
        claimed, true = (array.ravel() for array in calibration_pairs(table[rows], truth[rows], answer))
        gaps += np.bincount(bin_of(claimed, bins), weights=claimed - true, minlength=bins)
        n_pairs += claimed.size
    return float(np.abs(gaps).sum() / n_pairs) if n_pairs else 0.0


def log_loss(prob: npt.ArrayLike, truth: Truth, answer: AnswerKind) -> float:
    """Return the mean negative log-likelihood in nats: per item for "one", per (item, label) pair for "many".

    Probabilities are kept inside [1e-6, 1 - 1e-6].
    """
    table, nats, n_values = np.asarray(prob), 0.0, 0
    for rows in slices_of(*truth.shape):
        values = np.clip(np.asarray(table[rows], dtype=np.float64), EPSILON, 1 - EPSILON)
        likelihood = values[truth[rows]] if answer == "one" else np.where(truth[rows], values, 1 - values)
        nats -= float(np.log(likelihood).sum())
        n_values += likelihood.size
    return nats / n_values if n_values else 0.0


def logit(prob: npt.ArrayLike) -> Floats:
    """Return log(p / (1 - p)), float64, with p kept inside [1e-6, 1 - 1e-6]."""
    values = np.clip(np.asarray(prob, dtype=np.float64), EPSILON, 1 - EPSILON)
    return np.asarray(np.log(values) - np.log1p(-values))


def logistic(margin: npt.ArrayLike) -> Floats:
    """Return 1 / (1 + exp(-margin)), float64, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(margin, dtype=np.float64))))


def softmax(margin: Floats) -> Floats:
    """Return rows that sum to 1, float64."""
    power = np.exp(margin - margin.max(axis=1, keepdims=True))
    return np.asarray(power / power.sum(axis=1, keepdims=True))


class Calibrator(Protocol):
    """Maps scores (n, L) to probabilities (n, L)."""

    def __call__(self, scores: Scores) -> Floats:
        """Return calibrated probabilities, float64 in [0, 1]."""
        ...

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything needed to rebuild it, as plain arrays."""
        ...


@dataclass(frozen=True)
class LabelLines:
    """One logistic line per label on the logit of the score (Platt 1999), or isotonic steps for some labels.

    Attributes:
        slope: (L,) float64, >= 0, so that a higher score never means a lower probability.
        intercept: (L,) float64.
        steps_at: Scores at the centres of the isotonic labels' steps, one label after another, (s,) float64.
        steps_to: Their probabilities, (s,) float64.
        steps_end: (L,) int64, where each label's breakpoints end; labels without any use their line.
        normalise: True to make rows sum to 1.
    """

    slope: Floats
    intercept: Floats
    steps_at: Floats
    steps_to: Floats
    steps_end: npt.NDArray[np.int64]
    normalise: bool = False

    def __call__(self, scores: Scores) -> Floats:
        """Return calibrated probabilities, (n, L) float64."""
        prob = np.empty(scores.shape)
        for rows in slices_of(*scores.shape):
            prob[rows] = logistic(self.slope * logit(scores[rows]) + self.intercept)
        begin = 0
        for label, end in enumerate(self.steps_end):
            if end > begin:
                steps = np.interp(scores[:, label], self.steps_at[begin:end], self.steps_to[begin:end])
                prob[:, label] = _LINE * prob[:, label] + (1 - _LINE) * steps
            begin = int(end)
        return prob / prob.sum(axis=1, keepdims=True).clip(EPSILON) if self.normalise else prob

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that `calibrator_from` needs."""
        return {
            "slope": self.slope,
            "intercept": self.intercept,
            "steps_at": self.steps_at,
            "steps_to": self.steps_to,
            "steps_end": self.steps_end,
            "normalise": np.array(self.normalise),
        }


@dataclass(frozen=True)
class LabelScales:
    """Softmax of scale x log score + shift: temperature scaling when all scales are equal, else vector scaling."""

    scale: Floats
    shift: Floats

    def __call__(self, scores: Scores) -> Floats:
        """Return rows that sum to 1, (n, L) float64."""
        return softmax(self.scale * _log(scores) + self.shift)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that `calibrator_from` needs."""
        return {"scale": self.scale, "shift": self.shift}


@dataclass(frozen=True)
class Ordered:
    """Another map, and then no label more probable than the label above it in a tree (`tree_order.ordered`).

    Attributes:
        inner: The map that comes first.
        above: (L,) column of the label above, -1 for none.
    """

    inner: LabelLines | LabelScales
    above: Ints

    def __call__(self, scores: Scores) -> Floats:
        """Return calibrated probabilities, (n, L) float64."""
        return ordered(self.inner(scores), self.above)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything needed to rebuild it, as plain arrays."""
        return {**self.inner.arrays(), "above": self.above}


def calibrator_from(arrays: dict[str, npt.NDArray[Any]]) -> LabelLines | LabelScales | Ordered:
    """Rebuild a calibrator from what `arrays()` returned."""
    inner = _inner_from(arrays)
    return Ordered(inner, arrays["above"]) if "above" in arrays else inner


def _inner_from(arrays: dict[str, npt.NDArray[Any]]) -> LabelLines | LabelScales:
    if "scale" in arrays:
        return LabelScales(arrays["scale"], arrays["shift"])
    return LabelLines(
        slope=arrays["slope"],
        intercept=arrays["intercept"],
        steps_at=arrays["steps_at"],
        steps_to=arrays["steps_to"],
        steps_end=arrays["steps_end"],
        normalise=bool(arrays["normalise"]),
    )


def fit_lines(scores: Scores, truth: Truth, isotonic: npt.NDArray[np.bool_], normalise: bool = False) -> LabelLines:
    """Fit one Platt line per label, and isotonic steps for the labels marked in `isotonic` (L,).

    Targets are smoothed as Platt (1999) does; a label's line is pulled towards the line of all labels pooled, as if
    by four more items, so that a label with two positives does not get a line of its own making.
    """
    positives = truth.sum(axis=0)
    high, low = (positives + 1) / (positives + 2), 1 / (len(truth) - positives + 2)
    # Two numbers need no more pairs than a slice holds: from a larger table, items at even distances.
    some = np.arange(0, len(truth), len(slices_of(*truth.shape)) or 1)
    margins, targets = logit(scores[some]), np.where(truth[some], high, low)
    shared = _newton(margins.reshape(-1, 1), targets.reshape(-1, 1), np.array([[1.0], [0.0]]), 1e-3)
    slope, intercept = np.empty(truth.shape[1]), np.empty(truth.shape[1])
    for columns in slices_of(*truth.shape[::-1]):
        start = np.repeat(shared, len(high[columns]), axis=1)
        targets = np.where(truth[:, columns], high[columns], low[columns])
        slope[columns], intercept[columns] = _newton(logit(scores[:, columns]), targets, start, _PRIOR)
    return LabelLines(slope.clip(0), intercept, *_steps(scores, truth, isotonic), normalise=normalise)


def _newton(margins: Floats, targets: Floats, start: Floats, prior: float) -> Floats:
    """Return (2, L): slope and intercept of every label's logistic line, by 30 damped Newton steps at once."""
    slope, intercept = start[0].copy(), start[1].copy()
    # Only the slope is held back: the intercept carries the label's frequency, which is the label's own.
    for _ in range(30):
        prob = logistic(margins * slope + intercept)
        error, weight = prob - targets, np.maximum(prob * (1 - prob), 1e-9)
        by_slope = (error * margins).sum(axis=0) + prior * (slope - start[0])
        by_intercept = error.sum(axis=0)
        aa = (weight * margins**2).sum(axis=0) + prior
        ab, bb = (weight * margins).sum(axis=0), weight.sum(axis=0) + 1e-6
        determinant = np.maximum(aa * bb - ab**2, 1e-12)
        step_slope = (bb * by_slope - ab * by_intercept) / determinant
        step_intercept = (aa * by_intercept - ab * by_slope) / determinant
        damp = 1 / np.maximum(1, np.maximum(np.abs(step_slope), np.abs(step_intercept)))
        slope, intercept = slope - damp * step_slope, intercept - damp * step_intercept
        if max(np.abs(step_slope).max(initial=0), np.abs(step_intercept).max(initial=0)) < 1e-7:
            break
    return np.stack([slope, intercept])


def _steps(
    scores: Scores, truth: Truth, isotonic: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    at: list[Floats] = [np.empty(0)]
    to: list[Floats] = [np.empty(0)]
    end = np.zeros(truth.shape[1], dtype=np.int64)
    for label in range(truth.shape[1]):
        if isotonic[label]:
            x, y = _isotonic(scores[:, label].astype(np.float64), truth[:, label])
            at.append(x)
            to.append(y)
        end[label] = sum(map(len, at))
    return np.concatenate(at), np.concatenate(to), end


def _isotonic(score: Floats, truth: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return centred isotonic regression (Oron & Flournoy 2017): each step shrinks to its centre, lines join them.

    Plain steps would give thousands of items one probability and lose their order.
    """
    from sklearn.isotonic import IsotonicRegression

    floor = 1 / (len(score) + 2)  # a step of all-false items is not proof of probability 0
    level = IsotonicRegression(y_min=floor, y_max=1 - floor).fit_transform(score, truth.astype(np.float64))
    steps, step = np.unique(level, return_inverse=True)
    return np.bincount(step, weights=score) / np.bincount(step), steps.astype(np.float64)


def fit_scales(scores: Scores, truth: Truth, vector: bool) -> LabelScales:
    """Fit temperature scaling (Guo 2017), or vector scaling when `vector`, by minimising the log loss.

    The scales of vector scaling are pulled towards the temperature and its shifts towards 0.
    """
    from scipy.optimize import minimize

    logs, target, n_labels = _log(scores), truth.astype(np.float64), truth.shape[1]

    def loss_of_temperature(log_scale: Floats) -> tuple[float, Floats]:
        scale = float(np.exp(log_scale[0]))
        prob = softmax(scale * logs)
        loss = -float(np.log((prob * target).sum(axis=1).clip(EPSILON)).mean())
        return loss, np.array([scale * float(((prob - target) * logs).sum(axis=1).mean())])

    found = minimize(loss_of_temperature, np.zeros(1), jac=True, method="L-BFGS-B", bounds=[(-4, 4)])
    temperature = float(np.exp(found.x[0]))
    if not vector:
        return LabelScales(np.full(n_labels, temperature), np.zeros(n_labels))
    hold = _PRIOR / max(len(truth), 1)

    def loss_of_vector(parameters: Floats) -> tuple[float, Floats]:
        scale, shift = parameters[:n_labels], parameters[n_labels:]
        prob = softmax(scale * logs + shift)
        pull = scale - temperature
        loss = -float(np.log((prob * target).sum(axis=1).clip(EPSILON)).mean())
        loss += 0.5 * hold * float((pull**2).sum() + (shift**2).sum())
        error = (prob - target) / len(target)
        return loss, np.concatenate([(error * logs).sum(axis=0) + hold * pull, error.sum(axis=0) + hold * shift])

    begin = np.concatenate([np.full(n_labels, temperature), np.zeros(n_labels)])
    bounds = [(0.0, None)] * n_labels + [(None, None)] * n_labels
    best = minimize(loss_of_vector, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200}).x
    return LabelScales(best[:n_labels], best[n_labels:])


def _log(scores: Scores) -> Floats:
    return np.asarray(np.log(np.clip(scores.astype(np.float64), EPSILON, 1)))


def fit_method(method: Method, scores: Scores, truth: Truth) -> LabelLines | LabelScales:
    """Fit the calibrator called `method` on scores (n, L) and truth (n, L)."""
    n_labels = truth.shape[1]
    nobody = np.zeros(n_labels, dtype=bool)
    if method == "identity":
        empty = np.empty(0)
        return LabelLines(np.ones(n_labels), np.zeros(n_labels), empty, empty, np.zeros(n_labels, dtype=np.int64))
    if method == "platt":
        return fit_lines(scores, truth, nobody)
    if method == "isotonic":
        positives = truth.sum(axis=0)
        enough = (positives >= _ISOTONIC_POSITIVES) & (len(truth) - positives >= _ISOTONIC_POSITIVES)
        return fit_lines(scores, truth, enough)
    if method == "platt_normalised":
        return fit_lines(scores, truth, nobody, normalise=True)
    return fit_scales(scores, truth, vector=method == "vector")
