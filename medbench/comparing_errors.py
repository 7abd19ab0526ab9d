"""Where two models part, record by record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medbench.comparing_judged import Answered

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Kind = Literal["only_first", "only_second", "both_wrong"]
KINDS: tuple[Kind, ...] = ("only_first", "only_second", "both_wrong")


@dataclass(frozen=True, slots=True)
class Parting:
    """How two models fare on one label, or on whole items.

    Attributes:
        label: The label; None for whole items (every label of the item right).
        n: Items that count: those of the true label ("one"), those where the label is true or decided ("many"), or all.
        both_right: Items both got right.
        only_first: Items only the first got right.
        only_second: Items only the second got right.
        both_wrong: Items neither got right.
    """

    label: str | None
    n: int
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int


def partings(first: Answered, second: Answered) -> list[Parting]:
    """Return one entry for whole items, then one per label that counts anywhere, those with most partings first."""
    found = []
    for at, label in enumerate(first.labels):
        one = _parting(label, *_rights(first, second, at))
        if one.n:
            found.append(one)
    found.sort(key=lambda one: -(one.only_first + one.only_second))
    return [_parting(None, *_rights(first, second, None)), *found]


def _parting(label: str | None, counts: Flags, first: Flags, second: Flags) -> Parting:
    kinds = (counts, first & second, first & ~second, second & ~first, ~first & ~second)
    return Parting(label, *(int((counts & kind).sum()) for kind in kinds))


def _rights(first: Answered, second: Answered, at: int | None) -> tuple[Flags, Flags, Flags]:
    """Return (n,) which items count, which the first got right, which the second."""
    if at is None:
        return np.ones(len(first.truth), dtype=bool), first.right, second.right
    true, one, other = first.truth[:, at], first.decided[:, at], second.decided[:, at]
    if first.answer == "one":
        return true, one, other
    return true | one | other, one == true, other == true


def rows_of(first: Answered, second: Answered, label: str | None, kind: Kind) -> Ints:
    """Return the judged items of one kind for a label (or whole items), those where the models differ most first."""
    at = None if label is None else first.labels.index(label)
    counts, one, other = _rights(first, second, at)
    chosen = {"only_first": one & ~other, "only_second": other & ~one, "both_wrong": ~one & ~other}[kind]
    rows = np.flatnonzero(counts & chosen)
    columns = slice(None) if at is None else slice(at, at + 1)
    apart = np.abs(first.probabilities[rows, columns].astype(np.float64) - second.probabilities[rows, columns])
    return rows[np.argsort(-apart.max(axis=1, initial=0.0), kind="stable")]


def confused(model: Answered, true: str, decided: str) -> Ints:
    """Return the judged items that carry one label and for which another was decided, surest first."""
    column = model.labels.index(decided)
    rows = np.flatnonzero(model.truth[:, model.labels.index(true)] & model.decided[:, column])
    return rows[np.argsort(-model.probabilities[rows, column], kind="stable")]
