"""Answers for the groups of a label tree: nodes without examples, answered by the labels below them.

Where an item has one label, a group's probability is the sum over its labels, exactly: they exclude each other. Where
it may have many, the chance that at least one of them is true is first put together as if they were independent,
1 - prod(1 - p), which they are not; a Platt line per group, fitted on the same held-out items as all calibration,
corrects it. Lastly it is raised to the largest probability below it where it falls short: whatever is said of a label
is a floor for what contains it. A group is decided when, and only when, one of its labels is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import hierarchy, metrics
from medbench.calibration import EPSILON, expected_calibration_error
from medbench.calibrators import LabelLines, fit_method
from medbench.errors import MedbenchError
from medbench.hierarchy import Hierarchy
from medbench.records import LabelScore, Scores, Truth
from medbench.workspace import read_json, undamaged

Floats = npt.NDArray[np.float64]
_LEAST = 0.01  # groups less probable than this are not told of one item


@dataclass(frozen=True)
class GroupAnswers:
    """A model's tree, and how the answers of its groups come about.

    Attributes:
        tree: The tree.
        slope: (G,) slope of each group's Platt line; empty for one label per item.
        intercept: (G,) its intercept.
    """

    tree: Hierarchy
    slope: Floats
    intercept: Floats

    @cached_property
    def _members(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Columns of all groups' labels, one group after another, and where each group begins."""
        each = [self.tree.below(group) for group in self.tree.groups]
        starts = np.cumsum([0, *(len(one) for one in each[:-1])]) if each else np.zeros(0)
        return np.array([column for one in each for column in one], dtype=np.int64), starts.astype(np.int64)

    @cached_property
    def _inside(self) -> list[npt.NDArray[np.int64]]:
        """(2, g) groups and the groups right above them, as positions in `tree.groups`; a level each, leaves first."""
        place = {group: at for at, group in enumerate(self.tree.groups)}
        levels: dict[int, list[tuple[int, int]]] = {}
        for group, at in place.items():
            above = self.tree.above(group)
            if up := next((one for one in above if one in place), ""):
                levels.setdefault(-len(above), []).append((at, place[up]))
        return [np.array(levels[depth], dtype=np.int64).T for depth in sorted(levels)]

    def probabilities(self, prob: Scores) -> Scores:
        """Return (n, G) float32, the groups' probabilities, from the (n, L) calibrated ones of the labels."""
        columns, starts = self._members
        if not len(starts):
            return np.zeros((len(prob), 0), dtype=np.float32)
        if self.tree.answer == "one":
            return np.add.reduceat(prob[:, columns], starts, axis=1).clip(0, 1).astype(np.float32)
        claimed = _at_least_one(prob, columns, starts).astype(np.float32)
        found = self._lines(claimed) if len(self.slope) else np.zeros(claimed.shape)
        found = np.maximum(found, np.maximum.reduceat(prob[:, columns].astype(np.float64), starts, axis=1))
        for lower, upper in self._inside:
            np.maximum.at(found.T, upper, found.T[lower])
        return found.clip(0, 1).astype(np.float32)

    @cached_property
    def _lines(self) -> LabelLines:
        nothing = np.empty(0)
        return LabelLines(self.slope, self.intercept, nothing, nothing, np.zeros(len(self.slope), dtype=np.int64))

    def decided(self, decided: Truth) -> Truth:
        """Return (n, G) bool: the groups of the labels that were decided; truth goes the same way."""
        columns, starts = self._members
        if not len(starts):
            return np.zeros((len(decided), 0), dtype=bool)
        return np.asarray(np.logical_or.reduceat(decided[:, columns], starts, axis=1))

    def of_one(self, prob: Scores, decided: Truth) -> tuple[LabelScore, ...]:
        """Return the groups of one item, decided ones first, then the most probable, larger ones first among equals.

        Groups that are less probable than 1 % and not decided are left out: a tree of codes has thousands.

        Args:
            prob: (L,) its calibrated probabilities.
            decided: (L,) bool.
        """
        values, chosen = self.probabilities(prob[None])[0], self.decided(decided[None])[0]
        order = np.lexsort((-np.arange(len(values)), -values, ~chosen))
        order = order[chosen[order] | (values[order] >= _LEAST)]
        return tuple(
            LabelScore(
                self.tree.groups[at],
                self.tree.name_of(self.tree.groups[at]),
                round(float(values[at]), 4),
                0.0,
                bool(chosen[at]),
            )
            for at in order.tolist()
        )

    def implied(self, labels: Sequence[str]) -> list[str]:
        """Return the names of the groups that hold any of these labels, larger ones first."""
        held = {node for label in labels for node in (label, *self.tree.above(label))}
        return [self.tree.name_of(group) for group in reversed(self.tree.groups) if group in held]

    def save(self, folder: Path) -> None:
        """Write the tree and the lines into a model's folder."""
        hierarchy.save(folder, self.tree, slope=self.slope.tolist(), intercept=self.intercept.tolist())


def load(folder: Path) -> GroupAnswers | None:
    """Return what `GroupAnswers.save` wrote; None for a model without a tree."""
    tree = hierarchy.load(folder)
    if tree is None:
        return None
    facts = read_json(folder / hierarchy.FILE)
    with undamaged(folder, "model"):
        return GroupAnswers(tree, np.array(facts["slope"], dtype=np.float64), np.array(facts["intercept"], np.float64))


def _at_least_one(prob: Scores, columns: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> Floats:
    nowhere = np.log1p(-np.clip(prob[:, columns].astype(np.float64), 0, 1 - EPSILON))
    return np.asarray(-np.expm1(np.add.reduceat(nowhere, starts, axis=1)))


def fit(tree: Hierarchy, prob: Scores, truth: Truth) -> GroupAnswers:
    """Fit the groups' lines.

    Args:
        tree: The tree.
        prob: (n, L) calibrated probabilities of items that the model was not fitted on.
        truth: (n, L) bool.

    Raises:
        MedbenchError: The tree was made for other labels.
    """
    if truth.shape[1] != len(tree.labels):
        raise MedbenchError(
            f"a tree of {truth.shape[1]:,} labels",
            f"one of {len(tree.labels):,}",
            "Set the tree of this dataset again.",
        )
    bare = GroupAnswers(tree, np.zeros(0), np.zeros(0))
    columns, starts = bare._members
    if tree.answer == "one" or not len(starts) or not len(truth):
        return bare
    lines = fit_method("platt", _at_least_one(prob, columns, starts).astype(np.float32), bare.decided(truth))
    if not isinstance(lines, LabelLines):
        raise TypeError("Platt's method gives lines")
    return GroupAnswers(tree, lines.slope, lines.intercept)


def figures(found: GroupAnswers, prob: Scores, truth: Truth, decided: Truth) -> list[dict[str, Any]]:
    """Return one row per group that is true or decided somewhere, as `metrics.per_label` has them; largest first.

    Each also has "name" and "labels", the number of labels under it.
    """
    true, said, values = found.decided(truth), found.decided(decided), found.probabilities(prob)
    live = np.flatnonzero(true.any(axis=0) | said.any(axis=0))
    names = [found.tree.groups[at] for at in live]
    rows = metrics.per_label(true[:, live], values[:, live], said[:, live], names)
    told = [
        {**row, "name": found.tree.name_of(row["label"]), "labels": len(found.tree.below(row["label"]))} for row in rows
    ]
    return sorted(told, key=lambda row: -row["n"])


def calibration_error(found: GroupAnswers, prob: Scores, truth: Truth) -> float:
    """Return the expected calibration error of the groups' probabilities, 0-1."""
    return expected_calibration_error(found.probabilities(prob), found.decided(truth), "many")
