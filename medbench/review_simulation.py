"""Replays a review on a labelled set: how soon would the relevant records have been read?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError
from medbench.review_choosing import Strategy, strategy_of, worth
from medbench.review_learning import Known, Pool, learn
from medbench.review_stopping import CONFIDENCE, TARGET, advise

Flags = npt.NDArray[np.bool_]
_LOOKS = 100


@dataclass(frozen=True, slots=True)
class Simulation:
    """How a replayed review went.

    Attributes:
        order: (n,) positions in the order they would have been read; what was known at the start comes first.
        relevant: (n,) whether each was relevant, in that order.
        begun: Records known at the start.
        stop: Records read when the stop advice first said that the target recall was reached, or None if never.
        stop_recall: The recall that was true then.
        claims: How often a lower bound of recall was stated.
        wrong_claims: How often the true recall was below it.
    """

    order: npt.NDArray[np.int64]
    relevant: Flags
    begun: int
    stop: int | None
    stop_recall: float | None
    claims: int
    wrong_claims: int

    def read_for(self, recall: float) -> int:
        """Return how many records are read when this recall is reached."""
        found = np.cumsum(self.relevant)
        needed = int(np.ceil(recall * found[-1] - 1e-9))
        return int(np.searchsorted(found, needed)) + 1

    def saved(self, recall: float = 0.95) -> float:
        """Return the work saved over sampling at a recall (WSS, Cohen et al. 2006): 1 - read / n - (1 - recall)."""
        return 1 - self.read_for(recall) / len(self.order) - (1 - recall)

    def recall_after(self, share: float) -> float:
        """Return the recall after this share of all records was read."""
        found = np.cumsum(self.relevant)
        return float(found[max(int(share * len(found)), 1) - 1] / found[-1])


def simulate(
    items: Sequence[str],
    relevant: Flags,
    *,
    begin: Sequence[int] = (),
    strategy: Strategy = "certainty",
    family: str = "linear",
    question: str = "",
    every: int = 1,
    rng: np.random.Generator | None = None,
    tell: Callable[[float, str], None] | None = None,
    pool: Pool | None = None,
) -> Simulation:
    """Read a labelled set as a person would who follows the ranking.

    Args:
        items: n texts.
        relevant: (n,) the truth.
        begin: Positions known at the start; one relevant and one irrelevant, drawn, when empty.
        strategy: How the next record is chosen.
        family: Who ranks.
        question: What is looked for, in words.
        every: Learn again after this many records.
        rng: Draws the start.
        tell: Told (share done 0-1, sentence).
        pool: The texts already read, to replay several questions on them.

    Raises:
        MedbenchError: There is nothing to tell apart.
    """
    n_relevant = int(relevant.sum())
    if not 0 < n_relevant < len(relevant):
        raise MedbenchError(
            "records that carry the label and records that do not",
            f"{n_relevant:,} of {len(relevant):,} carry it",
            "Choose another label.",
        )
    rng = rng or np.random.default_rng(0)
    order = list(begin) or [int(rng.choice(np.flatnonzero(relevant == side))) for side in (True, False)]
    begun = len(order)
    read = _read_on(order, pool or Pool(items, question), relevant, strategy, family, every, tell)
    return Simulation(read, relevant[read], begun, *_stopped(relevant[read], begun))


def _read_on(
    order: list[int],
    pool: Pool,
    relevant: Flags,
    strategy: Strategy,
    family: str,
    every: int,
    tell: Callable[[float, str], None] | None,
) -> npt.NDArray[np.int64]:
    """Return all positions in reading order; behind the last relevant record they follow as they lie."""
    unread = np.ones(len(relevant), dtype=bool)
    unread[order] = False
    n_relevant, found = int(relevant.sum()), int(relevant[order].sum())
    while found < n_relevant:
        rows = np.array(order, dtype=np.int64)
        known = Known(rows, relevant[rows, None])
        ranking = learn(pool, known, family, novelty=strategy in ("mixed", "diversity"))
        for turn in range(len(order), min(len(order) + every, len(relevant))):
            value = worth(strategy_of(strategy, turn), ranking.scores, ranking.novelty)
            row = int(np.argmax(np.where(unread, value, -np.inf)))
            order.append(row)
            unread[row] = False
        found = int(relevant[order].sum())
        if tell is not None:
            tell(found / n_relevant, f"{found:,} of {n_relevant:,} relevant records after {len(order):,} read.")
    return np.array([*order, *np.flatnonzero(unread).tolist()], dtype=np.int64)


def _stopped(relevant: Flags, begun: int) -> tuple[int | None, float | None, int, int]:
    """Ask for stop advice at a hundred places; return the first stop, its true recall, and how often it was wrong."""
    n = len(relevant)
    found = np.cumsum(relevant)
    stop: int | None = None
    looks = np.unique(np.linspace(begun, n, _LOOKS).astype(int))
    wrong = 0
    for read in looks.tolist():
        advice = advise(relevant[:read], n, TARGET, CONFIDENCE)
        wrong += advice.recall_low > found[read - 1] / found[-1] + 1e-12
        if stop is None and advice.may_stop:
            stop = read
    return stop, None if stop is None else float(found[stop - 1] / found[-1]), len(looks), wrong
