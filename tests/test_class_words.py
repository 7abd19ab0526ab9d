"""The word that makes a label is found for it, on texts the model has not learnt from, within the time given."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from test_explaining import LABELS, WORDS, planted

from medbench import class_words
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.families.linear import LinearModel
from medbench.records import Device


@pytest.fixture(scope="module")
def model() -> LinearModel:
    train = planted(90, 0)
    family = get_family("linear")
    found = family.fit(train, train.take([]), family.parse({}), Fitting(np.random.default_rng(0), Device(), Say()))
    assert isinstance(found, LinearModel)
    return found


def test_the_planted_word_comes_first_for_its_label(model: LinearModel, tmp_path: Path) -> None:
    held = planted(60, 7)
    told: list[float] = []
    found = class_words.find(model, held.items, model.scores(held.items) > 0.5, "test", seen=False, tell=told.append)
    assert set(found.words) == set(LABELS)
    for label, words in found.words.items():
        assert words[0].word == WORDS[label]
        assert words[0].weight > 2 * max([word.weight for word in words[1:]], default=0)
        assert words[0].measured == 5
        assert words[0].texts >= 10
    assert found.complete and told[-1] == 1.0 and found.items == 60
    class_words.save(tmp_path, found)
    assert class_words.load(tmp_path) == found
    assert class_words.load(tmp_path / "none") is None
    first = found.rows({"heart": "Heart disease"})[0]
    assert first["label"] == "Heart disease" and first["rank"] == 1


def test_a_weight_is_the_mean_fall_of_the_log_odds(model: LinearModel) -> None:
    text = "Patients with hepatitis. Hepatitis after weeks."
    found = class_words.find(model, [text, "a trial", "a group"], np.eye(3, dtype=bool)[[1, 0, 0]], "test", seen=False)
    scores = model.scores([text, text.replace("hepatitis", "").replace("Hepatitis", "")])[:, 1].astype(float)
    odds = np.log(scores / (1 - scores))
    assert found.words["liver"][0].weight == pytest.approx(odds[0] - odds[1], abs=1e-3)


def test_no_time_and_nothing_to_read_give_nothing(model: LinearModel) -> None:
    held = planted(60, 7)
    decided = model.scores(held.items) > 0.5
    late = class_words.find(model, held.items, decided, "test", seen=False, seconds=0)
    assert late.words == {} and not late.complete
    stop = threading.Event()
    stop.set()
    assert class_words.find(model, held.items, decided, "test", seen=False, stop=stop).readings == 0
    nothing = class_words.find(model, [], np.zeros((0, 3), dtype=bool), "validation", seen=False)
    assert nothing.words == {} and nothing.items == 0


def test_a_trained_model_keeps_its_words(trained) -> None:  # type: ignore[no-untyped-def]
    workspace, model_id = trained
    found = class_words.load(workspace.model(model_id))
    assert found is not None and found.split == "test" and not found.seen
    assert {"angina", "stent", "infarction", "heart"} & {word.word for word in found.words["cardiology"]}
