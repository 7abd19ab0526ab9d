"""The figures of the lesion job: worked by hand, and against scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as reference

from medbench import lesion_figures
from medbench.lesion_figures import age_band, binary, figures, subgroups
from medbench.lesion_points import curves, operating_point, sensitivity_at

LABELS = ("bkl", "mel", "nv")
# Ten lesions: 2 bkl, 3 mel, 5 nv.
TRUE = [0, 0, 1, 1, 1, 2, 2, 2, 2, 2]
PROB = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.2, 0.5, 0.3],
        [0.1, 0.8, 0.1],
        [0.1, 0.6, 0.3],
        [0.1, 0.3, 0.6],
        [0.1, 0.1, 0.8],
        [0.2, 0.1, 0.7],
        [0.0, 0.4, 0.6],
        [0.1, 0.5, 0.4],
        [0.2, 0.2, 0.6],
    ]
)
TRUTH = np.eye(3, dtype=bool)[TRUE]


def drawn(n: int = 300, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that lean towards a drawn truth, some of them equal."""
    rng = np.random.default_rng(seed)
    truth = np.eye(3, dtype=bool)[rng.choice(3, n, p=[0.2, 0.1, 0.7])]
    logits = np.round(rng.normal(size=(n, 3)) + 1.2 * truth, 1)
    prob = np.exp(logits)
    return prob / prob.sum(axis=1, keepdims=True), truth


def test_hand_worked_table(rng: np.random.Generator) -> None:
    found = figures(PROB, TRUTH, LABELS, malignant={"mel", "bcc"}, rng=rng, n_boot=50)
    assert found.confusion.tolist() == [[1, 1, 0], [0, 2, 1], [0, 1, 4]]
    assert found.overall["balanced_accuracy"].value == pytest.approx((1 / 2 + 2 / 3 + 4 / 5) / 3)
    assert found.overall["accuracy"].value == pytest.approx(7 / 10)
    melanoma = found.classes[1]
    assert (melanoma.n, melanoma.positives) == (10, 3)
    assert melanoma.sensitivity.value == pytest.approx(2 / 3)
    assert melanoma.specificity.value == pytest.approx(5 / 7)
    assert melanoma.precision.value == pytest.approx(2 / 4)
    assert melanoma.f1.value == pytest.approx(4 / 7)
    # Of 21 pairs, .8 and .6 win all 14; .3 wins against .2 .1 .1 .2 and loses against .5 .4 .5.
    assert melanoma.auc.value == pytest.approx(18 / 21)
    # Each figure names what it rests on; three melanomas are too few to show how far an area would move.
    assert (melanoma.sensitivity.n, melanoma.specificity.n, melanoma.precision.n, melanoma.auc.n) == (3, 7, 4, 10)
    assert melanoma.auc.low is None and found.classes[2].auc.low <= 1 == found.classes[2].auc.high
    assert found.malignant is not None
    assert found.malignant.sensitivity.value == pytest.approx(2 / 3)
    assert found.malignant.auc.value == pytest.approx(18 / 21)
    json.dumps(found.as_json())


def test_agrees_with_scikit_learn(rng: np.random.Generator) -> None:
    prob, truth = drawn()
    true, said = truth.argmax(1), prob.argmax(1)
    found = figures(prob, truth, LABELS, malignant={"mel"}, rng=rng, n_boot=0)
    assert found.overall["balanced_accuracy"].value == pytest.approx(reference.balanced_accuracy_score(true, said))
    assert found.overall["auc"].value == pytest.approx(reference.roc_auc_score(truth, prob, average="macro"))
    assert found.overall["macro_f1"].value == pytest.approx(reference.f1_score(true, said, average="macro"))
    assert np.array_equal(found.confusion, reference.confusion_matrix(true, said))
    precision, recall, f1, _ = reference.precision_recall_fscore_support(true, said)
    for at, entry in enumerate(found.classes):
        assert entry.precision.value == pytest.approx(precision[at])
        assert entry.sensitivity.value == pytest.approx(recall[at])
        assert entry.f1.value == pytest.approx(f1[at])
        assert entry.auc.value == pytest.approx(reference.roc_auc_score(truth[:, at], prob[:, at]))
        area = reference.average_precision_score(truth[:, at], prob[:, at])
        assert entry.average_precision.value == pytest.approx(area)
    expected_rate, expected_sensitivity, _ = reference.roc_curve(truth[:, 1], prob[:, 1], drop_intermediate=False)
    curve = curves(truth[:, 1], prob[:, 1])
    assert np.allclose(curve.false_positive, expected_rate)
    assert np.allclose(curve.sensitivity, expected_sensitivity)


def test_what_is_not_defined_is_said_so(rng: np.random.Generator) -> None:
    none = binary("mel", np.zeros(4, bool), np.full(4, 0.2), np.zeros(4, bool), rng=rng, n_boot=10)
    assert (none.sensitivity, none.auc, none.precision, none.f1, none.average_precision) == (None,) * 5
    assert none.specificity is not None and none.specificity.value == 1.0
    all_benign = figures(PROB, TRUTH, LABELS, malignant={"bcc"}, rng=rng, n_boot=0)
    assert all_benign.malignant is None


def test_a_rare_class_has_honest_intervals(rng: np.random.Generator) -> None:
    truth, scores = np.zeros(200, bool), rng.random(200) * 0.9
    truth[:2], scores[:2] = True, 0.95
    two = binary("df", truth, scores, scores > 0.92, rng=rng)
    assert two.sensitivity.value == 1.0 and two.sensitivity.high == 1.0
    # Wilson (1927) for 2 of 2: 2 / (2 + 1.96²); resamples without either do not count as nothing found.
    assert two.sensitivity.low == pytest.approx(2 / (2 + 1.959964**2), abs=1e-6)
    assert two.auc.value == 1.0 and two.auc.low is None
    truth[:6], scores[:6] = True, np.linspace(0.5, 0.95, 6)
    six = binary("df", truth, scores, scores > 0.92, rng=rng)
    assert six.auc.low is not None and 0.3 < six.auc.low < six.auc.value < 1
    assert six.f1.low is not None and six.f1.low < six.f1.value < six.f1.high


def test_pictures_of_one_lesion_count_as_one_where_all_are_found(rng: np.random.Generator) -> None:
    truth, lesions = np.repeat([True, False], 60), [str(at // 3) for at in range(120)]
    alone = binary("mel", truth, truth * 0.9, truth, rng=rng, n_boot=50)
    grouped = binary("mel", truth, truth * 0.9, truth, groups=lesions, rng=rng, n_boot=50)
    assert alone.sensitivity.low == pytest.approx(60 / (60 + 1.959964**2), abs=1e-6)
    assert grouped.sensitivity.low == pytest.approx(20 / (20 + 1.959964**2), abs=1e-6)


def test_sensitivity_at_a_specificity() -> None:
    truth = np.array([True, False, True, False, False])
    scores = np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    assert sensitivity_at(truth, scores, 2 / 3) == (1.0, 0.7)
    assert sensitivity_at(truth, scores, 0.9) == (0.5, 0.9)
    turned = sensitivity_at(~truth, scores, 1.0)
    assert turned == (0.0, np.inf)


def test_operating_point_by_hand() -> None:
    truth, scores = TRUTH[:, 1], PROB[:, 1]
    # At .4: 2 of 3 melanomas found, 3 of 7 others biopsied. Of 1,000 patients 30 have one.
    point = operating_point(truth, scores, 0.4, 0.03)
    assert point.sensitivity.value == pytest.approx(2 / 3)
    assert point.specificity.value == pytest.approx(4 / 7)
    assert point.missed.value == pytest.approx(10)
    assert point.biopsies.value == pytest.approx(20 + 970 * 3 / 7)
    assert point.biopsies_per_found is not None
    assert point.biopsies_per_found.value == pytest.approx((20 + 970 * 3 / 7) / 20)
    # Wilson's interval of 2 out of 3 is .2077 to .9385, of 4 out of 7 .2505 to .8418.
    assert (point.missed.low, point.missed.high) == pytest.approx((30 * (1 - 0.9385), 30 * (1 - 0.2077)), rel=1e-3)
    assert point.biopsies.low == pytest.approx(30 * 0.2077 + 970 * (1 - 0.8418), rel=1e-3)
    assert point.biopsies_per_found.high == pytest.approx(1 + 970 * (1 - 0.2505) / (30 * 0.2077), rel=1e-3)
    assert operating_point(truth, scores, 2.0, 0.03).biopsies_per_found is None
    assert operating_point(truth, scores, 2.0, 0.03).missed.value == pytest.approx(30)
    with pytest.raises(ValueError, match="prevalence from 0 to 1"):
        operating_point(truth, scores, 0.4, 3.0)
    with pytest.raises(ValueError, match="with and without"):
        operating_point(np.ones(3, bool), scores[:3], 0.4, 0.03)


@pytest.mark.parametrize(
    ("years", "band"),
    [
        ("0", "0 to 29"),
        ("29.5", "0 to 29"),
        ("30", "30 to 44"),
        ("75", "75 and over"),
        ("", "unknown"),
        ("-1", "unknown"),
    ],
)
def test_age_bands(years: str, band: str) -> None:
    assert age_band(years) == band


def test_subgroups_take_their_own_rows(rng: np.random.Generator) -> None:
    prob, truth = drawn(120)
    facts = [{"age": str(20 + at % 60), **({"sex": ("male", "female")[at % 2]} if at % 5 else {})} for at in range(120)]
    groups = [str(at // 2) for at in range(120)]
    found = subgroups(prob, truth, LABELS, facts, malignant={"mel"}, groups=groups, rng=rng, n_boot=60)
    sexes = [entry for entry in found if entry.fact == "sex"]
    assert [entry.value for entry in sexes] == ["female", "male", "unknown"]
    assert sum(entry.n for entry in sexes) == 120
    rows = np.array([facts[at].get("sex") == "female" for at in range(120)])
    expected = reference.balanced_accuracy_score(truth[rows].argmax(1), prob[rows].argmax(1))
    assert sexes[0].balanced_accuracy.value == pytest.approx(expected)
    low, high = sexes[0].balanced_accuracy.low, sexes[0].balanced_accuracy.high
    assert low is not None and high is not None and low <= expected <= high
    assert {entry.value for entry in found if entry.fact == "age"} == {
        "0 to 29",
        "30 to 44",
        "45 to 59",
        "60 to 74",
        "75 and over",
    }


def test_intervals_resample_whole_lesions() -> None:
    prob, truth = drawn(60)
    many_prob, many_truth = np.repeat(prob, 5, axis=0), np.repeat(truth, 5, axis=0)
    groups = [str(at // 5) for at in range(300)]

    def width(keys: list[str] | None) -> float:
        found = figures(many_prob, many_truth, LABELS, groups=keys, rng=np.random.default_rng(1), n_boot=300)
        metric = found.overall["balanced_accuracy"]
        assert metric.high is not None and metric.low is not None
        return metric.high - metric.low

    assert width(groups) > 1.5 * width(None)


def test_nothing_is_no_fault(rng: np.random.Generator) -> None:
    empty = figures(np.zeros((0, 3)), np.zeros((0, 3), bool), LABELS, malignant={"mel"}, rng=rng, n_boot=10)
    assert empty.n == 0 and empty.overall == {}
    assert empty.malignant is not None and empty.malignant.auc is None
    assert lesion_figures.subgroups(np.zeros((0, 3)), np.zeros((0, 3), bool), LABELS, [], rng=rng) == []
