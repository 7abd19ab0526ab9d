"""Scores become probabilities: temperature and vector scaling, Platt's lines, isotonic steps, beta calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from medbench.beta_calibration import PRIOR, LabelBetas, fit_betas, smoothed
from medbench.calibration import EPSILON, Floats, log_loss, logistic, logit, softmax
from medbench.label_sets import LabelSets
from medbench.records import AnswerKind, Scores, Truth
from medbench.slices import slices_of
from medbench.tree_order import Ints, ordered

Method = Literal[
    "identity",
    "platt",
    "isotonic",
    "beta",
    "temperature_each",
    "temperature",
    "vector",
    "platt_normalised",
    "isotonic_normalised",
    "beta_normalised",
]
METHODS: dict[AnswerKind, tuple[Method, ...]] = {
    "many": ("identity", "temperature_each", "platt", "isotonic", "beta"),
    "one": ("identity", "temperature", "vector", "platt_normalised", "isotonic_normalised", "beta_normalised"),
}
"""What is tried for each kind of answer; of two that are equally good the first is taken."""
TOGETHER = "together"
"""What the loss is called of the best method followed by the labels' company."""
NAMES: dict[str, str] = {
    "identity": "scores as they are",
    "platt": "Platt scaling",
    "isotonic": "isotonic regression",
    "beta": "beta calibration",
    "temperature": "temperature scaling",
    "vector": "vector scaling",
}
"""What a reader is told of a method, by what its name begins with."""
# Beta calibration takes three numbers a label and twice Platt's time: beyond so many cells Platt and isotonic must do.
_BETA_CELLS = 5_000_000
# Isotonic regression over-fits below about this many positives (Niculescu-Mizil & Caruana 2005 say 200 to 1,000).
_ISOTONIC_POSITIVES = 100
# Share of the Platt line in an isotonic label's probability: it keeps the order of items beyond the outer steps.
_LINE = 0.1


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


Fitted = LabelLines | LabelScales | LabelBetas


@dataclass(frozen=True)
class Together:
    """Another map, and then labels that go together raise each other (`label_sets.LabelSets`).

    Attributes:
        inner: The map that comes first.
        sets: The sets of labels that occur.
    """

    inner: Fitted
    sets: LabelSets

    def __call__(self, scores: Scores) -> Floats:
        """Return calibrated probabilities, (n, L) float64."""
        return self.sets(self.inner(scores))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything needed to rebuild it, as plain arrays."""
        return {**self.inner.arrays(), "sets": self.sets.sets, "sets_count": self.sets.count}


@dataclass(frozen=True)
class Ordered:
    """Another map, and then no label more probable than the label above it in a tree (`tree_order.ordered`).

    Attributes:
        inner: The map that comes first.
        above: (L,) column of the label above, -1 for none.
    """

    inner: Fitted | Together
    above: Ints

    def __call__(self, scores: Scores) -> Floats:
        """Return calibrated probabilities, (n, L) float64."""
        return ordered(self.inner(scores), self.above)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything needed to rebuild it, as plain arrays."""
        return {**self.inner.arrays(), "above": self.above}


Whole = Fitted | Together | Ordered
"""Any map that a model may be kept with."""


def calibrator_from(arrays: dict[str, npt.NDArray[Any]]) -> Whole:
    """Rebuild a calibrator from what `arrays()` returned."""
    fitted = _inner_from(arrays)
    together = Together(fitted, LabelSets(arrays["sets"], arrays["sets_count"])) if "sets" in arrays else None
    inner = together or fitted
    return Ordered(inner, arrays["above"]) if "above" in arrays else inner


def _inner_from(arrays: dict[str, npt.NDArray[Any]]) -> Fitted:
    if "a" in arrays:
        return LabelBetas(arrays["a"], arrays["b"], arrays["c"], bool(arrays["normalise"]))
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
    high, low = smoothed(truth)
    # Two numbers need no more pairs than a slice holds: from a larger table, items at even distances.
    some = np.arange(0, len(truth), len(slices_of(*truth.shape)) or 1)
    margins, targets = logit(scores[some]), np.where(truth[some], high, low)
    shared = _newton(margins.reshape(-1, 1), targets.reshape(-1, 1), np.array([[1.0], [0.0]]), 1e-3)
    slope, intercept = np.empty(truth.shape[1]), np.empty(truth.shape[1])
    for columns in slices_of(*truth.shape[::-1]):
        start = np.repeat(shared, len(high[columns]), axis=1)
        targets = np.where(truth[:, columns], high[columns], low[columns])
        slope[columns], intercept[columns] = _newton(logit(scores[:, columns]), targets, start, PRIOR)
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
    hold = PRIOR / max(len(truth), 1)

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


def tried(answer: AnswerKind, n_cells: int) -> tuple[Method, ...]:
    """Return the methods that are tried on a table of so many cells."""
    return tuple(method for method in METHODS[answer] if n_cells <= _BETA_CELLS or not method.startswith("beta"))


def fit_method(method: Method, scores: Scores, truth: Truth) -> Fitted:
    """Fit the calibrator called `method` on scores (n, L) and truth (n, L)."""
    n_labels = truth.shape[1]
    nobody = np.zeros(n_labels, dtype=bool)
    normalise = method.endswith("_normalised")
    if method == "identity":
        return _straight(n_labels, 1.0)
    if method == "temperature_each":
        return _fit_temperature_each(scores, truth)
    if method.startswith("platt"):
        return fit_lines(scores, truth, nobody, normalise)
    if method.startswith("isotonic"):
        positives = truth.sum(axis=0)
        enough = (positives >= _ISOTONIC_POSITIVES) & (len(truth) - positives >= _ISOTONIC_POSITIVES)
        return fit_lines(scores, truth, enough, normalise)
    if method.startswith("beta"):
        return fit_betas(scores, truth, normalise)
    return fit_scales(scores, truth, vector=method == "vector")


def _straight(n_labels: int, slope: float) -> LabelLines:
    """Return lines through 0 of one slope on the logit."""
    empty = np.empty(0)
    no_steps = np.zeros(n_labels, dtype=np.int64)
    return LabelLines(np.full(n_labels, slope), np.zeros(n_labels), empty, empty, no_steps)


def _fit_temperature_each(scores: Scores, truth: Truth) -> LabelLines:
    """Fit temperature scaling (Guo 2017) for labels that are decided each by itself: one slope for all of them."""
    from scipy.optimize import minimize_scalar

    some = np.arange(0, len(truth), len(slices_of(*truth.shape)) or 1)
    margins, target = logit(scores[some]), truth[some]

    def loss(log_slope: float) -> float:
        return log_loss(logistic(np.exp(log_slope) * margins), target, "many")

    return _straight(truth.shape[1], float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x)))
