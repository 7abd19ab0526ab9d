"""Trust: calibration that helps and is measured honestly, thresholds nobody sets alone, coverage that holds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medbench import trust
from medbench.calibration import expected_calibration_error, log_loss, logistic, logit, softmax
from medbench.calibrators import calibrator_from, fit_method, tried
from medbench.errors import MedbenchError
from medbench.thresholds import best_cut, conformal_cutoff, tune_thresholds


def many(rng, n_items=1200, n_labels=5, sharpness=2.5):
    """Return overconfident scores and the truth they are wrong about."""
    margins = rng.normal(size=(n_items, n_labels)) * 1.5 - np.linspace(0.5, 3, n_labels)
    return logistic(sharpness * margins).astype(np.float32), rng.random(margins.shape) < logistic(margins)


def one(rng, n_items=1200, n_labels=5, sharpness=2.5):
    """Return overconfident scores and the truth, one label per item."""
    margins = rng.normal(size=(n_items, n_labels)) * 1.5
    chosen = (softmax(margins).cumsum(axis=1) > rng.random((n_items, 1))).argmax(axis=1)
    return softmax(sharpness * margins).astype(np.float32), np.eye(n_labels, dtype=bool)[chosen]


def vectors(rng, n_items, width=16, at=0):
    """Return row-normalised vectors around one direction."""
    drawn = rng.normal(size=(n_items, width)) * 0.15
    drawn[:, at] += 1
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


MAKERS = {"many": many, "one": one}


@pytest.mark.parametrize("answer", ["many", "one"])
def test_calibration_helps_on_new_items_and_says_by_how_much(answer):
    rng = np.random.default_rng(0)
    scores, truth = MAKERS[answer](rng, 3000)
    fitted = trust.fit_trust(scores[:1500], truth[:1500], answer, None, None, rng)
    new = fitted.calibrate(scores[1500:])
    assert fitted.method != "identity"
    assert new.dtype == np.float32 and new.min() >= 0 and new.max() <= 1
    before = expected_calibration_error(scores[1500:], truth[1500:], answer)
    after = expected_calibration_error(new, truth[1500:], answer)
    assert after < 0.5 * before and after < 0.05
    assert fitted.ece_before == pytest.approx(before, abs=0.03)
    assert fitted.ece_after == pytest.approx(after, abs=0.03)
    if answer == "one":
        assert new.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_scores_that_are_right_are_left_nearly_alone():
    rng = np.random.default_rng(0)
    scores, truth = many(rng, 4000, sharpness=1.0)
    fitted = trust.fit_trust(scores, truth, "many", None, None, rng)
    assert np.abs(fitted.calibrate(scores) - scores).max() < 0.06


def test_the_reported_error_is_cross_fitted():
    # Pure noise: a map fitted and judged on the same points would look better calibrated than it is.
    rng = np.random.default_rng(0)
    scores, truth = rng.random((60, 40)).astype(np.float32), rng.random((60, 40)) < 0.2
    fitted = trust.fit_trust(scores, truth, "many", None, None, rng)
    own = expected_calibration_error(fitted.calibrate(scores), truth, "many")
    assert fitted.ece_after > own


@settings(max_examples=30)
@given(
    st.integers(0, 10_000),
    st.integers(2, 60),
    st.sampled_from(["platt", "isotonic", "identity", "beta", "temperature_each"]),
)
def test_a_higher_score_never_means_a_lower_probability(seed, n_items, method):
    rng = np.random.default_rng(seed)
    fitted = fit_method(method, rng.random((n_items, 3)).astype(np.float32), rng.random((n_items, 3)) < 0.3)
    grid = np.linspace(0, 1, 101, dtype=np.float32)[:, None].repeat(3, axis=1)
    prob = fitted(grid)
    assert np.isfinite(prob).all() and (np.diff(prob, axis=0) >= -1e-9).all()


def test_isotonic_is_kept_for_labels_with_a_hundred_positives():
    rng = np.random.default_rng(0)
    scores = rng.random((1000, 2)).astype(np.float32)
    truth = np.stack([rng.random(1000) < np.round(scores[:, 0]) * 0.6 + 0.2, rng.random(1000) < 0.03], axis=1)
    steps, line = fit_method("isotonic", scores, truth), fit_method("platt", scores, truth)
    assert log_loss(steps(scores)[:, :1], truth[:, :1], "many") < log_loss(line(scores)[:, :1], truth[:, :1], "many")
    assert steps(scores)[:, 1] == pytest.approx(line(scores)[:, 1])


def test_platt_with_a_lone_positive_leans_on_the_other_labels():
    rng = np.random.default_rng(0)
    scores, truth = many(rng, 500)
    truth[:, 4] = False
    truth[scores[:, 4].argmin(), 4] = True  # one positive at the very bottom: by itself it would turn the line over
    fitted = fit_method("platt", scores, truth)
    assert fitted.slope[4] >= 0
    assert fitted(scores)[:, 4].max() < 0.05


def test_beta_calibration_is_recovered_and_chosen_where_platts_line_is_wrong():
    rng = np.random.default_rng(0)
    scores = rng.beta(0.7, 0.9, size=(12000, 2)).astype(np.float32)
    kept = np.clip(scores.astype(float), 1e-6, 1 - 1e-6)
    # a, b, c = 0.3, 2, 0.5 for the first label; the identity for the second.
    true = np.stack([logistic(0.3 * np.log(kept[:, 0]) - 2 * np.log1p(-kept[:, 0]) + 0.5), kept[:, 1]], axis=1)
    truth = rng.random(true.shape) < true
    fitted = fit_method("beta", scores, truth)
    assert np.stack([fitted.a, fitted.b, fitted.c], axis=1) == pytest.approx(
        np.array([[0.3, 2, 0.5], [1, 1, 0]]), abs=0.15
    )
    assert np.abs(fitted(scores) - true).max() < 0.03
    chosen = trust.fit_trust(scores, truth, "many", None, None, rng)
    assert chosen.method == "beta" and chosen.losses["beta"] < chosen.losses["platt"]
    assert chosen.losses["temperature_each"] < chosen.losses["identity"]


def test_beta_calibration_agrees_with_logistic_regression_and_holds_slopes_at_zero():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    scores = rng.random((4000, 1)).astype(np.float32)
    # The pull towards pooled labels vanishes with a single label: its own fit is the pooled one.
    truth = rng.random((4000, 1)) < logistic(2 * np.log(scores) + 1)
    fitted = fit_method("beta", scores, truth)
    kept = np.clip(scores[:, 0].astype(float), 1e-6, 1 - 1e-6)
    sides = np.stack([np.log(kept), -np.log1p(-kept)], axis=1)
    theirs = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000).fit(sides, truth[:, 0])
    if theirs.coef_.min() < 0:  # Kull et al.: fix it at 0 and fit the rest again
        free = [int(theirs.coef_.argmax())]
        theirs = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000).fit(sides[:, free], truth[:, 0])
        assert (fitted.a[0], fitted.b[0])[1 - free[0]] == 0
    assert fitted(scores)[:, 0] == pytest.approx(
        theirs.predict_proba(sides if theirs.coef_.size == 2 else sides[:, free])[:, 1], abs=0.005
    )
    upside_down = fit_method("beta", scores, rng.random((4000, 1)) < 1 - scores)
    assert upside_down.a[0] == upside_down.b[0] == 0
    assert np.ptp(upside_down(scores)) == 0


def test_of_methods_on_large_tables_beta_is_not_tried():
    assert "beta" in tried("many", 1_000) and "beta" not in tried("many", 10_000_000)
    assert {name.partition("_")[0] for name in tried("one", 10)} >= {"temperature", "isotonic", "beta"}
    assert {name.partition("_")[0] for name in tried("many", 10)} >= {"temperature", "isotonic", "beta"}


def test_temperature_is_recovered():
    scores, truth = one(np.random.default_rng(0), 4000, sharpness=2.0)
    fitted = fit_method("temperature", scores, truth)
    assert fitted.scale[0] == pytest.approx(1 / 2, abs=0.05)
    assert (fitted.scale == fitted.scale[0]).all() and (fitted.shift == 0).all()


def test_best_cut_hand_worked():
    prob = np.array([0.9, 0.8, 0.6, 0.4, 0.2])
    # Above .7: tp 2, fp 0, fn 1 -> F1 4/5. Above .3: tp 3, fp 1, fn 0 -> 6/7.
    assert best_cut(prob, np.array([1, 1, 0, 1, 0], dtype=bool)) == pytest.approx((0.4 + 0.2) / 2)
    assert best_cut(prob, np.array([1, 1, 0, 0, 0], dtype=bool)) == pytest.approx((0.8 + 0.6) / 2)
    assert best_cut(np.full(4, 0.3), np.array([1, 0, 0, 0], dtype=bool)) == pytest.approx(0.15)
    assert best_cut(prob, np.zeros(5, dtype=bool)) == 1.0
    # Expected F1 at each cut: 1.8/3.9, 3.4/4.9, 4.6/5.9, 5.4/6.9, 5.8/7.9.
    assert best_cut(prob, prob) == pytest.approx((0.4 + 0.2) / 2)


def test_a_lone_lucky_point_does_not_set_a_threshold():
    rng = np.random.default_rng(0)
    prob, truth = many(rng, 2000, 4, sharpness=1.0)
    prob = prob.astype(np.float64)
    truth[:, 3] = False
    lucky = int(np.flatnonzero(prob[:, 3] < 0.02)[0])
    truth[lucky, 3] = True
    tuned = tune_thresholds(prob, truth, rng)
    assert tuned[3] > 2 * prob[lucky, 3]  # it would have to be below to catch the lucky point
    assert (prob[:, 3] >= tuned[3]).sum() <= 4
    truth[lucky, 3] = False
    assert tune_thresholds(prob, truth, rng)[3] == pytest.approx(best_cut(prob.ravel(), truth.ravel()))


def test_a_label_that_cannot_be_told_is_not_chosen_for_everyone():
    # F1 alone would choose it always: 2 x .1 / (1 + .1) beats every other cut.
    rng = np.random.default_rng(0)
    truth = rng.random((1000, 1)) < 0.1
    prob = 0.1 + 0.001 * rng.random((1000, 1))
    chosen = prob >= tune_thresholds(prob, truth, rng)
    assert 0 < chosen.sum() <= 4 * truth.sum()


def test_a_rare_label_that_is_ranked_well_is_still_chosen():
    rng = np.random.default_rng(0)
    truth = np.zeros((2000, 2), dtype=bool)
    truth[:400, 0] = truth[:4, 1] = True
    prob = np.where(truth, [[0.8, 0.12]], [[0.1, 0.001]]) * rng.uniform(0.9, 1.1, truth.shape)
    tuned = tune_thresholds(prob, truth, rng)
    assert (prob[:, 1] >= tuned[1]).sum() == 4  # a threshold shared with the frequent label would never choose it


def test_no_single_item_moves_a_frequent_label_far():
    rng = np.random.default_rng(0)
    prob, truth = many(rng, 1500, 3, sharpness=1.0)
    with_all = tune_thresholds(prob.astype(float), truth, np.random.default_rng(1))
    for row in np.flatnonzero(truth[:, 0])[:5]:
        flipped = truth.copy()
        flipped[row, 0] = False
        moved = tune_thresholds(prob.astype(float), flipped, np.random.default_rng(1))
        assert abs(moved[0] - with_all[0]) < 0.1


def test_decisions():
    rng = np.random.default_rng(0)
    scores, truth = many(rng)
    fitted = trust.fit_trust(scores, truth, "many", None, None, rng)
    assert (fitted.thresholds > 0).all() and (fitted.thresholds < 1).all()
    low = np.zeros((1, 5), dtype=np.float32)
    assert not fitted.decide(low).any()  # nothing reaches its threshold: allowed
    scores, truth = one(rng)
    fitted = trust.fit_trust(scores, truth, "one", None, None, rng)
    assert (fitted.decide(fitted.calibrate(scores)).sum(axis=1) == 1).all()
    assert fitted.decide(np.full((2, 5), 0.2, dtype=np.float32)).sum() == 2  # a tie is still one label


@pytest.mark.parametrize("answer", ["many", "one"])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_coverage_holds_on_items_from_the_same_source(answer, coverage):
    rng = np.random.default_rng(3)
    shares, sizes = [], []
    for _ in range(12):
        scores, truth = MAKERS[answer](rng, 900)
        fitted = trust.fit_trust(scores[:300], truth[:300], answer, None, None, rng, coverage=coverage)
        inside = fitted.conformal_sets(fitted.calibrate(scores[300:]))
        held = truth[300:].any(axis=1)
        found = (inside & truth[300:])[held].sum(axis=1) / truth[300:][held].sum(axis=1)
        shares.append(found.mean())
        sizes.append(inside.sum(axis=1).mean())
    assert coverage - 0.015 <= np.mean(shares) <= coverage + 0.05  # kept, and not by giving everything
    assert np.mean(sizes) < 4.5


def test_conformal_cutoff_hand_worked():
    prob = np.array(
        [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5], [0.3, 0.7], [0.1, 0.9]]
    )
    first = np.eye(2, dtype=bool)[[0] * 9]
    # Nine items, coverage .8: the floor(10 x .2) = 2nd smallest probability of the true label.
    assert conformal_cutoff(prob, first, "one", 0.8) == pytest.approx(0.2)
    # One label each: risk control allows (10 x .2 - 1) / 9 = 1 / 9, which is one miss.
    assert conformal_cutoff(prob, first, "many", 0.8) == pytest.approx(0.2)
    assert conformal_cutoff(prob[:3], first[:3], "one", 0.9) is None
    assert conformal_cutoff(prob, np.zeros_like(first), "many", 0.8) is None


def test_too_few_items_promise_nothing():
    rng = np.random.default_rng(0)
    scores, truth = one(rng, 5)
    fitted = trust.fit_trust(scores, truth, "one", None, None, rng)
    assert fitted.cutoff is None
    assert not fitted.conformal_sets(fitted.calibrate(scores)).any()


def test_doubt_hand_worked():
    rng = np.random.default_rng(0)
    scores, truth = many(rng, 200, 2)
    fitted = trust.fit_trust(scores, truth, "many", None, None, rng)
    fitted = trust.replace(fitted, thresholds=np.array([0.4, 0.5]))
    prob = np.array([[0.4, 0.0], [0.1, 0.1], [1.0, 0.0], [0.7, 0.0]], dtype=np.float32)
    assert fitted.doubt(prob) == pytest.approx([1.0, 1 - 0.3 / 0.4, 0.0, 1 - 0.3 / 0.6], abs=1e-6)
    scores, truth = one(rng, 200, 3)
    fitted = trust.fit_trust(scores, truth, "one", None, None, rng)
    prob = np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0]], dtype=np.float32)
    assert fitted.doubt(prob) == pytest.approx([1.0, 0.2], abs=1e-6)


def test_doubtful_items_are_wrong_more_often():
    rng = np.random.default_rng(0)
    scores, truth = many(rng, 4000)
    fitted = trust.fit_trust(scores[:2000], truth[:2000], "many", None, None, rng)
    prob = fitted.calibrate(scores[2000:])
    wrong = (fitted.decide(prob) != truth[2000:]).any(axis=1)
    asked = fitted.accepting(fitted.band.least + 0.1).needs_human(prob, np.zeros((2000, 0), dtype=np.float32))
    assert 0.15 < asked.mean() < 0.85
    assert wrong[asked].mean() > wrong[~asked].mean() + 0.1


def test_needs_human_for_an_open_set_and_for_an_empty_answer():
    rng = np.random.default_rng(0)
    scores, truth = one(rng)
    fitted = trust.fit_trust(scores, truth, "one", None, None, rng)
    prob = np.array([[0.96, 0.01, 0.01, 0.01, 0.01], [0.4, 0.4, 0.2, 0, 0]], dtype=np.float32)
    assert fitted.accepting(0.2).needs_human(prob, np.zeros((2, 0), np.float32)).tolist() == [False, True]
    fitted = trust.replace(fitted, band=None)  # a model from before the band
    assert fitted.needs_human(prob, np.zeros((2, 0), np.float32)).tolist() == [False, True]
    scores, truth = many(rng)
    truth[~truth.any(axis=1), 0] = True
    fitted = trust.fit_trust(scores, truth, "many", None, None, rng)
    assert fitted.expects_label
    assert fitted.needs_human(np.zeros((1, 5), np.float32), np.zeros((1, 0), np.float32)).all()


def test_strangers_are_told_from_training_items():
    rng = np.random.default_rng(0)
    scores, truth = many(rng, 400)
    fitted = trust.fit_trust(scores, truth, "many", vectors(rng, 800), vectors(rng, 400), rng)
    assert fitted.unlike(vectors(rng, 500)).mean() < 0.05
    strange = vectors(rng, 100, at=5)
    assert fitted.unlike(strange).all()
    assert (fitted.unlikeness(strange) >= 0.99).all()
    assert fitted.needs_human(fitted.calibrate(scores[: len(strange)]), strange).all()
    typical = fitted.unlikeness(vectors(rng, 500))
    assert 0.3 < np.median(typical) < 0.7
    assert len(fitted.stranger.centroids) <= 64
    nothing = np.zeros((2, 16), dtype=np.float32)
    assert fitted.unlike(nothing).all()  # a text without a known word has no direction at all


@pytest.mark.parametrize("answer", ["many", "one"])
def test_saved_and_loaded_it_answers_the_same_and_nothing_is_pickled(answer, tmp_path):
    rng = np.random.default_rng(0)
    scores, truth = MAKERS[answer](rng)
    points = vectors(rng, 1200)
    fitted = trust.fit_trust(scores, truth, answer, points, points[:300], rng)
    fitted.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trust.json", "trust.npz"]
    loaded = trust.load(tmp_path)
    prob = fitted.calibrate(scores)
    assert (loaded.calibrate(scores) == prob).all()
    for name in ("decide", "conformal_sets", "doubt"):
        assert (getattr(loaded, name)(prob) == getattr(fitted, name)(prob)).all()
    assert (loaded.unlikeness(points) == fitted.unlikeness(points)).all()
    assert (loaded.needs_human(prob, points) == fitted.needs_human(prob, points)).all()
    assert json.loads((tmp_path / "trust.json").read_text()) == json.loads(json.dumps(fitted.summary()))
    with np.load(tmp_path / "trust.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
    assert (tmp_path / "trust.npz").stat().st_size < 30_000


@pytest.mark.parametrize("method", ["identity", "platt", "isotonic", "platt_normalised", "temperature", "vector"])
def test_every_method_survives_its_arrays(method):
    scores, truth = one(np.random.default_rng(0), 400)
    fitted = fit_method(method, scores, truth)
    assert (calibrator_from(fitted.arrays())(scores) == fitted(scores)).all()


def test_missing_and_damaged_files_are_told(tmp_path):
    with pytest.raises(MedbenchError, match=r"Expected trust\.json in the model's folder"):
        trust.load(tmp_path)
    scores, truth = many(np.random.default_rng(0), 50)
    trust.fit_trust(scores, truth, "many", None, None, np.random.default_rng(0)).save(tmp_path)
    (tmp_path / "trust.npz").write_bytes(b"torn")
    with pytest.raises(MedbenchError, match=r"Expected an undamaged trust\.npz"):
        trust.load(tmp_path)
    with pytest.raises(MedbenchError, match="Expected validation items to calibrate on, found none"):
        trust.fit_trust(scores[:0], truth[:0], "many", None, None, np.random.default_rng(0))


@pytest.mark.parametrize("answer", ["many", "one"])
@pytest.mark.parametrize("n_items", [1, 2, 7])
@pytest.mark.parametrize("n_labels", [1, 2, 4])
def test_tiny_and_one_sided_data_do_not_crash(answer, n_items, n_labels):
    rng = np.random.default_rng(0)
    scores = np.full((n_items, n_labels), 1 / n_labels, dtype=np.float32)
    truth = np.zeros((n_items, n_labels), dtype=bool)
    if answer == "one":
        truth[:, 0] = True
    fitted = trust.fit_trust(scores, truth, answer, None, None, rng)
    prob = fitted.calibrate(scores)
    assert np.isfinite(prob).all()
    assert fitted.decide(prob).sum() == (n_items if answer == "one" else 0)
    assert np.isfinite(fitted.doubt(prob)).all()


def test_groups_stay_in_one_fold():
    fold = trust._folds(200, tuple(str(number // 4) for number in range(200)), np.random.default_rng(0))
    assert len(set(fold.tolist())) == 5
    assert all(len(set(fold[begin : begin + 4].tolist())) == 1 for begin in range(0, 200, 4))


def test_the_callers_arrays_are_left_alone():
    rng = np.random.default_rng(0)
    scores, truth = many(rng, 100)
    copies = scores.copy(), truth.copy()
    trust.fit_trust(scores, truth, "many", None, None, rng).calibrate(scores)
    assert (scores == copies[0]).all() and (truth == copies[1]).all()


def test_logit_and_logistic_undo_each_other():
    values = np.array([0.001, 0.3, 0.5, 0.999])
    assert logistic(logit(values)) == pytest.approx(values)
    assert np.isfinite(logistic(np.array([-1e6, 1e6]))).all()


def test_with_many_labels_one_cut_serves_all():
    rng = np.random.default_rng(3)
    truth = rng.random((60, 250)) < 0.02
    prob = np.clip(np.where(truth, 0.6, 0.1) + rng.normal(0, 0.15, truth.shape), 0.001, 0.999)
    tuned = tune_thresholds(prob, truth, rng)
    assert len(set(tuned.tolist())) == 1
    assert tuned[0] == pytest.approx(best_cut(prob.ravel(), truth.ravel()))
