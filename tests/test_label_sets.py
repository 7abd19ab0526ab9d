"""Labels that go together raise each other: by hand, planted, kept with the model, left out where useless."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medbench import trust, trust_figures
from medbench.calibrators import TOGETHER, Ordered, Together
from medbench.label_sets import LabelSets, label_sets
from medbench.records import LabelScore, Scores, Truth
from medbench.ui_classify import bars, company


def test_a_hand_worked_item() -> None:
    """Odds 1 and 4, sets {A} twice... weights n^(1/4) times the product of the odds of the set's labels."""
    sets = LabelSets(np.array([[True, False], [True, True], [False, False]]), np.array([16, 1, 81]))
    prob = np.array([[0.5, 0.8]])
    found = sets(prob)
    # {A}: 16^(1/4) * 1 = 2; {A, B}: 1 * 1 * 4 = 4; {}: 81^(1/4) = 3. Together 9.
    assert found[0] == pytest.approx([(0.5 + 6 / 9) / 2, (0.8 + 4 / 9) / 2])
    assert prob.tolist() == [[0.5, 0.8]]


def test_sets_come_with_their_counts_the_most_common_first() -> None:
    """Three items, two sets."""
    found = label_sets(np.array([[False, True], [True, True], [True, True]]))
    assert found.sets.tolist() == [[True, True], [False, True]] and found.count.tolist() == [2, 1]


def test_certain_probabilities_stay_finite() -> None:
    """0 and 1 have no odds."""
    found = label_sets(np.eye(3, dtype=bool))(np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]))
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def _scored(n: int, rng: np.random.Generator, *, paired: bool) -> tuple[Scores, Truth]:
    """Scores of two labels, each seen through its own noise; `paired`: the truth of both is one coin, else two."""
    first = rng.random(n) < 0.4
    second = first if paired else rng.random(n) < 0.4
    truth = np.column_stack([first, second])
    margin = 1.5 * (2 * truth - 1) + 1.5 * rng.normal(size=truth.shape)
    return (1 / (1 + np.exp(-margin))).astype(np.float32), truth


def _fitted(scores: Scores, truth: Truth, above: list[int] | None = None) -> trust.Trust:
    tree = None if above is None else np.array(above)
    return trust.fit_trust(scores, truth, "many", None, None, np.random.default_rng(0), above=tree)


def test_planted_company_is_found_and_decides_better(tmp_path: Path) -> None:
    """Two noisy sights of one coin: fewer wrong labels than by each label alone; the same after a reload."""
    rng = np.random.default_rng(1)
    fitted = _fitted(*_scored(2000, rng, paired=True))
    assert isinstance(fitted.calibrator, Together)
    assert fitted.losses[TOGETHER] < fitted.losses[fitted.method]
    scores, truth = _scored(4000, rng, paired=True)
    alone = fitted.calibrator.inner(scores) >= 0.5
    assert (fitted.decide(fitted.calibrate(scores)) != truth).mean() < 0.75 * (alone != truth).mean()
    fitted.save(tmp_path)
    assert np.array_equal(trust.load(tmp_path).calibrate(scores), fitted.calibrate(scores))


def test_independent_labels_are_left_alone() -> None:
    """Where labels say nothing of each other their company costs, and is not kept; its loss is told."""
    fitted = _fitted(*_scored(2000, np.random.default_rng(2), paired=False))
    assert not isinstance(fitted.calibrator, Together)
    assert fitted.losses[TOGETHER] >= fitted.losses[fitted.method]


def test_one_label_per_item_has_no_company() -> None:
    """Exactly one label is true: the sets are known already."""
    truth = np.eye(3, dtype=bool)[np.random.default_rng(0).integers(0, 3, 60)]
    scores = (0.2 + 0.4 * truth).astype(np.float32)
    assert TOGETHER not in trust.fit_trust(scores, truth, "one", None, None, np.random.default_rng(0)).losses


def test_a_tree_of_labels_is_kept_in_order_after_it(tmp_path: Path) -> None:
    """The label above stays at least as probable, also after a reload."""
    fitted = _fitted(*_scored(2000, np.random.default_rng(3), paired=True), above=[-1, 0])
    assert isinstance(fitted.calibrator, Ordered) and isinstance(fitted.calibrator.inner, Together)
    fitted.save(tmp_path)
    scores, _ = _scored(200, np.random.default_rng(4), paired=True)
    prob = trust.load(tmp_path).calibrate(scores)
    assert (prob[:, 1] <= prob[:, 0]).all() and np.array_equal(prob, fitted.calibrate(scores))


def test_the_card_says_it() -> None:
    """The sentence on calibration names the company and what it was worth; without gain it does not."""
    facts = {"method": "platt", "losses": {"platt": 0.05, TOGETHER: 0.04}}
    assert trust_figures.how_calibrated(facts) == (
        "Platt scaling, then raised or lowered by the labels that go together (log loss 0.0500 → 0.0400)"
    )
    told = trust_figures.calibrated({"calibration": {**facts, "ece_before": 0.1, "ece_after": 0.01}})
    assert told == (
        "Probabilities are calibrated by Platt scaling, and then by the labels that go together; "
        "expected calibration error 0.010, 0.100 before."
    )
    facts["losses"] = {"platt": 0.05, "identity": 0.06, TOGETHER: 0.055}
    assert trust_figures.how_calibrated(facts) == (
        "Platt scaling, chosen by its cross-fitted log loss 0.0500; scores as they are 0.0600"
    )


def test_an_answer_tells_each_label_by_itself_and_what_moved_it() -> None:
    """The sentence names the labels that were moved far, the furthest first; nothing where labels do not move."""
    far = LabelScore("a", "Urology", 0.62, 0.5, True, 0.41)
    near = LabelScore("b", "Surgery", 0.93, 0.5, True, 0.92)
    further = LabelScore("c", "Dentistry", 0.05, 0.5, False, 0.35)
    assert company([far, near, further]) == (
        "The dot is a label's probability by itself; labels that go together in the training data moved it: "
        "Dentistry 0.35 → 0.05, Urology 0.41 → 0.62."
    )
    assert company([near, LabelScore("d", "Alone", 0.5, 0.5, True)]) == ""
    assert bars([far]).count("<b ") == 1 and "<b " not in bars([near])


def test_what_a_label_gets_by_itself_is_kept_beside_the_answer() -> None:
    """`alone` is the inner map, and absent where there is no company."""
    fitted = _fitted(*_scored(2000, np.random.default_rng(1), paired=True))
    scores, _ = _scored(50, np.random.default_rng(5), paired=True)
    alone = fitted.alone(scores)
    assert alone is not None and isinstance(fitted.calibrator, Together)
    assert np.allclose(alone, fitted.calibrator.inner(scores), atol=1e-6)
    apart = _fitted(*_scored(2000, np.random.default_rng(2), paired=False))
    assert apart.alone(scores) is None
