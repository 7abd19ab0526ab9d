"""κ and α on published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medbench import agreement


def test_cohen_on_a_table_worked_by_hand() -> None:
    # 20 both yes, 5 only the first, 10 only the second, 15 both no: observed 35/50, by chance 1/4 + 1/4.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert agreement.cohen_kappa(first, second) == pytest.approx((0.7 - 0.5) / 0.5)


def test_fleiss_on_a_published_table() -> None:
    rows = "0 0 0 0 14|0 2 6 4 2|0 0 3 5 6|0 3 9 2 0|2 2 8 1 1|7 7 0 0 0|3 2 6 3 0|2 5 3 2 2|6 5 2 1 0|0 2 2 3 7"
    counts = np.array([[int(cell) for cell in row.split()] for row in rows.split("|")])
    assert agreement.fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


def test_alpha_on_krippendorffs_own_example_with_gaps() -> None:
    gap = None
    readers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, gap, gap, gap],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, gap, 3],
        [gap, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, gap],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, gap],
    ]
    assert agreement.krippendorff_alpha(readers) == pytest.approx(0.743, abs=5e-4)


def test_two_readers_without_gaps() -> None:
    # Units aa, ab, bb, bb: one pair differs, counted both ways; 3 a and 5 b in all.
    assert agreement.krippendorff_alpha([list("aabb"), list("aabb")]) == 1
    assert agreement.krippendorff_alpha([list("aabb"), list("abbb")]) == pytest.approx(1 - 7 * 2 / (3 * 5 * 2))


def test_one_category_alone_says_nothing() -> None:
    assert math.isnan(agreement.cohen_kappa(["a", "a"], ["a", "a"]))
    assert math.isnan(agreement.krippendorff_alpha([["a", "a"], ["a", "a"]]))
    assert math.isnan(agreement.fleiss_kappa(np.array([[2, 0], [2, 0]])))


def test_different_items_are_refused() -> None:
    with pytest.raises(ValueError, match="same items"):
        agreement.cohen_kappa(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="same items"):
        agreement.krippendorff_alpha([["a"], ["a", "b"]])
    with pytest.raises(ValueError, match="same number of readers"):
        agreement.fleiss_kappa(np.array([[1, 1], [2, 1]]))
