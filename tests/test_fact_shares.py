"""What age, sex and site add to an answer: by hand, against the package shap, and over a network that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from medbench.calibrators import fit_method
from medbench.fact_shares import FactShares, shapley_values, share_facts
from medbench.families import Model
from medbench.predicting import Loaded
from medbench.records import Explanation, join_image
from medbench.trust import Trust


def test_two_players_by_hand() -> None:
    worth = {(): 1.0, ("a",): 3.0, ("b",): 2.0, ("a", "b"): 8.0}
    values, alone = shapley_values(("a", "b"), lambda sets: np.array([[worth[some]] for some in sets]))
    # a: ((3 - 1) + (8 - 2)) / 2, b: ((2 - 1) + (8 - 3)) / 2.
    assert values.ravel().tolist() == [4.0, 3.0]
    assert alone.tolist() == [1.0]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_shap_finds_the_same_values() -> None:
    import shap

    def worth(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        age, sex, site = masks.astype(float).T
        return 1 / (1 + np.exp(-(2 * age - sex + 3 * age * site - 0.5 * sex * site)))

    def of_sets(sets: Sequence[tuple[str, ...]]) -> npt.NDArray[np.float64]:
        return worth(np.array([[name in some for name in ("age", "sex", "site")] for some in sets]))[:, None]

    values, _ = shapley_values(("age", "sex", "site"), of_sets)
    explainer = shap.ExactExplainer(worth, lambda mask, _: (np.asarray(mask, dtype=bool).reshape(1, -1),))
    theirs = explainer(np.ones((1, 3), dtype=bool)).values.ravel()
    assert values.ravel() == pytest.approx(theirs, abs=1e-6)


class Rule(Model):
    """Calls old patients ill, women a little less so, and never looks at the site; keeps what it was asked."""

    labels, answer = ("ill", "well"), "one"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def scores(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        self.asked.append(list(items))
        ill = [0.2 + 0.5 * ('"age":"80"' in item) - 0.1 * ('"sex":"female"' in item) for item in items]
        return np.stack([ill, 1 - np.array(ill)], axis=1).astype(np.float32)

    def embed(self, items: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.ones((len(items), 1), dtype=np.float32)

    def reasons(self, item: str, label: str) -> Explanation:
        return Explanation(label, "rule")

    def save(self, folder: Path) -> None:
        """Nothing to write: the rule is code."""


def loaded(metadata: bool) -> Loaded:
    """The rule, whose scores are its probabilities."""
    as_they_are = fit_method("identity", np.zeros((1, 2), np.float32), np.zeros((1, 2), dtype=bool))
    trust = Trust("one", "identity", as_they_are, np.zeros(2), None, 0.9, None, 1.0, True, 0.0, 0.0, 1)
    return Loaded("rule", Path("rule"), {"options": {"metadata": metadata}}, Rule(), trust)


def test_facts_share_what_they_add_and_say_so() -> None:
    item = join_image("/a.jpg", {"age": "80", "sex": "female", "site": "back"})
    asked = loaded(True)
    told = share_facts(asked, item)
    assert isinstance(told, FactShares)
    assert told.shares["ill"] == pytest.approx({"age": 0.5, "sex": -0.1, "site": 0.0}, abs=1e-6)
    assert told.shares["well"] == pytest.approx({"age": -0.5, "sex": 0.1, "site": 0.0}, abs=1e-6)
    assert told.sentence("ill", "Illness") == (
        "What is known of the patient, for Illness: age 80 +0.50, sex female −0.10, site back adds nothing "
        "(the picture alone: 0.20)."
    )
    assert told.as_json()["alone"] == {"ill": 0.2, "well": 0.8}
    # All facts are asked first, in the words of the answer before, which a picture network remembers; then the rest.
    assert isinstance(asked.model, Rule)
    first, rest = asked.model.asked
    assert first == [item] and len(set(rest)) == 7 and item not in rest


def test_nothing_is_said_where_no_fact_is_read_or_told() -> None:
    assert share_facts(loaded(False), join_image("/a.jpg", {"age": "80"})) is None
    assert share_facts(loaded(True), join_image("/a.jpg", {})) is None
