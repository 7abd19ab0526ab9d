"""A job's champion and its challenger at work: who answers for an item, how often they agree, who is right more often.

A challenger with a share answers for the items that a hash gives it; one in the shadow answers for every item, and only
the history sees it. What readers settle on afterwards is the measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medbench import aliases, gathering, history, job_history, predicting
from medbench.aliases import Job
from medbench.comparing_tests import mcnemar
from medbench.comparing_verdict import p_words
from medbench.job_history import Asked
from medbench.proportions import wilson
from medbench.records import Item, Prediction
from medbench.workspace import Workspace

FEW = 30
"""With fewer items that readers settled, a sentence says that it is early."""


# --- answering -------------------------------------------------------------------------------------------------


def answer(workspace: Workspace, name: str, items: Sequence[Item]) -> tuple[list[Prediction], list[str]]:
    """Answer for texts as a job, and keep all of it in the history.

    Args:
        workspace: Where models, jobs and the history lie.
        name: The job, with or without the sign.
        items: n texts.

    Returns:
        n answers, each naming the model that gave it, and their n ids in the history ("" for an empty text).

    Raises:
        MedbenchError: No such job, its champion is missing or reads no texts, or the history cannot be written.
    """
    job = aliases.get_whole(workspace, name)
    texts = [item.joined for item in items]
    answers: list[Prediction | None] = [None] * len(items)
    for model, places in aliases.parts(job, texts).items():
        loaded = predicting.load_for(workspace, model, "text")
        for at, given in zip(places, gathering.predict(loaded, [items[at] for at in places]), strict=True):
            answers[at] = given
    whole = [given for given in answers if given is not None]
    return whole, keep(workspace, job, items, whole)


def keep(workspace: Workspace, job: Job, items: Sequence[Item], answers: Sequence[Prediction]) -> list[str]:
    """Keep what was shown for a job, and what a challenger in the shadow would have said; return the n ids."""
    told = [at for at, given in enumerate(answers) if not given.problem]
    ids = dict(
        zip(
            told,
            history.record(workspace, [answers[at] for at in told], [items[at] for at in told], job=job.name),
            strict=True,
        )
    )
    if told and job.challenger is not None and job.challenger.mode == "shadow":
        loaded = predicting.load_for(workspace, job.challenger.model, "text")
        unseen = gathering.predict(loaded, [items[at] for at in told])
        job_history.shadow(workspace, [ids[at] for at in told], unseen, job.name)
    return [ids.get(at, "") for at in range(len(answers))]


# --- how they fare ---------------------------------------------------------------------------------------------


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
        p: Exact p of these two counts (McNemar), None when the items are not the same.
    """

    champion: str
    challenger: str
    shown: tuple[int, int]
    agreement: Share
    right: tuple[Share, Share]
    paired: bool
    parted: tuple[int, int] = (0, 0)
    p: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping, its sentences included."""
        return {**asdict(self), "sentences": self.sentences()}

    def sentences(self, name: Callable[[str], str] = str) -> list[str]:
        """Return what these figures say; `name` turns a model's id into what the user reads."""
        champion, challenger = name(self.champion), name(self.challenger)
        theirs = f", {self.shown[1]:,} of {challenger}" if self.shown[1] else ""
        told = [f"Answers shown: {self.shown[0]:,} of {champion}{theirs}."]
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
        told.append(
            "These are the answers that readers confirmed or corrected, which are rarely a random sample; each counts "
            "as independent, a text asked twice as two."
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
    since = max((move.at for move in job.moves if move.act == "challenge" and move.model == other), default=0.0)
    asked = [one for one in job_history.asked_of(workspace, job.name) if one.at >= since]
    both = [one for one in asked if one.model == job.champion and one.unseen_by == other]
    mine = [one for one in asked if one.model == job.champion]
    theirs = [one for one in asked if one.model == other]
    agreement = share(sum(one.chosen == one.unseen for one in both), len(both))
    shown = (len(mine), len(theirs))
    settled = [one for one in both if one.right is not None]
    if settled:
        return _paired(job.champion, other, shown, agreement, settled)
    right = (_right(mine), _right(theirs))
    return Contest(job.champion, other, shown, agreement, right, paired=False)


def _right(asked: Sequence[Asked]) -> Share:
    settled = [one for one in asked if one.right is not None]
    return share(sum(one.chosen == one.right for one in settled), len(settled))


def _paired(
    champion: str, challenger: str, shown: tuple[int, int], agreement: Share, settled: Sequence[Asked]
) -> Contest:
    first = [one.chosen == one.right for one in settled]
    second = [one.unseen == one.right for one in settled]
    parted = (
        sum(one and not other for one, other in zip(first, second, strict=True)),
        sum(other and not one for one, other in zip(first, second, strict=True)),
    )
    right = (share(sum(first), len(settled)), share(sum(second), len(settled)))
    return Contest(champion, challenger, shown, agreement, right, True, parted, mcnemar(*parted).exact)
