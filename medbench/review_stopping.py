"""May a reader stop? What is known of the relevant records that nobody has read yet, with its confidence.

The statistic is that of Callaghan and Müller-Hansen, "Statistical stopping criteria for automated screening in
systematic reviews" (Systematic Reviews 9, 2020): had the records behind some point been drawn at random from those
unread there, how surprising would so few relevant ones be if many were left? The point with the smallest answer counts.
A ranking that is better than chance reads relevant records earlier than a draw would, so the answer then errs on the
side of reading on; under a ranking no better than chance it is too hopeful, because of the choice among points. A
random sample of the unread, where there is one, needs no such trust and gives an interval on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
CONFIDENCE = 0.95
TARGET = 0.95
_POINTS = 400


@dataclass(frozen=True, slots=True)
class Advice:
    """What can be said about stopping.

    Attributes:
        total: Records there are.
        read: Records read.
        found: Relevant ones among them.
        target: The recall that is wanted, 0-1.
        p: How likely so few relevant records would have come lately if the target were missed; below
            1 - confidence the target is reached.
        recall_low: Recall that is reached at least, with the stated confidence, 0-1.
        missed_most: Relevant records that may be unread at most, with the stated confidence.
        streak: Irrelevant records in a row at the end: a hint, no proof.
        confidence: The stated confidence, 0-1.
    """

    total: int
    read: int
    found: int
    target: float
    p: float
    recall_low: float
    missed_most: int
    streak: int
    confidence: float = CONFIDENCE

    @property
    def may_stop(self) -> bool:
        """True when the target is reached with the stated confidence."""
        return self.found > 0 and self.p < 1 - self.confidence


@dataclass(frozen=True, slots=True)
class Estimate:
    """Recall as a random sample of the unread records tells it.

    Attributes:
        recall: Estimated recall, 0-1; None when nothing relevant was found at all: then it has no value.
        low: Lower end of its interval; 0 when nothing was found.
        high: Upper end; 1 when nothing was found.
        sampled: Records in the sample.
        hits: Relevant ones among them.
        urn: Unread records that the sample was drawn from.
        left_most: Relevant records that may have been among these at most, by the same interval.
    """

    recall: float | None
    low: float
    high: float
    sampled: int
    hits: int
    urn: int
    left_most: int


def advise(relevant: Flags, total: int, target: float = TARGET, confidence: float = CONFIDENCE) -> Advice:
    """Say what the records read so far tell about those unread.

    Args:
        relevant: (n_read,) whether each was relevant, in the order they were read.
        total: Records there are, read and unread.
        target: Wanted recall, 0-1.
        confidence: Wanted confidence, 0-1.

    Raises:
        ValueError: More records were read than there are.
    """
    read = len(relevant)
    if read > total:
        raise ValueError(f"{read} of {total} records read")
    found = int(relevant.sum())
    missed = _missed_most(relevant, total, 1 - confidence)
    streak = read - (int(np.flatnonzero(relevant)[-1]) + 1 if found else 0)
    low = found / (found + missed) if found + missed else 1.0
    # The fewest relevant records in all with which the target would be missed; the paper's K_tar is this less those
    # found before the point.
    all_of_them = int(np.floor(found / target + 1e-9)) + 1
    return Advice(
        total, read, found, target, _least_p(relevant, total, all_of_them - found), low, missed, streak, confidence
    )


def _least_p(relevant: Flags, total: int, missed: int) -> float:
    """Return the smallest p over all points of H0: at least `missed` relevant records are unread."""
    from scipy.stats import hypergeom

    read = len(relevant)
    if missed > total - read:
        return 0.0  # not that many are unread
    if not read:
        return 1.0
    points = np.unique(np.linspace(0, read - 1, min(read, _POINTS)).astype(np.int64))
    before = np.concatenate([[0], np.cumsum(relevant)])
    behind = before[-1] - before[points]
    chance = hypergeom.cdf(behind, total - points, behind + missed, read - points)
    return float(np.min(chance))


def _missed_most(relevant: Flags, total: int, alpha: float) -> int:
    """Return how many relevant records may be unread: the most that is not refuted at level alpha."""
    low, high = 0, total - len(relevant)
    while low < high:
        middle = (low + high + 1) // 2
        if _least_p(relevant, total, middle) < alpha:
            high = middle - 1
        else:
            low = middle
    return low


def estimate(found: int, urn: int, sampled: int, hits: int, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate recall from a random sample of the unread records.

    The interval is exact: every number of relevant records in the urn that the hypergeometric distribution does not
    refute on either side is in it.

    Args:
        found: Relevant records found in all, those of the sample included.
        urn: Unread records when the sample was drawn.
        sampled: Records drawn and read.
        hits: Relevant ones among them.
        confidence: Of the interval, 0-1.

    Raises:
        ValueError: The numbers do not fit together.
    """
    from scipy.stats import hypergeom

    if not 0 <= hits <= sampled <= urn or hits > found:
        raise ValueError(f"{hits} hits in {sampled} of {urn}, {found} found")
    inside = np.arange(hits, urn - (sampled - hits) + 1)
    tail = (1 - confidence) / 2
    likely = (hypergeom.cdf(hits, urn, inside, sampled) > tail) & (hypergeom.sf(hits - 1, urn, inside, sampled) > tail)
    kept = inside[likely]
    most, least = int(kept[-1]), int(kept[0])
    if not found:
        return Estimate(None, 0.0, 1.0, sampled, hits, urn, most)
    guess = hits / sampled * urn if sampled else float(urn)
    recall, low, high = (found / (found - hits + in_urn) for in_urn in (guess, most, least))
    return Estimate(recall, low, high, sampled, hits, urn, most)
