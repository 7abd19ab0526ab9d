"""The running mean of weights: its numbers, what it leaves in the network, and a resumed training goes on with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medbench.families._averaging import FILE, Average
from medbench.families._narration import agreement


def network() -> nn.Module:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def moved(layer: nn.Module, value: float) -> None:
    with torch.no_grad():
        next(layer.parameters()).fill_(value)


def test_the_first_steps_count_fully_and_later_ones_fade() -> None:
    layer = network()
    average = Average(layer, 1000, whole=False)
    for value in (1.0, 2.0):
        moved(layer, value)
        average.update()
    average.wear()
    # 0 -> 1 with weight 9 / 10, then -> 2 with weight 9 / 11.
    expected = (9 / 10) * (2 / 11) + 2 * (9 / 11)
    assert next(layer.parameters()).item() == pytest.approx(expected, abs=1e-6)


def test_a_short_mean_forgets_soon() -> None:
    layer = network()
    average = Average(layer, 2, whole=False)
    for step in range(40):
        moved(layer, 5.0 if step < 20 else 1.0)
        average.update()
    average.wear()
    assert next(layer.parameters()).item() == pytest.approx(1.0, abs=1e-4)


def test_worn_gives_the_own_weights_back_even_after_an_error() -> None:
    layer = network()
    average = Average(layer, 10, whole=False)
    moved(layer, 3.0)
    with pytest.raises(KeyError), average.worn():
        assert next(layer.parameters()).item() == 0.0
        raise KeyError
    assert next(layer.parameters()).item() == 3.0


def test_saved_and_loaded_it_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    layer = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average(layer, 5, whole=True)
    for _ in range(3):
        layer(torch.rand(4, 2))
        average.update()
    average.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    other = Average(layer, 5, whole=True)
    other.load(tmp_path)
    for each in (average, other):
        each.update()
    one, two = average._mean, other._mean
    assert set(one) == set(two)
    assert "1.running_mean" in one
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_auc_by_hand() -> None:
    truth = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], dtype=bool)
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.2, 0.8]], dtype=np.float32)
    # Pairs of the first label: .9 > .4, .9 > .2, .4 = .4 (half), .4 > .2 -> 3.5 / 4; the second mirrors it.
    assert agreement(truth, scores, "one")["auc"] == pytest.approx(3.5 / 4)
    assert agreement(np.ones((3, 1), dtype=bool), scores[:3, :1], "many")["auc"] == 0.5
