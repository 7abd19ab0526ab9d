"""Beta calibration: probabilities from scores that spread like a beta distribution (Kull, Silva Filho & Flach 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.calibration import EPSILON, Floats, logistic
from medbench.records import Scores, Truth
from medbench.slices import slices_of

PRIOR = 4.0
"""Weight of what pulls a label's own map towards that of all labels together, in pseudo-items."""


@dataclass(frozen=True)
class LabelBetas:
    """Beta calibration (Kull, Silva Filho & Flach 2017), one map a label: logistic of a ln s - b ln(1 - s) + c.

    Where Platt's line is right for scores that spread like a normal distribution on the logit, this is right for scores
    that spread like a beta distribution on 0-1, and it holds the identity (a = b = 1, c = 0).

    Attributes:
        a: (L,) float64, >= 0, so that a higher score never means a lower probability.
        b: (L,) float64, >= 0.
        c: (L,) float64.
        normalise: True to make rows sum to 1.
    """

    a: Floats
    b: Floats
    c: Floats
    normalise: bool = False

    def __call__(self, scores: Scores) -> Floats:
        """Return calibrated probabilities, (n, L) float64."""
        prob = np.empty(scores.shape)
        for rows in slices_of(*scores.shape):
            rising, falling = _log_sides(scores[rows])
            prob[rows] = logistic(self.a * rising + self.b * falling + self.c)
        return prob / prob.sum(axis=1, keepdims=True).clip(EPSILON) if self.normalise else prob

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that `calibrator_from` needs."""
        return {"a": self.a, "b": self.b, "c": self.c, "normalise": np.array(self.normalise)}


def _log_sides(scores: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return ln s and -ln(1 - s), both rising with s, with s kept inside [1e-6, 1 - 1e-6]."""
    values = np.clip(np.asarray(scores, dtype=np.float64), EPSILON, 1 - EPSILON)
    return np.log(values), -np.log1p(-values)


def smoothed(truth: Truth) -> tuple[Floats, Floats]:
    """Return what a label's true and false items are fitted to, (L,) each (Platt 1999)."""
    positives = truth.sum(axis=0)
    return (positives + 1) / (positives + 2), 1 / (len(truth) - positives + 2)


def fit_betas(scores: Scores, truth: Truth, normalise: bool = False) -> LabelBetas:
    """Fit beta calibration for every label by logistic regression on ln s and -ln(1 - s).

    A slope that comes out negative is set to 0 and the rest fitted again, as Kull et al. do. Targets are smoothed and
    slopes pulled towards those of all labels pooled, as `fit_lines` does.
    """
    high, low = smoothed(truth)
    some = np.arange(0, len(truth), len(slices_of(*truth.shape)) or 1)
    targets = np.where(truth[some], high, low).reshape(-1, 1)
    rising, falling = (side.reshape(-1, 1) for side in _log_sides(scores[some]))
    shared = _newton_sides(rising, falling, targets, np.array([[1.0], [1.0], [0.0]]), 1e-3)
    found = np.empty((3, truth.shape[1]))
    for columns in slices_of(*truth.shape[::-1]):
        targets = np.where(truth[:, columns], high[columns], low[columns])
        start = np.repeat(shared, targets.shape[1], axis=1)
        found[:, columns] = _newton_sides(*_log_sides(scores[:, columns]), targets, start, PRIOR)
    return LabelBetas(found[0], found[1], found[2], normalise)


def _newton_sides(rising: Floats, falling: Floats, targets: Floats, start: Floats, prior: float) -> Floats:
    """Return (3, L): a, b >= 0 and c of every label."""
    held = np.zeros((2, start.shape[1]), dtype=bool)
    found = start
    for _ in range(3):  # neither slope held at 0, then one, then both
        found = _newton_free(
            rising, falling, targets, np.where(np.vstack([held, held[:1] & False]), 0, start), prior, held
        )
        negative = found[:2] < 0
        if not negative.any():
            break
        held |= negative
    return found


def _newton_free(
    rising: Floats, falling: Floats, targets: Floats, start: Floats, prior: float, held: npt.NDArray[np.bool_]
) -> Floats:
    """Return (3, L) by 30 damped Newton steps; slopes marked in `held` (2, L) stay where they start."""
    found = start.copy()
    sides = (rising, falling, np.ones_like(rising))
    fixed = np.vstack([held, np.zeros_like(held[:1])])
    pulls = np.array([prior, prior, 0.0])[:, None]
    for _ in range(30):
        prob = logistic(found[0] * rising + found[1] * falling + found[2])
        error, weight = prob - targets, np.maximum(prob * (1 - prob), 1e-9)
        slope = np.stack([(error * side).sum(axis=0) for side in sides]) + pulls * (found - start)
        curve = np.empty((start.shape[1], 3, 3))
        for at, side in enumerate(sides):
            for other in range(at, 3):
                curve[:, at, other] = curve[:, other, at] = (weight * side * sides[other]).sum(axis=0)
        curve[:, range(3), range(3)] += pulls[:, 0] + 1e-6
        slope[fixed] = 0
        curve[fixed.T] = 0
        curve.transpose(0, 2, 1)[fixed.T] = 0
        curve[:, range(3), range(3)] += fixed.T
        step = np.linalg.solve(curve, slope.T[..., None])[..., 0].T
        found -= step / np.maximum(1, np.abs(step).max(axis=0))
        if np.abs(step).max(initial=0) < 1e-7:
            break
    return found
