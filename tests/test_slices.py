"""Tables that are worked on in slices give what they give as one."""

from __future__ import annotations

import numpy as np
import pytest

from medbench import areas, calibration, calibrators, code_metrics, metrics, slices, thresholds, trust
from medbench.slices import area_over_pairs, slices_of


@pytest.fixture
def table(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores of 120 items and 300 labels, with ties."""
    truth = rng.random((120, 300)) < 0.02
    prob = np.where(truth, rng.beta(3, 2, truth.shape), rng.beta(1, 20, truth.shape)).round(2).astype(np.float32)
    return truth, prob


def test_slices_cover_every_row_once() -> None:
    rows = np.arange(10_000)
    parts = slices_of(len(rows), 3_000)
    assert len(parts) > 1
    assert np.array_equal(np.concatenate([rows[one] for one in parts]), rows)
    assert slices_of(100, 100) == [slice(0, 40_000)]


def test_the_area_over_pairs_is_that_of_sorting_them(
    table: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.metrics import roc_auc_score

    truth, prob = table
    monkeypatch.setattr(slices, "SLICE_CELLS", 1_000)
    assert area_over_pairs(truth, prob) == pytest.approx(roc_auc_score(truth.ravel(), prob.ravel()), abs=1e-12)
    # 3 true pairs against 1 false one: one above, one tied, one below.
    truth, prob = np.array([[True, True], [True, False]]), np.array([[0.9, 0.5], [0.1, 0.5]])
    assert area_over_pairs(truth, prob) == pytest.approx(1.5 / 3)
    assert np.isnan(area_over_pairs(np.zeros((2, 2), dtype=bool), prob))


def test_large_tables_are_judged_as_small_ones_are(
    table: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, prob = table
    decided = prob > 0.4

    def judged() -> dict[str, float]:
        draw = np.random.default_rng(1)
        found = metrics.evaluate(truth, prob, decided, answer="many", rng=draw, n_boot=0)
        codes = code_metrics.figures(truth, prob, decided, rng=draw, n_boot=20)
        about = {
            "ece": calibration.expected_calibration_error(prob, truth, "many"),
            "loss": calibration.log_loss(prob, truth, "many"),
        }
        return {**{k: m.value for k, m in found.items()}, **{f"c_{k}": m.high or 0 for k, m in codes.items()}, **about}

    whole = judged()
    monkeypatch.setattr(slices, "SLICE_CELLS", 1_000)
    monkeypatch.setattr(areas, "SLICE_CELLS", 1_000)
    assert judged() == pytest.approx(whole, abs=1e-9)


def test_trust_fitted_in_slices_is_nearly_the_same(
    table: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, prob = table
    whole = trust.fit_trust(prob, truth, "many", None, None, np.random.default_rng(2))
    answers, doubt = whole.calibrate(prob), whole.doubt(prob)
    monkeypatch.setattr(slices, "SLICE_CELLS", 10_000)
    assert np.array_equal(whole.calibrate(prob), answers)
    assert np.array_equal(whole.doubt(prob), doubt)
    # Only the line that all labels share differs: it comes from every fourth item.
    parted = calibrators.fit_method("platt", prob, truth)(prob)
    monkeypatch.setattr(slices, "SLICE_CELLS", 4_000_000)
    assert np.abs(parted - calibrators.fit_method("platt", prob, truth)(prob)).mean() < 0.003


def test_the_conformal_cutoff_weighs_an_items_labels_equally(table: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prob = table
    cutoff = thresholds.conformal_cutoff(prob.astype(np.float64), truth, "many", 0.9)
    assert cutoff is not None
    labelled = truth.any(axis=1)
    found = ((prob >= np.float32(cutoff)) & truth).sum(axis=1)[labelled] / truth.sum(axis=1)[labelled]
    assert found.mean() >= 0.9
