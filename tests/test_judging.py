"""From examples to a judged model: what the judge keeps of the items that the model learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest

from medbench.events import Say
from medbench.families import Fitting
from medbench.families.linear import Floats, Linear, LinearModel, LinearOptions
from medbench.judging import judge
from medbench.records import Device, Examples


def examples(n: int, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.5
    texts = [f"{'heart valve' if heart else 'kidney stone'} patient {row} of {seed}" for row, heart in enumerate(truth)]
    return Examples(texts, np.stack([truth, ~truth], axis=1), ("heart", "kidney"), "one")


class Counting(Linear):
    """The linear family; its models tell it how many items they placed."""

    def __init__(self) -> None:
        self.embedded: list[int] = []

    def fit(self, train: Examples, validation: Examples, options: LinearOptions, fitting: Fitting) -> LinearModel:
        told = self.embedded

        class Counted(LinearModel):
            def embed(self, items: Sequence[str]) -> Floats:
                told.append(len(items))
                return super().embed(items)

        plain = super().fit(train, validation, options, fitting)
        return Counted(**{each.name: getattr(plain, each.name) for each in fields(LinearModel)})


@pytest.mark.parametrize("keep_learning", [False, True])
def test_the_kept_model_places_what_it_learnt_from_once(keep_learning: bool) -> None:
    family = Counting()
    parts = {"train": examples(60, 0), "validation": examples(20, 1), "test": examples(20, 2)}
    fitting = Fitting(np.random.default_rng(0), Device(), Say())
    judged = judge(family, family.parse({}), parts, fitting=fitting, keep_learning=keep_learning)
    assert judged.placed.rows.tolist() == list(range(len(judged.known)))
    folds, kept = 80, 80 if not keep_learning else 80 + 100
    assert sum(family.embedded) == folds + kept
    assert np.allclose(judged.placed.vectors, judged.model.embed(judged.known.items))
