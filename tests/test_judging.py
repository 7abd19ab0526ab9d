"""From examples to a judged model: what the judge keeps of the items that the model learnt from."""

from __future__ import annotations

import numpy as np
import pytest

from medbench.events import Say
from medbench.families import Fitting
from medbench.families.linear import FAMILY, LinearModel
from medbench.judging import judge
from medbench.records import Device, Examples


def examples(n: int, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.5
    texts = [f"{'heart valve' if heart else 'kidney stone'} patient {row} of {seed}" for row, heart in enumerate(truth)]
    return Examples(texts, np.stack([truth, ~truth], axis=1), ("heart", "kidney"), "one")


@pytest.mark.parametrize("keep_learning", [False, True])
def test_the_kept_model_places_what_it_learnt_from_once(keep_learning: bool, monkeypatch: pytest.MonkeyPatch):
    embedded: list[int] = []
    embed = LinearModel.embed
    monkeypatch.setattr(LinearModel, "embed", lambda self, items: embedded.append(len(items)) or embed(self, items))
    parts = {"train": examples(60, 0), "validation": examples(20, 1), "test": examples(20, 2)}
    fitting = Fitting(np.random.default_rng(0), Device(), Say())
    judged = judge(FAMILY, FAMILY.parse({}), parts, fitting=fitting, keep_learning=keep_learning)
    assert judged.placed.rows.tolist() == list(range(len(judged.known)))
    assert np.allclose(judged.placed.vectors, embed(judged.model, judged.known.items))
    folds, kept = 80, 80 if not keep_learning else 80 + 100
    assert sum(embedded) == folds + kept
