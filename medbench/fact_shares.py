"""What the patient's facts add to an answer about a picture: exact Shapley values over age, sex and site."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.predicting import Loaded
from medbench.records import join_image, part_image

Floats = npt.NDArray[np.float64]
FACTS = ("age", "sex", "site")
_WORTH_A_WORD = 0.005  # probability; less is called nothing


def reads_facts(loaded: Loaded) -> bool:
    """Return whether a model reads age, sex and site."""
    return bool(loaded.card.get("options", {}).get("metadata"))


@dataclass(frozen=True, slots=True)
class FactShares:
    """How the probabilities of a picture moved because facts of the patient were told.

    Attributes:
        told: Fact -> what was told.
        alone: Label -> calibrated probability of the picture alone, every fact missing.
        shares: Label -> fact -> what telling it added to the probability; they add up to the answer less `alone`.
    """

    told: Mapping[str, str]
    alone: Mapping[str, float]
    shares: Mapping[str, Mapping[str, float]]

    def sentence(self, label: str, name: str) -> str:
        """Say what the facts added for one label, called `name`, in one plain sentence."""
        shares = self.shares[label]
        moved = ", ".join(
            f"{fact} {self.told[fact]} {_points(shares[fact])}"
            for fact in sorted(shares, key=lambda one: -abs(shares[one]))
        )
        return f"What is known of the patient, for {name}: {moved} (the picture alone: {self.alone[label]:.2f})."

    def as_json(self) -> dict[str, Any]:
        """Return the same, JSON-ready."""
        rounded = {label: {fact: round(value, 4) for fact, value in row.items()} for label, row in self.shares.items()}
        return {
            "told": dict(self.told),
            "alone": {label: round(value, 4) for label, value in self.alone.items()},
            "shares": rounded,
        }


def share_facts(loaded: Loaded, item: str) -> FactShares | None:
    """Share out among the facts what they add to each label's probability; None where no fact is read or told.

    The model answers once for each set of facts, at most eight times, so the values are exact. All facts together are
    asked first and alone: right after an answer that is the item a model of pictures remembers.

    Args:
        loaded: A model of pictures.
        item: A picture with its facts (`records.join_image`).
    """
    path, told = part_image(item)
    known = {fact: told[fact] for fact in FACTS if told.get(fact)}
    if not known or not reads_facts(loaded):
        return None

    def answers(sets: Sequence[tuple[str, ...]]) -> Floats:
        *fewer, _ = sets
        asked = [join_image(path, {fact: known[fact] for fact in some}) for some in fewer]
        with loaded.lock:
            whole = loaded.model.scores([item])
            scores = np.concatenate([loaded.model.scores(asked), whole])
        return loaded.trust.calibrate(scores).astype(np.float64)

    values, alone = shapley_values(tuple(known), answers)
    shares = {
        label: {fact: float(values[row, column]) for row, fact in enumerate(known)}
        for column, label in enumerate(loaded.labels)
    }
    return FactShares(known, {label: float(alone[at]) for at, label in enumerate(loaded.labels)}, shares)


def shapley_values(
    players: tuple[str, ...], worth: Callable[[Sequence[tuple[str, ...]]], Floats]
) -> tuple[Floats, Floats]:
    """Return the (players, L) exact Shapley values (Shapley 1953) and the (L,) worth of nobody.

    phi_i = sum over sets S without i of |S|! (n - |S| - 1)! / n! x (worth(S and i) - worth(S)).

    Args:
        players: Who share; their 2^n sets are all asked for at once.
        worth: Sets of players, each in the order of `players`, nobody first and all of them last -> (sets, L) what each
            is worth.
    """
    n = len(players)
    sets = [some for size in range(n + 1) for some in combinations(players, size)]
    worths = dict(zip(sets, worth(sets), strict=True))
    values = np.zeros((n, len(worths[()])))
    for at, player in enumerate(players):
        for some in sets:
            if player not in some:
                joined = tuple(one for one in players if one in some or one == player)
                weight = factorial(len(some)) * factorial(n - len(some) - 1) / factorial(n)
                values[at] += weight * (worths[joined] - worths[some])
    return values, np.asarray(worths[()], dtype=np.float64)


def _points(share: float) -> str:
    return f"{share:+.2f}".replace("-", "−") if abs(share) >= _WORTH_A_WORD else "adds nothing"
