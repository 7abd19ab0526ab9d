"""Probabilities that respect a tree: what is implied is never less probable than what implies it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def ordered(prob: Floats, above: Ints) -> Floats:
    """Return the nearest table, item by item, in which no column exceeds the one above it.

    It is the least-squares projection onto such tables, isotonic regression on a tree (Pardalos & Xue 1999): a column
    that exceeds the one above it is pooled with it, and both take the mean of their pool. The truth is such a table as
    well, and a projection onto a convex set moves no point away from any point of the set: no item's Brier score gets
    worse. Raising the upper column to the lower one instead could make it worse without limit.

    Args:
        prob: (n, L) probabilities; not changed.
        above: (L,) column of the label right above, -1 for none.

    Returns:
        (n, L) float64.
    """
    table = np.array(prob, dtype=np.float64)
    lower = np.flatnonzero(above >= 0)
    if not len(lower):
        return table
    broken = (table[:, lower] > table[:, above[lower]]).any(axis=1)
    order = _from_leaves(above)
    for row in np.flatnonzero(broken):
        table[row] = _pooled(table[row], above, order)
    return table


def _from_leaves(above: Ints) -> list[int]:
    """Return the columns so that each stands after those below it."""
    depth = np.zeros(len(above), dtype=np.int64)
    for column in range(len(above)):
        at = int(above[column])
        while at >= 0:
            depth[column] += 1
            at = int(above[at])
    return [int(column) for column in np.argsort(-depth, kind="stable")]


def _pooled(values: Floats, above: Ints, order: Sequence[int]) -> Floats:
    """Project one item. A pool holds its columns and the pools right below it, each no larger than itself."""
    members: dict[int, list[int]] = {}
    mean: dict[int, float] = {}
    under: dict[int, list[int]] = {column: [] for column in order}
    for column in order:
        members[column], mean[column] = [column], float(values[column])
        while under[column]:
            top = max(under[column], key=mean.__getitem__)
            if mean[top] <= mean[column]:
                break
            n_own, n_top = len(members[column]), len(members[top])
            mean[column] = (n_own * mean[column] + n_top * mean[top]) / (n_own + n_top)
            members[column] += members.pop(top)
            under[column].remove(top)
            under[column] += under[top]
        if above[column] >= 0:
            under[int(above[column])].append(column)
    result = np.empty_like(values)
    for pool, columns in members.items():
        result[columns] = mean[pool]
    return result
