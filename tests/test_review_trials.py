"""Simulations of a review in a process of their own: result, curve, stop, failure."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import import_planted, until

from medbench import review_trials
from medbench.errors import MedbenchError
from medbench.review_simulation import Asked, Replays
from medbench.review_trials import Trial
from medbench.workspace import Workspace


def ended(home: Workspace, trial_id: str) -> Trial:
    until(lambda: not review_trials.get(home, trial_id).alive)
    return review_trials.get(home, trial_id)


def test_a_simulation_leaves_its_curve_and_one_sentence(home: Workspace, tmp_path: Path) -> None:
    dataset = import_planted(home, tmp_path)
    trial_id = review_trials.start(home, Asked(dataset, "oncology", starts=2))
    with pytest.raises(MedbenchError, match="Stop it first"):
        review_trials.delete(home, trial_id)
    trial = ended(home, trial_id)
    assert (trial.state, trial.asked.dataset, trial.asked.starts) == ("finished", dataset, 2)
    found = review_trials.result(home, trial_id)
    assert found.records == 150 and found.saved > 0.2
    assert found.found.shape == (2, 150) and (found.found[:, -1] == found.relevant).all()
    told = review_trials.sentence(found, "oncology")
    assert told == trial.last["sentence"]
    assert re.search(r"95 % of the \d+ records with “oncology” are found after \d+ of 150 read", told)
    assert f"it saves {100 * found.saved:.0f} % of the reading" in told
    curve = review_trials.curve(found)
    assert curve.shape == (151, 3) and curve[0].tolist() == [0, 0, 0] and curve[-1].tolist() == [1, 1, 1]
    assert [one.id for one in review_trials.list_trials(home)] == [trial_id]
    review_trials.delete(home, trial_id)
    assert review_trials.list_trials(home) == []


def test_a_simulation_is_stopped(home: Workspace, tmp_path: Path) -> None:
    dataset = import_planted(home, tmp_path, rows=600)
    trial_id = review_trials.start(home, Asked(dataset, "oncology", every=1, starts=20))
    review_trials.stop(home, trial_id)
    assert ended(home, trial_id).state == "cancelled"
    with pytest.raises(MedbenchError, match="left no result"):
        review_trials.result(home, trial_id)


def test_what_cannot_be_simulated_is_said_before_a_process_starts(home: Workspace, tmp_path: Path) -> None:
    dataset = import_planted(home, tmp_path)
    for asked, words in (
        (Asked(dataset, "surgery"), "found 'surgery'"),
        (Asked(dataset, "oncology", strategy="luck"), "found 'luck'"),  # type: ignore[arg-type]
        (Asked(dataset, "oncology", family="oracle"), "found 'oracle'"),
        (Asked("nowhere", "oncology"), "found 'nowhere'"),
    ):
        with pytest.raises(MedbenchError, match=words):
            review_trials.start(home, asked)
    assert review_trials.list_trials(home) == []


def test_an_order_that_saves_nothing_is_said_to() -> None:
    found = np.array([[0, 0, 0, 1, 2]], dtype=np.int32)  # both at the end: 5 of 5 read for 95 %
    row = {"seed": 0, "read_for_95": 5, "saved_at_95": -0.05, "recall_at_10_percent": 0.0}
    told = review_trials.sentence(Replays(5, 2, (row,), found), "x")
    assert told.endswith("where a random order takes 95 %: this order saves nothing (from 1 start).")
