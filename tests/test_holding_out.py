"""A candidate and a champion that were judged on other items, compared on rows that neither learnt from."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import import_planted

from medbench import holding_out, promoting, runs
from medbench.errors import MedbenchError
from medbench.records import RunSpec
from medbench.workspace import Workspace

JOB = "topics"


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[str], list[str]]:
    """A workspace with a dataset and the same one grown, their ids, and a model of each."""
    folder = tmp_path_factory.mktemp("grown")
    place = Workspace.here(folder)
    sets = [import_planted(place, folder, name, rows) for name, rows in (("before", 120), ("after", 420))]
    models = []
    for dataset in sets:
        run = runs.start(place, RunSpec(task="literature", family="keywords", dataset=dataset))
        *_, last = runs.follow(place, run)
        assert last["kind"] == "finished"
        models.append(run)
    return place, sets, models


def test_the_model_of_a_grown_dataset_is_compared_on_rows_new_to_the_champion(
    grown: tuple[Workspace, list[str], list[str]],
) -> None:
    place, _, (old, new) = grown
    promoting.promote(place, old, JOB)
    told: list[tuple[int, int]] = []
    found = promoting.check(place, new, JOB, lambda *pair: told.append(pair))
    assert found.verdict != "unknown" and holding_out.FEWEST <= found.items < 63
    assert "left out that one of them learnt from" in found.sentence and "test items of after" in found.sentence
    assert told == sorted(told) and told[0][0] > 0
    assert told[-1] == (found.items, found.items)  # the candidate kept its own answers; the champion was asked for all
    assert found.low is None or found.low <= found.difference <= found.high


def test_both_answer_the_same_rows_and_none_that_was_learnt(grown: tuple[Workspace, list[str], list[str]]) -> None:
    place, (_, after), (old, new) = grown
    held = holding_out.answers(place, (old, new), after)
    champion, candidate = held.models
    assert np.array_equal(champion.positions, candidate.positions) and champion.labels == candidate.labels
    assert np.array_equal(champion.truth, candidate.truth) and len(held.groups) == len(champion.truth)
    assert held.left_out > 0 and (champion.positions >= 120).all()  # the first 120 rows are those of before


def test_too_few_new_rows_are_said(grown: tuple[Workspace, list[str], list[str]]) -> None:
    place, (before, _), (old, new) = grown
    with pytest.raises(MedbenchError, match="at least 30 test items of before that neither model learnt from"):
        holding_out.answers(place, (old, new), before)
