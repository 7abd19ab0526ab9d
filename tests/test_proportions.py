"""Shares and their intervals: by hand, against SciPy, and with items in groups."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from medbench import resampling
from medbench.proportions import effective_items, share_interval, wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (6, 6), (7, 31), (999, 1000)])
def test_wilson_as_scipy(hits: int, n: int) -> None:
    ours = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == (pytest.approx(ours.low), pytest.approx(ours.high))
    assert share_interval(np.arange(n) < hits) == (pytest.approx(ours.low), pytest.approx(ours.high))


def test_effective_items_by_hand() -> None:
    equal = np.repeat([True, False, True, False], 3)
    # Four groups of three that agree within: the ratio estimator gives 4 / 3 of three items to one.
    assert effective_items(equal, np.repeat(np.arange(4), 3)) == pytest.approx(12 / 3)
    assert effective_items(equal, np.arange(12)) == pytest.approx(12 / (12 / 11), abs=1.1)
    assert effective_items(np.ones(12), np.repeat(np.arange(4), 3)) == pytest.approx(4)
    assert effective_items(np.tile([True, False, True], 4), np.repeat(np.arange(4), 3)) == 12


def test_the_grouped_interval_keeps_its_level() -> None:
    rng, groups, kept = np.random.default_rng(3), np.repeat(np.arange(60), 4), {"grouped": 0, "alone": 0}
    for _ in range(400):
        alike = rng.random(60) < 0.8  # a whole lesion is found or missed
        hits = np.repeat(alike, 4)
        for name, keys in (("grouped", groups), ("alone", None)):
            low, high = share_interval(hits, keys)
            kept[name] += low <= 0.8 <= high
    assert kept["grouped"] >= 0.92 * 400 and kept["alone"] < 0.8 * 400


def test_an_interval_leaves_out_what_is_undefined() -> None:
    drawn = np.concatenate([np.linspace(0, 1, 101), np.full(50, np.nan)])
    assert resampling.interval(drawn) == (pytest.approx(0.025), pytest.approx(0.975))
    assert resampling.interval(np.concatenate([drawn, np.full(60, np.nan)])) is None
    assert resampling.interval(np.ones(100)) is None and resampling.interval(np.zeros(0)) is None
