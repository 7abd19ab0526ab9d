"""One share and its interval: so many of n, also where items come in groups that resemble each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_Z95 = 1.959963984540054


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927): it stays inside 0-1 and holds for few items.

    Args:
        hits: How many of the items; a sum of shares will do, and gets a wide interval.
        n: Items, above 0; of items in groups, the effective number.
    """
    found, squared = hits / n, _Z95**2
    middle = (found + squared / (2 * n)) / (1 + squared / n)
    half = _Z95 * math.sqrt(max(found * (1 - found), 0.0) / n + squared / (4 * n * n)) / (1 + squared / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def effective_items(hits: npt.NDArray[Any], groups: Sequence[Any] | npt.NDArray[Any]) -> float:
    """Return how many independent items n grouped ones are worth for their share: n over the design effect.

    The design effect is the variance of the share as a ratio over groups, over that of as many independent items (Rao &
    Scott 1992); it is never taken as below 1, nor as above what groups of wholly equal items would give (Kish 1965).
    Where all items hit, or none, nothing shows how alike a group is: wholly alike is assumed.

    Args:
        hits: (n,) bool or shares in 0-1, n at least 1.
        groups: (n,) keys of what belongs together (patient, lesion, article).
    """
    values = np.asarray(hits, dtype=np.float64)
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    sizes, found = np.bincount(group).astype(np.float64), np.bincount(group, weights=values)
    n, share = len(values), float(values.mean())
    alike = float((sizes**2).sum()) / n
    alone = float(((values - share) ** 2).sum()) / n**2
    if alone == 0 or len(sizes) < 2:
        return n / alike
    together = len(sizes) / (len(sizes) - 1) * float(((found - share * sizes) ** 2).sum()) / n**2
    return n / min(max(together / alone, 1.0), alike)


def share_interval(
    hits: npt.NDArray[Any], groups: Sequence[Any] | npt.NDArray[Any] | None = None
) -> tuple[float, float]:
    """Return the 95 % interval of the share of (n,) hits: Wilson's, with the effective number of items where grouped.

    Args:
        hits: (n,) bool or shares in 0-1, n at least 1.
        groups: (n,) keys of what belongs together; None when items are independent.
    """
    n = float(len(hits)) if groups is None else effective_items(hits, groups)
    return wilson(float(np.mean(hits, dtype=np.float64)) * n, n)
