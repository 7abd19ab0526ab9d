"""What answers promise, measured on items that nothing was fitted on: hand-worked shares, and promises that hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from medbench import human_band, trust, trust_figures

GROUPS = tuple(str(at // 10) for at in range(3000))


def test_wilsons_interval_hand_worked():
    found = trust_figures.share(81, 263)  # Newcombe 1998, table I, method 3
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert trust_figures.share(0, 10).low == pytest.approx(0)
    assert trust_figures.share(10, 10).high == pytest.approx(1)
    scipys = binomtest(7, 31).proportion_ci(method="wilson")
    assert (trust_figures.share(7, 31).low, trust_figures.share(7, 31).high) == pytest.approx((scipys.low, scipys.high))
    with pytest.raises(ValueError, match="no items"):
        trust_figures.share(0, 0)


def drawn(n: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated probabilities of `width` labels and one true label drawn from them."""
    scores = rng.dirichlet(np.full(width, 0.4), size=n).astype(np.float32)
    truth = np.zeros(scores.shape, dtype=bool)
    truth[np.arange(n), [rng.choice(width, p=row / row.sum()) for row in scores.astype(np.float64)]] = True
    return scores, truth


def test_what_a_sound_model_promises_holds():
    rng = np.random.default_rng(0)
    labels = ("a", "b", "c", "d")
    fitted = trust.fit_trust(*drawn(3000, 4, rng), "one", None, None, rng).accepting(0.2)
    scores, truth = drawn(3000, 4, rng)
    probabilities = fitted.calibrate(scores)
    found = trust_figures.measured(fitted, probabilities, truth, labels)
    kept, alone = found["sets"]["kept"], found["alone"]
    assert kept["low"] <= 0.9 <= kept["high"]
    assert [row["label"] for row in found["sets"]["labels"]] == list(labels)
    assert alone["wrong"]["high"] < alone["wrong_of_all"]["low"]
    assert alone["wrong"]["n"] == round(alone["share"]["value"] * 3000)
    told = trust_figures.sentences(found, "one")
    assert told[0].startswith("Sets made to hold the true label of 90% of items held ")
    assert told[-1].startswith("The answer itself called for no person in ") and "were wrong" in told[-1]
    assert "unlike the training data go to a person too" in told[-1]
    assert "had a label wrong or missing" in trust_figures.sentences(found, "many")[-1]
    # Ten pictures of each lesion with the same answer are worth one.
    copies = (np.repeat(probabilities[:300], 10, axis=0), np.repeat(truth[:300], 10, axis=0), labels)
    alone, kin = (trust_figures.measured(fitted, *copies, groups)["alone"]["share"] for groups in ((), GROUPS))
    assert kin["high"] - kin["low"] > 3 * (alone["high"] - alone["low"])


def test_labels_that_sets_leave_out_are_named():
    rng = np.random.default_rng(1)
    fitted = trust.fit_trust(*drawn(2000, 3, rng), "one", None, None, rng)
    truth = np.zeros((200, 3), dtype=bool)
    truth[:, 2] = True
    probabilities = np.tile(np.array([0.98, 0.01, 0.01], np.float32), (200, 1))
    told = trust_figures.sentences(trust_figures.measured(fitted, probabilities, truth, ("a", "b", "rare")), "one")
    assert any("less often than promised: rare (0% of 200)" in line for line in told)


def test_nothing_is_said_where_nothing_can_be_measured():
    rng = np.random.default_rng(2)
    fitted = trust.fit_trust(*drawn(300, 3, rng), "one", None, None, rng)
    assert trust_figures.measured(fitted, np.zeros((0, 3), np.float32), np.zeros((0, 3), bool), ("a", "b", "c")) == {}
    assert trust_figures.sentences({}, "one") == []


def test_what_stands_behind_a_file_and_its_rows() -> None:
    band = human_band.fit(np.linspace(0, 0.6, 500), np.zeros(500), "one")
    strange = {"what": "Spanish texts", "auroc": {"value": 0.98, "low": 0.97, "high": 0.99}}
    near = {"what": "letters", "auroc": {"value": 0.61, "low": 0.5, "high": 0.7}}
    card = {"promises": {"strangers": {"foreign": [strange, near]}}}
    few = trust_figures.beside_a_file(band, card, 5, 100)
    assert few[0].startswith("5 of 100 answers (5%) stand alone, the others go to a person. That is fewer than the ")
    assert few[1].startswith("Of answers that no person is asked about, at most 5% wrong (95% confidence).")
    assert trust_figures.beside_unlike(card).endswith("0.61 (letters) to 0.98 (Spanish texts).")
    assert "another kind" not in trust_figures.beside_a_file(band, card, round(100 * band.share), 100)[0]
    assert "another kind" not in trust_figures.beside_a_file(band, card, 0, 1)[0]  # one item proves nothing
    row = trust_figures.beside_a_row(band, card, True, False)
    assert row == "stands alone; of all such rows at most 5% wrong (95% confidence)"
    assert trust_figures.beside_a_row(band, card, False, False) == "for a person"
    unlike = trust_figures.beside_a_row(band, card, False, True)
    assert unlike.endswith("noticed with an AUROC of 0.61 (letters) to 0.98 (Spanish texts)")
    assert "no limit of error" in trust_figures.beside_a_row(None, {}, True, False)


def test_what_stands_behind_every_answer() -> None:
    rng = np.random.default_rng(3)
    fitted = trust.fit_trust(*drawn(600, 3, rng), "one", None, None, rng)
    probabilities, truth = drawn(400, 3, rng)
    promises = trust_figures.measured(fitted, probabilities, truth, ("a", "b", "c"))
    losses = {"identity": 0.3, "beta": 0.2}
    facts = {"method": "beta", "losses": losses, "ece_before": 0.1, "ece_after": 0.0001}
    card = {"answer": "one", "calibration": facts, "promises": promises}
    told = trust_figures.behind(fitted, card)
    assert told[0] == (
        "Probabilities are calibrated by beta calibration, chosen from 2 ways; expected calibration error below 0.001, "
        "0.100 before."
    )
    assert told[1].startswith("A set made to hold the true label of 90% of all items (measured: ")
    held = next(row["value"] for row in promises["sets"]["labels"] if row["label"] == "b")
    assert trust_figures.set_cell(card, ["new", "b"]) == f"new;b={held:.3f}"
    assert trust_figures.calibrated({}) == ""


def test_why_a_person_is_asked_names_the_true_reason() -> None:
    promised = human_band.fit(np.linspace(0, 0.6, 500), np.zeros(500), "one")
    assert trust_figures.why_a_person(promised, False) == "the model is not sure enough of it"
    assert trust_figures.why_a_person(promised, True) == "it is unlike the training data"
    nothing = human_band.fit(np.linspace(0, 0.6, 40), np.ones(40), "one")
    assert trust_figures.why_a_person(nothing, True).startswith("for this model no limit of error could be guaranteed")
