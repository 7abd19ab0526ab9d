"""A job's champion and its challenger at work: how often they agree, and who is right more often.

What readers settle on afterwards is the measure: the labels they confirm or correct, the codes that stand on a note's
sheet. The same text or picture asked again tells nothing new and counts once. Items that came together (a file, a drop
of pictures) may be alike, so intervals rest on as many items as they are worth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from medbench import job_history, resampling
from medbench.aliases import Challenger, Job
from medbench.comparing_tests import mcnemar
from medbench.comparing_verdict import p_words
from medbench.job_history import Asked
from medbench.proportions import share_interval, wilson
from medbench.workspace import Workspace

_DRAWS, _SEED = 2000, 7
FEW = 30
"""With fewer items that readers settled, a sentence says that it is early."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of items with its 95 % interval.

    Attributes:
        count: Items for which it holds.
        n: Items it rests on.
        low: Lower end (Wilson 1927).
        high: Upper end.
    """

    count: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share, 0-1; NaN of nothing."""
        return self.count / self.n if self.n else math.nan

    @property
    def words(self) -> str:
        """What the user reads, "84% (76% to 90%, 92 of 110)"."""
        return f"{self.value:.0%} ({self.low:.0%} to {self.high:.0%}, {self.count:,} of {self.n:,})"


def share(count: int, n: int) -> Share:
    """Return a share with its Wilson (1927) score interval; 0 to 1 of nothing."""
    return Share(count, n, *(wilson(count, n) if n else (0.0, 1.0)))


def share_of(hits: Sequence[bool], together: Sequence[str]) -> Share:
    """Return a share whose interval rests on as many items as (n,) hits in groups are worth; 0 to 1 of nothing."""
    if not hits:
        return share(0, 0)
    return Share(sum(hits), len(hits), *share_interval(np.array(hits), together))


@dataclass(frozen=True, slots=True)
class Overlap:
    """Of the labels that were given or are right, how many are both: the mean over items that readers settled.

    One wrong code among twelve makes a whole answer wrong; this says how wrong (Jaccard index).

    Attributes:
        champion: Its mean, 0-1.
        challenger: Its mean, 0-1.
        difference: How much higher the challenger's is.
        low: Lower end of the difference's 95 % interval, by resampling what came together; NaN when nothing varies.
        high: Upper end.
    """

    champion: float
    challenger: float
    difference: float
    low: float
    high: float


def overlap_of(settled: Sequence[Asked]) -> Overlap:
    """Return how far the labels of both models and of readers overlap on items that both answered, at least one."""
    values = np.array([[_jaccard(one.chosen, one.right), _jaccard(one.unseen, one.right)] for one in settled])
    kin = np.unique([one.together for one in settled], return_inverse=True)[1]
    sums = np.zeros((kin.max() + 1, 2))
    np.add.at(sums, kin, np.column_stack([values[:, 1] - values[:, 0], np.ones(len(values))]))
    drawn = resampling.resample_weights(len(sums), np.random.default_rng(_SEED), _DRAWS) @ sums
    low, high = resampling.interval(drawn[:, 0] / drawn[:, 1]) or (math.nan, math.nan)
    first, second = (float(one) for one in values.mean(axis=0))
    return Overlap(first, second, second - first, low, high)


def _jaccard(given: frozenset[str], right: frozenset[str] | None) -> float:
    either = given | (right or frozenset())
    return len(given & (right or frozenset())) / len(either) if either else 1.0


def apart(settled: Sequence[Asked]) -> tuple[tuple[int, int], float]:
    """Return how often only the first was right and only the second, and the p of that being chance.

    Exact McNemar over independent items. What came together counts as one: within a group whose items are answered
    alike, only the side that has more of them on its own can be drawn (a sign test over groups).
    """
    first = [one.chosen == one.right for one in settled]
    second = [one.unseen == one.right for one in settled]
    net: dict[str, int] = {}
    for one, mine, theirs in zip(settled, first, second, strict=True):
        net[one.together] = net.get(one.together, 0) + int(mine) - int(theirs)
    only = (
        sum(mine and not theirs for mine, theirs in zip(first, second, strict=True)),
        sum(theirs and not mine for mine, theirs in zip(first, second, strict=True)),
    )
    return only, mcnemar(sum(value > 0 for value in net.values()), sum(value < 0 for value in net.values())).exact


def difference(first: Share, second: Share) -> tuple[float, float, float]:
    """Return how much higher `second` is than `first`, independent items, and its 95 % interval.

    Newcombe's (1998) method 10, from the two Wilson intervals.
    """
    value = second.value - first.value
    low = value - math.hypot(second.value - second.low, first.high - first.value)
    return value, low, value + math.hypot(second.high - second.value, first.value - first.low)


@dataclass(frozen=True, slots=True)
class Contest:
    """How a champion and a challenger fared on the items that were really asked.

    Attributes:
        champion: Model id.
        challenger: Model id.
        shown: How many answers of each were shown: (champion, challenger).
        agreement: Of items that both answered, the share with the very same labels; n is 0 when they shared the items.
        right: Of items that readers settled, the share that each had wholly right: (champion, challenger).
        paired: Whether these shares rest on the same items.
        parted: Of the same items: only the champion right, only the challenger right.
        p: Exact p of these two counts (McNemar; items that came together count once), None when the items are not the
            same.
        overlap: Of the same items, how far the labels overlap; None when the items are not the same, or have one label.
        owed: Answers of the champion for which the challenger, in the shadow, has none: (texts that are kept, so that
            it can still answer; pictures and texts that are not kept, which are lost once the server has stopped).
    """

    champion: str
    challenger: str
    shown: tuple[int, int]
    agreement: Share
    right: tuple[Share, Share]
    paired: bool
    parted: tuple[int, int] = (0, 0)
    p: float | None = None
    overlap: Overlap | None = None
    owed: tuple[int, int] = (0, 0)

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping, its sentences included."""
        return {**asdict(self), "sentences": self.sentences()}

    def sentences(self, name: Callable[[str], str] = str) -> list[str]:
        """Return what these figures say; `name` turns a model's id into what the user reads."""
        champion, challenger = name(self.champion), name(self.challenger)
        theirs = f", {self.shown[1]:,} of {challenger}" if self.shown[1] else ""
        told = [f"Answers shown: {self.shown[0]:,} of {champion}{theirs}.", *_owed_words(self.owed, challenger)]
        if self.agreement.n:
            told.append(f"They give the same labels to {self.agreement.words}.")
        elif self.shown[1]:
            told.append("Each item was answered by one of them, so how often they agree is not known.")
        settled = self.right[0].n + self.right[1].n
        if not settled:
            told.append("No reader has confirmed or corrected an answer yet, so who is right more often is not known.")
            return told
        told += [
            f"{who} was right on {one.words}." for who, one in zip((champion, challenger), self.right, strict=True)
        ]
        told.append(self._verdict(champion, challenger))
        if self.overlap is not None:
            told.append(_overlap_words(self.overlap, champion, challenger))
        told.append(
            "These are the answers that readers confirmed or corrected, which are rarely a random sample. A text or a "
            "picture that was asked again counts once. What came together (a file, a drop of pictures) may be alike; "
            "the intervals allow for that."
        )
        if min(self.right[0].n, self.right[1].n) < FEW:
            told.append(f"It is early: with fewer than {FEW} settled items of each, chance decides much.")
        return told

    def _verdict(self, champion: str, challenger: str) -> str:
        if self.paired:
            only = f"only {champion} was right on {self.parted[0]:,}, only {challenger} on {self.parted[1]:,}"
            told = self.p is not None and self.p < 0.05
            p = "" if self.p is None else f" ({p_words(self.p)})"
            return (
                f"Of the same items {only}{p}: {'a real difference' if told else 'within chance'}. Readers saw what "
                f"{champion} said and not what {challenger} would have: it is easier to confirm than to correct, which "
                f"favours {champion}."
            )
        if not (self.right[0].n and self.right[1].n):
            return "Only one of them has been checked by readers."
        value, low, high = difference(*self.right)
        kind = "within chance" if low <= 0 <= high else "a real difference"
        if value < 0:
            value, low, high = -value, -high, -low
            challenger, champion = champion, challenger
        points = f"{100 * value:.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
        return f"{challenger} is right more often than {champion} by {points}: {kind}."


def _owed_words(owed: tuple[int, int], challenger: str) -> list[str]:
    """Say how many answers of a challenger are still lacking, and whether they will come."""
    coming, lost = owed
    told = []
    if coming:
        told.append(
            f"{challenger} has still to answer for {coming:,} of them; where the server stopped before their turn, it "
            "answers when the server runs again."
        )
    if lost:
        told.append(
            f"For {lost:,} of them it has no answer: pictures, and texts that are not kept, are lost to it when the "
            "server stops before their turn."
        )
    return told


def _overlap_words(found: Overlap, champion: str, challenger: str) -> str:
    """Say how far the labels overlap, as mean shares with the interval of the difference."""
    spread = "" if math.isnan(found.low) else f" ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
    return (
        f"Of the labels given or right, {found.champion:.0%} were both for {champion} and {found.challenger:.0%} for "
        f"{challenger}, on average: a difference of {100 * found.difference:+.1f} points{spread}."
    )


def fared(workspace: Workspace, job: Job, challenger: str = "") -> Contest | None:
    """Return how the champion fared against its challenger, or against any other model; None without one.

    Args:
        workspace: Where the history lies.
        job: The job.
        challenger: Id of the other model; the present challenger when empty.
    """
    other = challenger or (job.challenger.model if job.challenger else "")
    if not other:
        return None
    # Only what was asked while both were at it: other times bring other items.
    asked = [one for one in job_history.asked_of(workspace, job.name) if one.at >= job.since(other)]
    both = [one for one in asked if one.model == job.champion and one.unseen_by == other]
    mine = [one for one in asked if one.model == job.champion]
    theirs = [one for one in asked if one.model == other]
    counted = once(both)
    agreement = share_of([one.chosen == one.unseen for one in counted], [one.together for one in counted])
    shown = (len(mine), len(theirs))
    settled = once([one for one in both if one.right is not None])
    if settled:
        found = _paired(job.champion, other, shown, agreement, settled)
    else:
        found = Contest(job.champion, other, shown, agreement, (_right(mine), _right(theirs)), paired=False)
    if job.challenger is None or job.challenger != Challenger(other):
        return found
    lacking = [one.kept for one in mine if one.unseen_by != other]
    return replace(found, owed=(sum(lacking), len(lacking) - sum(lacking)))


def once(asked: Sequence[Asked]) -> list[Asked]:
    """Return answers, oldest first, each text and picture once: the newest, which is what counts now."""
    return list({one.own or at: one for at, one in enumerate(asked)}.values())


def _right(asked: Sequence[Asked]) -> Share:
    settled = once([one for one in asked if one.right is not None])
    return share_of([one.chosen == one.right for one in settled], [one.together for one in settled])


def _paired(
    champion: str, challenger: str, shown: tuple[int, int], agreement: Share, settled: Sequence[Asked]
) -> Contest:
    groups = [one.together for one in settled]
    parted, p = apart(settled)
    right = (
        share_of([one.chosen == one.right for one in settled], groups),
        share_of([one.unseen == one.right for one in settled], groups),
    )
    several = any(len(labels) > 1 for one in settled for labels in (one.chosen, one.unseen, one.right or ()))
    overlap = overlap_of(settled) if several else None
    return Contest(champion, challenger, shown, agreement, right, True, parted, p, overlap)
