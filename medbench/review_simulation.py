"""Replays a review on a labelled set: how soon would the relevant records have been read?

`simulate` replays once; `Replays` says what several replays with other starts come to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import datasets
from medbench.errors import MedbenchError
from medbench.review_choosing import STRATEGIES, Strategy, strategy_of, worth
from medbench.review_learning import FAMILIES, Known, Pool, learn
from medbench.review_stopping import CONFIDENCE, TARGET, advise
from medbench.workspace import Workspace

Flags = npt.NDArray[np.bool_]
_LOOKS = 100
_READING = 0.8  # share of the time that reading takes; the rest goes to the stop advice


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
    return Simulation(read, relevant[read], begun, *_stopped(relevant[read], begun, tell))


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
            told = f"{found:,} of {n_relevant:,} relevant records after {len(order):,} read."
            tell(_READING * len(order) / len(relevant), told)
    return np.array([*order, *np.flatnonzero(unread).tolist()], dtype=np.int64)


def _stopped(
    relevant: Flags, begun: int, tell: Callable[[float, str], None] | None
) -> tuple[int | None, float | None, int, int]:
    """Ask for stop advice at a hundred places; return the first stop, its true recall, and how often it was wrong."""
    n = len(relevant)
    found = np.cumsum(relevant)
    stop: int | None = None
    looks = np.unique(np.linspace(begun, n, _LOOKS).astype(int))
    wrong = 0
    for look, read in enumerate(looks.tolist()):
        if tell is not None:
            tell(_READING + (1 - _READING) * look / len(looks), "Asking when the stop advice would have come.")
        advice = advise(relevant[:read], n, TARGET, CONFIDENCE)
        wrong += advice.recall_low > found[read - 1] / found[-1] + 1e-12
        if stop is None and advice.may_stop:
            stop = read
    return stop, None if stop is None else float(found[stop - 1] / found[-1]), len(looks), wrong


# --- several starts ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be replayed.

    Attributes:
        dataset: Id or name of a labelled dataset of texts.
        label: The label that counts as relevant.
        strategy: How the next record is chosen.
        family: Who ranks.
        every: Learn again after this many records.
        starts: How many starts to draw.
    """

    dataset: str
    label: str
    strategy: Strategy = "certainty"
    family: str = "linear"
    every: int = 10
    starts: int = 3


def checked(strategy: str, family: str) -> Strategy:
    """Return the strategy of this name. Raises MedbenchError when it or the family is none of those there are."""
    known = next((one for one in STRATEGIES if one == strategy), None)
    if known is None:
        raise MedbenchError(f"one of {', '.join(STRATEGIES)}", repr(strategy), "Choose one of these.")
    if family not in FAMILIES:
        raise MedbenchError(f"one of {', '.join(FAMILIES)}", repr(family), "Choose one of these.")
    return known


def labelled(workspace: Workspace, dataset: str, label: str) -> tuple[list[str], Flags]:
    """Return the labelled texts of a dataset, and (n,) which of them carry the label.

    Raises:
        MedbenchError: It is none of texts, or has no such label.
    """
    held = datasets.load(workspace, dataset)
    if held.item != "text":
        raise MedbenchError("a dataset of texts", f"one of pictures ({held.name})", "Choose a dataset of texts.")
    if label not in held.labels:
        known = ", ".join(held.labels[:40]) or "none"
        raise MedbenchError(f"a label of {held.name}", repr(label), f"Choose one of these: {known}.")
    examples = held.examples()
    return list(examples.items), examples.truth[:, held.labels.index(label)]


@dataclass(frozen=True, slots=True)
class Replays:
    """Several replays of one question, each begun with two other records.

    Attributes:
        records: Records there are.
        relevant: Relevant ones among them.
        replays: One table row for each start: seed, read_for_95, saved_at_95, recall_at_10_percent, stop_at,
            recall_at_stop.
        found: (n_starts, n) how many relevant ones were found after each record read.
    """

    records: int
    relevant: int
    replays: tuple[dict[str, float | int | None], ...]
    found: npt.NDArray[np.int32]

    @property
    def saved(self) -> float:
        """The mean work saved over sampling at 95 % recall, 0-1 (below 0: worse than a random order)."""
        return float(np.mean([float(one["saved_at_95"] or 0) for one in self.replays]))

    def facts(self) -> dict[str, Any]:
        """Return everything but the curves."""
        return {
            "records": self.records, "relevant": self.relevant, "replays": list(self.replays),
            "saved_at_95": self.saved,
        }  # fmt: skip


def replay(
    items: Sequence[str], relevant: Flags, asked: Asked, tell: Callable[[float, str], None] | None = None
) -> Replays:
    """Replay a review from several starts.

    Args:
        items: n texts.
        relevant: (n,) the truth.
        asked: What is to be replayed; of the dataset only what was read from it counts.
        tell: Told (share of the starts done 0-1, sentence).

    Raises:
        MedbenchError: There is nothing to tell apart.
    """
    pool, rows, found = Pool(items), [], []
    for seed in range(asked.starts):

        def heard(share: float, sentence: str, seed: int = seed) -> None:
            if tell is not None:
                tell((seed + share) / asked.starts, f"Start {seed + 1} of {asked.starts}: {sentence}")

        one = simulate(
            items, relevant, strategy=asked.strategy, family=asked.family, every=asked.every, tell=heard, pool=pool,
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        found.append(np.cumsum(one.relevant).astype(np.int32))
        rows.append(_row(seed, one))
    return Replays(len(items), int(relevant.sum()), tuple(rows), np.array(found))


def _row(seed: int, one: Simulation) -> dict[str, float | int | None]:
    return {
        "seed": seed,
        "read_for_95": one.read_for(0.95),
        "saved_at_95": round(one.saved(), 4),
        "recall_at_10_percent": round(one.recall_after(0.1), 4),
        "stop_at": one.stop,
        "recall_at_stop": one.stop_recall,
    }
