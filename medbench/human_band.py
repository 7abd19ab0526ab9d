"""Which answers may stand without a person: as many as keep the error among them below what the user accepts.

Every answer has the error that its own calibrated probabilities let expect. Calibration items say how wrong answers
with less than some expected error were, and a test asks whether their error may be called lower than accepted:
selective classification with guaranteed risk (Geifman & El-Yaniv 2017), with the exact binomial test for right or
wrong, and for shares of labels the Hoeffding-Bentkus bound (Bates et al. 2021). Limits are tried in a fixed order,
upwards from two starts that share the allowed chance of a wrong promise, until a test fails: fixed-sequence testing, as
in Learn then Test (Angelopoulos et al. 2021). Order and limits are set before any label is seen, so that trying many
costs nothing.

The promise holds for new items that come from where the calibration items came from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError
from medbench.records import AnswerKind, Scores, Truth

Floats = npt.NDArray[np.float64]
ACCEPTED: Final[dict[AnswerKind, float]] = {"one": 0.05, "many": 0.2}
"""The error accepted among answers that no person reads, 0-1, when the user names none."""
WORTH: Final = 0.5
"""Share of answers with many labels that should stand alone, even if a larger error than usual has to be accepted."""
CONFIDENCE: Final = 0.95
SHARES: Final = tuple(part / 10 for part in range(1, 11))
"""Shares of answers without a person that are offered after training, fixed before any label is seen."""
HIGHEST: Final = 0.5
"""No larger error is offered, nor taken for the sake of `WORTH`."""
BOUNDS: Final = tuple(part / 1000 for part in range(1, round(1000 * HIGHEST) + 1))
"""The errors that a bound is rounded up to."""
STARTS: Final = (1, 3)
"""The tests begin at these multiples of the accepted error."""
NEVER: Final = 2.0
"""The expected error of an answer that always goes to a person."""
# Finer below 0.1; the last one is above every expected error and below `NEVER`.
LIMITS: Final = (*(part / 400 for part in range(1, 40)), *(part / 100 for part in range(10, 101)), 1.5)


def errors(decided: Truth, truth: Truth, answer: AnswerKind) -> Floats:
    """Return (n,) float64, 0-1, how wrong each answer is.

    "one": 1 where the label is not the true one. "many": of the labels that were given or should have been, the share
    that was wrong or missing (Jaccard distance); 0 where none was given and none is true.
    """
    wrong = (decided != truth).sum(axis=1)
    if answer == "one":
        return np.asarray(wrong > 0, dtype=np.float64)
    return np.asarray(wrong / np.maximum((decided | truth).sum(axis=1), 1))


def expected(prob: Scores, decided: Truth, answer: AnswerKind, *, expects_label: bool = False) -> Floats:
    """Return (n,) float64, 0-1, the error that calibrated probabilities let expect of each answer.

    Where a label is expected and none was given, it is `NEVER`.
    "one": 1 - p of the label decided for. "many": expected wrong and missing labels over the expected union; where no
    label is given, the chance that one is true, as if labels were independent.
    """
    values = np.asarray(prob, dtype=np.float64)
    given = np.where(decided, values, 0.0).sum(axis=1)
    if answer == "one":
        return np.asarray(1 - given).clip(0, 1)
    count = decided.sum(axis=1)
    missed = np.where(decided, 0.0, values).sum(axis=1)
    some = (count - given + missed) / np.maximum(count + missed, 1e-12)
    none = NEVER if expects_label else 1 - np.prod(1 - values, axis=1)
    return np.where(count > 0, some.clip(0, 1), none)


@dataclass(frozen=True, slots=True)
class Step:
    """The surest calibration items, and how wrong they were.

    Attributes:
        limit: They are those whose expected error lies below this.
        n: How many there are.
        error: Their mean error, 0-1.
    """

    limit: float
    n: int
    error: float


@dataclass(frozen=True, slots=True)
class Band:
    """What goes to a person, and what is promised of the rest.

    Attributes:
        answer: "one" (error: the share of wrong answers) or "many" (of labels wrong or missing).
        accepted: The error that the user accepts among answers that no person reads, 0-1.
        confidence: With this probability over the draw of calibration items the promise holds, 0-1.
        n: Calibration items it was chosen on, one per group.
        steps: The limits that are tried, in ascending order, without those that let in no further item.
        limit: An answer stands alone when its expected error lies below; 0 when the promise can be made of none.
        share: Share of the calibration items below the limit, 0-1.
        error: Their mean error, 0-1; 0 when there are none.
        least: The least error, in whole percent, that could be promised of any share; None when there is none.
        among: How many shares were offered together when it was chosen; the promises of all of them hold together with
            that confidence.
    """

    answer: AnswerKind
    accepted: float
    confidence: float
    n: int
    steps: tuple[Step, ...]
    limit: float = 0.0
    share: float = 0.0
    error: float = 0.0
    least: float | None = None
    among: int = 1

    def alone(self, expectation: Floats) -> npt.NDArray[np.bool_]:
        """Return (n,) bool: which answers no person has to read, by their expected errors."""
        return np.asarray(expectation < self.limit)

    def at(self, accepted: float) -> Band:
        """Return the band for another accepted error: the largest share whose error is bounded by it.

        Raises:
            MedbenchError: It does not lie above 0 and below 1.
        """
        if not 0 < accepted < 1:
            raise MedbenchError("an accepted error above 0 and below 1", str(accepted), "Use for example 0.05.")
        return self._with(accepted, self._best(accepted, 1 - self.confidence))

    def offered(self) -> tuple[Band, ...]:
        """Return bands of which one may be chosen after seeing all: for each of `SHARES`, what its error is bounded by.

        Whoever picks the most convenient of several promises picks the one that luck made most convenient. Here shares
        are fixed, not errors: which limit lets a share stand alone is known before any label is, so that one test, read
        at every error, gives an upper confidence bound; and each share takes its part of the allowed chance of a wrong
        promise (Bonferroni), so that all bounds hold together. Left out are shares whose bound lies above
        `HIGHEST`, or is no lower than that of a larger share.
        """
        found = (self._share(share) for share in SHARES)
        steps = list(dict.fromkeys(step for step in found if step is not None))
        allowed = (1 - self.confidence) / max(len(steps), 1)
        bounds = ((step, self._bound(step, allowed)) for step in steps)
        bands = [replace(self._with(bound, step), among=len(steps)) for step, bound in bounds if bound is not None]
        return tuple(
            one for at, one in enumerate(bands) if all(one.accepted < more.accepted for more in bands[at + 1 :])
        )

    def chosen(self, accepted: float) -> Band:
        """Return the band for an error accepted after seeing what is offered: the largest share bounded by it.

        Raises:
            MedbenchError: No share that is offered is bounded by it.
        """
        offered = self.offered()
        fitting = [band for band in offered if band.accepted <= accepted]
        if not fitting or not accepted < 1:
            least = min((band.accepted for band in offered), default=None)
            found = f"{100 * accepted:g}% on {self.n:,} items"
            todo = "Train on more rows." if least is None else f"Accept at least {least:.1%}."
            raise MedbenchError("an accepted error that can be promised", found, todo)
        best = max(fitting, key=lambda band: band.share)
        return replace(best, accepted=accepted)

    def _share(self, share: float) -> Step | None:
        """Return the first step that lets so many stand alone; it depends on expected errors, not on labels."""
        return next((step for step in self.steps if step.n >= share * self.n), None)

    def _bound(self, step: Step, chances: float) -> float | None:
        """Return the error, from `BOUNDS`, that a step's error lies above with such a chance at most; None if none."""
        kept = p_values(np.array([step.n]), np.array([step.error]), np.array(BOUNDS), self.answer) <= chances
        return BOUNDS[int(kept.argmax())] if kept.any() else None

    def _with(self, accepted: float, step: Step | None) -> Band:
        best = step or Step(0.0, 0, 0.0)
        share = best.n / self.n
        return replace(self, accepted=accepted, limit=best.limit, share=share, error=best.error, among=1)

    def _best(self, accepted: float, chances: float) -> Step | None:
        """Return the highest limit that the tests reach when together they may be wrong with such a chance."""
        allowed = chances / len(STARTS)
        kept = self._p_values(accepted) <= allowed
        best: Step | None = None
        for start in STARTS:
            for step, passes in zip(self.steps, kept, strict=True):
                if step.limit < start * accepted:
                    continue
                if not passes:
                    break
                best = step if best is None or step.limit > best.limit else best
        return best

    def _p_values(self, accepted: float) -> Floats:
        n, error = np.array([step.n for step in self.steps]), np.array([step.error for step in self.steps])
        return p_values(n, error, np.array(accepted), self.answer)

    def with_least(self) -> Band:
        """Return the band with the least error that could be promised.

        Whole percents are tried downwards until one cannot be promised of any share: again fixed-sequence testing, so
        that it is safe to say that all above the last could be. How much each would let stand alone is another
        question (`offered`). Percents above every expected error have no limit to be tried at, which is known before
        any label is.
        """
        found, highest = None, max((step.limit for step in self.steps), default=0.0)
        for part in range(99, 0, -1):
            if STARTS[0] * part / 100 > highest:
                continue
            if not self._best(part / 100, 1 - self.confidence):
                break
            found = part / 100
        return replace(self, least=found)

    def usual(self) -> Band:
        """Return the band for whoever names no error: what is usually accepted, where that can be promised.

        Where it cannot, everything goes to a person. Only with many labels, where a share of labels wrong or missing
        has no usual size, a share is fixed instead, `WORTH` of the answers, and its error bounded: the limit is known
        before any label is, so that one test read at every percent gives an upper confidence bound. That is done, too,
        where the usual error lets fewer stand alone. The two ways share the allowed chance of a wrong promise, so both
        may be looked at before one is taken.
        """
        wanted, chances = ACCEPTED[self.answer], 1 - self.confidence
        if self.answer == "one":
            return self.at(wanted)
        best, half = self._best(wanted, chances / 2), self._share(WORTH)
        bound = None if half is None else self._bound(half, chances / 2)
        if bound is None or (best is not None and best.n >= WORTH * self.n):
            return self._with(wanted, best)
        return self._with(math.ceil(100 * bound - 1e-9) / 100, half)

    def numbers(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return asdict(self)

    def promise(self) -> str:
        """Return what is promised, one short sentence."""
        what = WHAT[self.answer].format(percent(self.accepted))
        if not self.limit:
            more = "" if self.least is None or self.among > 1 else f"; the least that could be: {self.least:.0%}"
            return f"Every answer goes to a person: {what} could not be guaranteed on {self.n:,} items{more}."
        joint = f", for all {self.among} shares that were offered together" if self.among > 1 else ""
        return f"Of answers that no person is asked about, {what} ({self.confidence:.0%} confidence{joint})."


def percent(share: float) -> str:
    """Return a share in whole percent where it is one, else with one decimal: "5%", "3.4%"."""
    return f"{share:.0%}" if abs(100 * share - round(100 * share)) < 1e-6 else f"{share:.1%}"


FAULT: Final[dict[AnswerKind, str]] = {"one": "wrong", "many": "of labels wrong or missing"}
WHAT: Final[dict[AnswerKind, str]] = {answer: f"at most {{}} {fault}" for answer, fault in FAULT.items()}


def band_from(facts: Mapping[str, Any]) -> Band:
    """Return what `Band.numbers` wrote."""
    return Band(**{**facts, "steps": tuple(Step(**one) for one in facts["steps"])})


def fit(expectation: Floats, error: Floats, answer: AnswerKind, groups: Sequence[str] = ()) -> Band:
    """Choose the largest share of answers whose error is bounded (`Band.usual`); `Band.at` takes another error.

    Args:
        expectation: (n,) expected errors of items that neither the model nor the calibration was fitted on.
        error: (n,) what they came to.
        answer: "one" or "many".
        groups: n group keys. Items of one group are not independent: one of each, drawn at random, is used.
    """
    rows = _one_per_group(len(error), groups)
    order = np.argsort(expectation[rows], kind="stable")
    ranked, wrong = expectation[rows][order], np.concatenate([[0.0], np.cumsum(error[rows][order])])
    steps: list[Step] = []
    for limit in LIMITS:
        below = int(np.searchsorted(ranked, limit, side="left"))
        if below and (not steps or below > steps[-1].n):
            steps.append(Step(limit, below, float(wrong[below]) / below))
    return Band(answer, ACCEPTED[answer], CONFIDENCE, len(rows), tuple(steps)).with_least().usual()


def _one_per_group(n: int, groups: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the positions of one item of each group, drawn by a generator of its own: nothing else may move."""
    if not groups:
        return np.arange(n)
    order = np.random.default_rng(0).permutation(n)
    _, first = np.unique(np.array(groups)[order], return_index=True)
    return np.sort(order[first])


def chance(step: Step, accepted: float, answer: AnswerKind) -> float:
    """Return the p-value of "the error is above what is accepted": how likely so few errors would be if it were."""
    return float(p_values(np.array([step.n]), np.array([step.error]), np.array([accepted]), answer)[0])


def p_values(n: npt.NDArray[np.int64], error: Floats, accepted: Floats, answer: AnswerKind) -> Floats:
    """Return the p-values of "the error is above what is accepted", element by element.

    Args:
        n: Items.
        error: Their mean error, 0-1.
        accepted: What is accepted, 0-1.
        answer: "one": exact binomial; "many": the Hoeffding-Bentkus bound.
    """
    from scipy.special import bdtr

    if answer == "one":
        return np.asarray(bdtr(np.rint(n * error), n, accepted), dtype=np.float64)
    found = np.maximum(error, 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):  # an error of 1 is above whatever is accepted
        apart = found * np.log(found / accepted) + (1 - found) * np.log((1 - found) / (1 - accepted))
    bentkus = np.e * bdtr(np.ceil(n * error - 1e-9), n, accepted)
    bound = np.minimum(np.minimum(np.exp(-n * apart), bentkus), 1.0)
    return np.asarray(np.where(error >= accepted, 1.0, bound), dtype=np.float64)
