"""How well readers agree beyond chance: Cohen's and Fleiss' κ, Krippendorff's α. Nominal labels, pure functions.

1 is perfect agreement, 0 what chance alone would give. NaN where only one category was ever used: then agreement
cannot be told from habit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Return Cohen's (1960) κ of two readers over the same items.

    Raises:
        ValueError: When the two did not read the same number of items, or none.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"two readings of the same items, not of {len(first)} and {len(second)}")
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    left, right = Counter(first), Counter(second)
    expected = sum(left[label] * right[label] for label in left) / n**2
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def fleiss_kappa(counts: npt.NDArray[np.int64]) -> float:
    """Return Fleiss' (1971) κ of several readers, the same number for every item.

    Args:
        counts: (n_items, n_categories) how many readers chose each category.

    Raises:
        ValueError: When items were read by different numbers of readers, or by fewer than two.
    """
    readers = counts.sum(axis=1)
    if not len(counts) or readers.min() != readers.max() or readers[0] < 2:
        raise ValueError("the same number of readers, at least two, for every item")
    m = int(readers[0])
    observed = float(((counts**2).sum(axis=1) - m).mean() / (m * (m - 1)))
    expected = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def krippendorff_alpha(readings: Sequence[Sequence[Hashable | None]]) -> float:
    """Return Krippendorff's α for nominal labels; readers may have left items out (Krippendorff 2011).

    Args:
        readings: One sequence per reader, all over the same items; None where a reader gave no label.

    Raises:
        ValueError: When the readers' sequences differ in length.
    """
    if len({len(reader) for reader in readings}) > 1:
        raise ValueError("readings of the same items")
    totals: Counter[Hashable] = Counter()
    disagreeing = 0.0
    for unit in zip(*readings, strict=True):
        given = [label for label in unit if label is not None]
        if len(given) < 2:
            continue  # nothing to compare with
        here = Counter(given)
        totals.update(here)
        disagreeing += sum(count * (len(given) - count) for count in here.values()) / (len(given) - 1)
    n = sum(totals.values())
    expected = sum(count * (n - count) for count in totals.values())
    return 1 - (n - 1) * disagreeing / expected if expected else math.nan
