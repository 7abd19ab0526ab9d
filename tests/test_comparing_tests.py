"""The statistics on hand-worked and published tables, and what must hold for any table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medbench import comparing_tests as tests


def test_mcnemar_on_a_table_worked_by_hand() -> None:
    found = tests.mcnemar(1, 5)
    assert found.exact == pytest.approx(2 * (1 + 6) / 64)  # 2 · P(X <= 1), X of 6 fair tosses
    assert found.mid_p == pytest.approx((2 * (1 + 6) - 6) / 64)
    assert found.chi2 == pytest.approx(3**2 / 6)  # (|1 - 5| - 1)² / 6


def test_mcnemar_without_or_with_equal_discordant_items() -> None:
    assert tests.mcnemar(0, 0) == tests.McNemar(0, 0, 1.0, 1.0, 0.0, 1.0)
    equal = tests.mcnemar(2, 2)
    assert (equal.exact, equal.chi2, equal.chi2_p) == (1.0, 0.0, 1.0)
    assert equal.mid_p == pytest.approx(1 - 0.5 * 6 / 16)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=40)
def test_mcnemar_does_not_care_which_model_is_first(b: int, c: int) -> None:
    one, other = tests.mcnemar(b, c), tests.mcnemar(c, b)
    assert (one.exact, one.mid_p, one.chi2_p) == (other.exact, other.mid_p, other.chi2_p)
    assert 0 <= one.mid_p <= one.exact <= 1


def ratings() -> tuple[np.ndarray, np.ndarray]:
    """The 109 CT readings of Hanley & McNeil (1982): five ratings of 58 normal and 51 abnormal patients."""
    normal, abnormal = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)
    scores = np.concatenate([np.repeat(np.arange(1, 6), counts) for counts in (normal, abnormal)])
    return np.arange(109) >= 58, scores.astype(float)


def test_delong_on_the_readings_of_hanley_and_mcneil() -> None:
    truth, scores = ratings()
    found = tests.delong(truth, scores[None])
    assert found.auc[0] == pytest.approx(0.8932, abs=5e-5)
    assert math.sqrt(found.covariance[0, 0]) == pytest.approx(0.0307, abs=5e-5)
    low, high = found.interval(0)
    assert (low, high) == (pytest.approx(0.83295, abs=5e-6), pytest.approx(0.95339, abs=5e-6))


def test_delong_on_four_items_worked_by_hand() -> None:
    truth = np.array([True, True, False, False])
    first = np.array([0.9, 0.4, 0.5, 0.1])  # the second true item loses to the first false one: 3 of 4 pairs
    second = np.array([0.9, 0.8, 0.5, 0.1])
    found = tests.delong(truth, np.stack([first, second]))
    assert found.auc.tolist() == [3 / 4, 1.0]
    # Shares won by the true items 1, 1/2 and kept by the false ones 1/2, 1: variance 1/8 each, over two items.
    assert found.covariance.tolist() == [[1 / 8, 0.0], [0.0, 0.0]]
    difference = found.difference(0, 1)
    assert difference.value == 1 / 4
    assert difference.z == pytest.approx(0.25 / math.sqrt(1 / 8))


def test_delong_with_the_same_ranking_twice_finds_nothing() -> None:
    truth, scores = ratings()
    difference = tests.delong(truth, np.stack([scores, scores * 2])).difference(0, 1)
    assert (difference.value, difference.p) == (0.0, 1.0)


def test_delong_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="not 1 and 3"):
        tests.delong(np.array([True, False, False, False]), np.arange(4.0)[None])


def test_holm_steps_down() -> None:
    assert tests.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([3 * 0.01, 2 * 0.03, 2 * 0.03, 4 * 0.005])
    assert tests.holm([0.6, 0.9]) == [1.0, 1.0]
    assert tests.holm([]) == []


def test_mean_and_sample_deviation() -> None:
    assert tests.mean_sd([1.0, 3.0]) == (2.0, pytest.approx(math.sqrt(2)))
    assert tests.mean_sd([0.7]) == (0.7, 0.0)


def test_rank_correlation_by_hand() -> None:
    r, low, high = tests.rank_correlation([1, 2, 3, 4, 5], [1, 2, 3, 5, 4])
    assert r == pytest.approx(1 - 6 * 2 / (5 * 24))
    assert low < r < high
    assert math.isnan(tests.rank_correlation([1, 1, 1, 1], [1, 2, 3, 4])[0])


def test_net_benefit_by_hand() -> None:
    truth = np.array([True, True, False, False, False])
    prob = np.array([0.9, 0.3, 0.6, 0.2, 0.1])
    found = tests.net_benefit(truth, prob, np.array([0.0, 0.25, 0.5]))
    assert found == pytest.approx([2 / 5, 2 / 5 - 1 / 5 * (1 / 3), 1 / 5 - 1 / 5])
