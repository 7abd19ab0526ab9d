"""Metrics: hand-worked tables with the fraction written out, scikit-learn on random tables, and the intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as peer

from medbench import areas, metrics
from medbench.calibration import expected_calibration_error

# Three labels, four items.        a  b  c      a  b  c
TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
DECIDED = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 1], [1, 0, 0]], dtype=bool)
PROB = np.array([[0.9, 0.2, 0.1], [0.8, 0.3, 0.4], [0.1, 0.7, 0.6], [0.7, 0.2, 0.1]])


def measured(truth=TRUTH, prob=PROB, decided=DECIDED, answer="many", **options):
    """Return name -> value."""
    found = metrics.evaluate(truth, prob, decided, answer=answer, rng=np.random.default_rng(0), n_boot=0, **options)
    return {name: metric.value for name, metric in found.items()}


def random_table(rng, n_items=300, n_labels=5, answer="many"):
    """Return truth, prob (with ties) and decided of random items."""
    prob = np.round(rng.random((n_items, n_labels)), 2)
    if answer == "one":
        prob = prob / prob.sum(axis=1, keepdims=True)
        chosen = (prob.cumsum(axis=1) > rng.random((n_items, 1))).argmax(axis=1)
        decided = np.eye(n_labels, dtype=bool)[prob.argmax(axis=1)]
        return np.eye(n_labels, dtype=bool)[chosen], prob, decided
    return rng.random((n_items, n_labels)) < prob**2, prob, prob > 0.6


def test_many_hand_worked():
    found = measured()
    # a: tp 2, fp 1, fn 0; b: tp 1, fp 0, fn 1; c: tp 0, fp 1, fn 0
    assert found["micro_precision"] == pytest.approx(3 / 5)
    assert found["micro_recall"] == pytest.approx(3 / 4)
    assert found["micro_f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert found["macro_f1"] == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)  # c was decided, so it counts with 0
    assert found["macro_recall"] == pytest.approx((2 / 2 + 1 / 2) / 2)  # c is never true: it has no recall
    assert found["macro_precision"] == pytest.approx((2 / 3 + 1 / 1 + 0 / 1) / 3)
    assert found["balanced_accuracy"] == pytest.approx(((1 + 1 / 2) / 2 + (1 / 2 + 1) / 2) / 2)
    assert found["exact_match"] == pytest.approx(1 / 4)
    assert found["hamming_loss"] == pytest.approx(3 / 12)
    assert found["accuracy"] == pytest.approx(9 / 12)


def test_ranking_hand_worked():
    found = measured()
    # Rankings: a b c | a c b | b c a | a b c; the fourth item has no label.
    assert found["p_at_1"] == pytest.approx(3 / 4)
    assert found["r_at_1"] == pytest.approx((1 / 1 + 1 / 2 + 1 / 1) / 3)
    assert found["map"] == pytest.approx((1 + (1 / 1 + 2 / 3) / 2 + 1) / 3)
    # a: positives .9 .8 against .1 .7 -> 4 of 4 pairs; b: .3 .7 against .2 .2 -> 4 of 4; c has no positives.
    assert found["auc"] == pytest.approx(1.0)
    assert found["average_precision"] == pytest.approx(1.0)


def test_probabilities_hand_worked():
    truth = np.array([[1, 0], [0, 0]], dtype=bool)
    prob = np.array([[0.75, 0.25], [0.25, 0.25]])
    found = measured(truth, prob, prob > 0.5)
    # Bin of .25 holds 3 pairs, none true; bin of .75 holds one, true.
    assert found["ece"] == pytest.approx(3 / 4 * 0.25 + 1 / 4 * 0.25)
    assert found["brier"] == pytest.approx((4 * 0.25**2) / 4)
    assert found["log_loss"] == pytest.approx(-np.log(0.75))


def test_one_hand_worked():
    truth = np.eye(3, dtype=bool)[[0, 0, 1, 2]]
    prob = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.2, 0.3, 0.5]])
    found = measured(truth, prob, np.eye(3, dtype=bool)[prob.argmax(axis=1)], answer="one")
    assert found["accuracy"] == found["exact_match"] == found["micro_f1"] == pytest.approx(3 / 4)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.3, 0.7, 0.5]).mean())
    assert found["brier"] == pytest.approx((0.06 + 0.86 + 0.14 + 0.38) / 4)
    # Top probabilities .8 right, .6 wrong, .7 right, .5 right, each in its own of 15 bins.
    assert found["ece"] == pytest.approx((0.2 + 0.6 + 0.3 + 0.5) / 4)
    assert found["map"] == pytest.approx((1 + 1 / 2 + 1 + 1) / 4)


def test_ties_share_the_worst_rank_and_half_the_auc():
    constant = np.full((4, 3), 0.5)
    found = measured(prob=constant)
    assert found["auc"] == pytest.approx(1 / 2)
    assert found["map"] == pytest.approx((1 / 3 + 2 / 3 + 1 / 3) / 3)


def test_nothing_true_nothing_decided_is_zero_not_a_crash():
    nothing = np.zeros((3, 2), dtype=bool)
    found = measured(nothing, np.full((3, 2), 0.1), nothing)
    assert found["micro_f1"] == found["macro_f1"] == found["map"] == found["auc"] == 0
    assert found["exact_match"] == 1
    assert metrics.evaluate(nothing[:0], PROB[:0, :2], nothing[:0], answer="many", rng=np.random.default_rng(0)) == {}


@pytest.mark.parametrize("seed", range(4))
def test_many_as_scikit_learn(seed):
    truth, prob, decided = random_table(np.random.default_rng(seed))
    found = measured(truth, prob, decided)
    for mean in ("micro", "macro"):
        precision, recall, f1, _ = peer.precision_recall_fscore_support(truth, decided, average=mean, zero_division=0)
        assert [found[f"{mean}_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(
            [precision, recall, f1]
        )
    held = truth.any(axis=1)
    assert found["map"] == pytest.approx(peer.label_ranking_average_precision_score(truth[held], prob[held]))
    assert found["auc"] == pytest.approx(peer.roc_auc_score(truth, prob, average="macro"))
    assert found["auc_micro"] == pytest.approx(peer.roc_auc_score(truth, prob, average="micro"))
    assert found["average_precision"] == pytest.approx(peer.average_precision_score(truth, prob, average="macro"))
    assert found["hamming_loss"] == pytest.approx(peer.hamming_loss(truth, decided))
    assert found["exact_match"] == pytest.approx(peer.accuracy_score(truth, decided))
    each = [peer.balanced_accuracy_score(truth[:, at], decided[:, at]) for at in range(5)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(each))
    assert found["brier"] == pytest.approx(
        np.mean([peer.brier_score_loss(truth[:, at], prob[:, at]) for at in range(5)])
    )


@pytest.mark.parametrize("seed", range(4))
def test_one_as_scikit_learn(seed):
    truth, prob, decided = random_table(np.random.default_rng(seed), answer="one")
    found = measured(truth, prob, decided, answer="one")
    true, chosen = truth.argmax(axis=1), decided.argmax(axis=1)
    assert found["balanced_accuracy"] == pytest.approx(peer.balanced_accuracy_score(true, chosen))
    assert found["macro_f1"] == pytest.approx(peer.f1_score(true, chosen, average="macro"))
    assert found["log_loss"] == pytest.approx(peer.log_loss(true, np.clip(prob, 1e-6, 1)), rel=1e-4)
    assert found["auc"] == pytest.approx(peer.roc_auc_score(true, prob, multi_class="ovr"))
    assert (metrics.confusion(truth, decided) == peer.confusion_matrix(true, chosen)).all()


def test_many_labels_take_the_short_way_to_the_same_ranks():
    rng = np.random.default_rng(0)
    truth, prob = rng.random((50, 200)) < 0.05, rng.permuted(np.linspace(0, 1, 200)[None].repeat(50, 0), axis=1)
    order = np.argsort(-prob, axis=1)
    found = measured(truth, prob, prob > 0.9)
    for k in (1, 5, 10):
        hits = np.take_along_axis(truth, order[:, :k], axis=1).sum(axis=1)
        assert found[f"p_at_{k}"] == pytest.approx((hits / k).mean())


def test_intervals_hold_the_value_and_shrink_with_items():
    rng = np.random.default_rng(0)
    widths = []
    for n_items in (100, 1600):
        table = random_table(rng, n_items)
        found = metrics.evaluate(*table, answer="many", rng=rng, n_boot=300)
        for metric in found.values():
            assert metric.low <= metric.value <= metric.high, metric
            assert metric.n == n_items
        widths.append(found["micro_f1"].high - found["micro_f1"].low)
    assert 2.5 < widths[0] / widths[1] < 6.5  # about the square root of 16


def test_groups_are_resampled_whole():
    rng = np.random.default_rng(0)
    truth, prob, decided = random_table(rng, 60)
    copies = [np.repeat(table, 10, axis=0) for table in (truth, prob, decided)]
    groups = [str(number) for number in np.repeat(np.arange(60), 10)]
    alone = metrics.evaluate(truth, prob, decided, answer="many", rng=rng)["micro_f1"]
    kept = metrics.evaluate(*copies, answer="many", groups=groups, rng=rng)["micro_f1"]
    blind = metrics.evaluate(*copies, answer="many", rng=rng)["micro_f1"]
    assert kept.value == pytest.approx(alone.value)
    assert kept.high - kept.low == pytest.approx(alone.high - alone.low, rel=0.2)
    assert blind.high - blind.low < 0.5 * (kept.high - kept.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(60):
        right = rng.random(200) < 0.7  # the true accuracy is .7
        truth = np.tile([True, False], (200, 1))
        decided = np.stack([right, ~right], axis=1)
        found = metrics.evaluate(truth, decided.astype(float), decided, answer="one", rng=rng, n_boot=200)["accuracy"]
        covered += found.low <= 0.7 <= found.high
    assert covered >= 51  # 57 expected; below 51 is a chance of one in 100 that the seed rules out


def test_sorted_metrics_by_hand_with_weights():
    truth, prob, _ = random_table(np.random.default_rng(3), 40)
    rng = np.random.default_rng(5)
    weights = rng.integers(0, 3, (6, 40)).astype(float)
    found, precisions = areas.curve_areas(truth[:, 0], prob[:, 0], np.arange(40), weights)
    for weight, area, precision in zip(weights, found, precisions, strict=True):
        assert area == pytest.approx(peer.roc_auc_score(truth[:, 0], prob[:, 0], sample_weight=weight))
        expected = peer.average_precision_score(truth[:, 0], prob[:, 0], sample_weight=weight)
        assert precision == pytest.approx(expected)


def test_per_label_and_curves():
    rows = metrics.per_label(TRUTH, PROB, DECIDED, ("a", "b", "c"))
    assert [row["label"] for row in rows] == ["a", "b", "c"]
    assert rows[0]["precision"] == pytest.approx(2 / 3) and rows[0]["specificity"] == pytest.approx(1 / 2)
    assert rows[1]["recall"] == pytest.approx(1 / 2) and rows[1]["f1"] == pytest.approx(2 / 3)
    assert rows[2]["auc"] is None and rows[2]["ap"] is None and rows[2]["n"] == 0

    points = metrics.reliability_curve(TRUTH, PROB, "many")
    assert sum(point["n"] for point in points) == 12
    gap = sum(point["n"] * abs(point["claimed"] - point["true"]) for point in points) / 12
    assert gap == pytest.approx(expected_calibration_error(PROB, TRUTH, "many"))

    truth, prob, _ = random_table(np.random.default_rng(2))
    away, sensitivity, _ = metrics.roc_curve(truth[:, 0], prob[:, 0])
    assert np.trapezoid(sensitivity, away) == pytest.approx(peer.roc_auc_score(truth[:, 0], prob[:, 0]))
    recall, precision, _ = metrics.precision_recall_curve(truth[:, 0], prob[:, 0])
    area = (np.diff(recall, prepend=0) * precision).sum()
    assert area == pytest.approx(peer.average_precision_score(truth[:, 0], prob[:, 0]))


def test_callers_arrays_are_left_alone():
    before = [array.copy() for array in (TRUTH, PROB, DECIDED)]
    metrics.evaluate(TRUTH, PROB, DECIDED, answer="many", rng=np.random.default_rng(0), n_boot=20)
    assert all((now == then).all() for now, then in zip((TRUTH, PROB, DECIDED), before, strict=True))


def test_a_large_table_has_its_intervals():
    rng = np.random.default_rng(0)
    found = metrics.evaluate(*random_table(rng, 4000, 12), answer="many", rng=rng)
    assert found["auc"].low is not None


def test_a_resample_without_what_a_figure_needs_is_left_out():
    truth, prob = np.zeros((60, 2), bool), np.full((60, 2), 0.1)
    truth[:2, 0] = True
    prob[:2, 0], prob[2:5, 0] = (0.9, 0.6), 0.7
    found = metrics.evaluate(truth, prob, prob > 0.5, answer="many", rng=np.random.default_rng(0))
    assert found["auc"].value == pytest.approx(1 - (3 / 58) / 2)
    # About one resample in seven holds neither of the two: counted as 0 they would pull the lower end there.
    assert found["auc"].low > 0.8 and found["micro_precision"].low >= 0
    assert found["micro_recall"].value == 1 and found["micro_recall"].low is None


def test_no_interval_where_every_resample_says_the_same():
    truth = np.eye(3, dtype=bool)[np.arange(30) % 3]
    found = metrics.evaluate(truth, truth * 1.0, truth, answer="one", rng=np.random.default_rng(0))
    assert (found["accuracy"].value, found["accuracy"].low, found["accuracy"].high) == (1, None, None)
