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
"""Share of answers with many labels that should stand alone when a larger error than the usual has to be accepted."""
CONFIDENCE: Final = 0.95
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
        best = self._best(accepted) or Step(0.0, 0, 0.0)
        return replace(self, accepted=accepted, limit=best.limit, share=best.n / self.n, error=best.error)

    def _best(self, accepted: float) -> Step | None:
        """Return the highest limit that the tests reach."""
        allowed = (1 - self.confidence) / len(STARTS)
        best: Step | None = None
        for start in STARTS:
            for step in (one for one in self.steps if one.limit >= start * accepted):
                if chance(step, accepted, self.answer) > allowed:
                    break
                best = step if best is None or step.limit > best.limit else best
        return best

    def with_least(self) -> Band:
        """Return the band with the least error that could be promised.

        Whole percents are tried downwards until one cannot be promised: again fixed-sequence testing, so that all
        above the last hold together, and one of them may be chosen after seeing what it lets stand alone. Percents
        above every expected error have no limit to be tried at, which is known before any label is.
        """
        found, highest = None, max((step.limit for step in self.steps), default=0.0)
        for part in range(99, 0, -1):
            if STARTS[0] * part / 100 > highest:
                continue
            if not self._best(part / 100):
                break
            found = part / 100
        return replace(self, least=found)

    def usual(self) -> Band:
        """Return the band for whoever names no error: what is usually accepted, where that can be promised.

        Where it cannot, everything goes to a person. Only with many labels, where a share of labels wrong or missing
        has no usual size, the least error is taken that lets at least `WORTH` of the answers stand alone, if any does.
        """
        wanted = ACCEPTED[self.answer]
        if self.answer == "one" or self.least is None or (wanted >= self.least and self._best(wanted)):
            return self.at(wanted)
        more = (self.at(part / 100) for part in range(round(100 * max(self.least, wanted)), 100))
        return next((band for band in more if band.share >= WORTH), self.at(wanted))

    def numbers(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return asdict(self)

    def promise(self) -> str:
        """Return what is promised, one short sentence."""
        what = WHAT[self.answer].format(f"{self.accepted:.0%}" if self.accepted >= 0.01 else f"{self.accepted:.1%}")
        if not self.limit:
            more = "" if self.least is None else f"; the least that could be: {self.least:.0%}"
            return f"Every answer goes to a person: {what} could not be guaranteed on {self.n:,} items{more}."
        return f"Of answers that no person is asked about, {what} ({self.confidence:.0%} confidence)."


WHAT: Final[dict[AnswerKind, str]] = {"one": "at most {} wrong", "many": "at most {} of labels wrong or missing"}


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
    from scipy.stats import binom

    if answer == "one":
        return float(binom.cdf(round(step.n * step.error), step.n, accepted))
    if step.error >= accepted:
        return 1.0
    found = max(step.error, 1e-12)
    apart = found * np.log(found / accepted) + (1 - found) * np.log((1 - found) / (1 - accepted))
    bentkus = np.e * binom.cdf(np.ceil(step.n * step.error - 1e-9), step.n, accepted)
    return float(min(np.exp(-step.n * apart), bentkus, 1.0))
