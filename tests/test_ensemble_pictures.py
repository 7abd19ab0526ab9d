"""An ensemble of picture networks is a run like any other, and the Lesions page reads it like a single network."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from left_models import leave
from PIL import Image
from tiny_lesions import LABELS, OPTIONS, lesion

from medbench import datasets, predicting, runs
from medbench.lesion_heat import judge_heat, picture_model, show_heat
from medbench.lesion_reading import SkinLesionPredictor, read_picture, to_know
from medbench.predicting import Loaded
from medbench.records import RunSpec, join_image
from medbench.workspace import Workspace


@pytest.fixture(scope="module")
def ensemble(trained_lesions: tuple[Workspace, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace in which a run combined two tiny networks; both are deleted afterwards."""
    place = Workspace.here(tmp_path_factory.mktemp("ensemble") / "home")
    shutil.copytree(trained_lesions[0].data, place.data)
    shutil.copytree(trained_lesions[0].models, place.models)
    dataset = datasets.load(place, str(datasets.list_datasets(place)[0]["id"]))
    parts = dataset.examples("train"), dataset.examples("validation")
    other = leave(
        place, "vision", *parts, dataset=dataset.id, options={**OPTIONS, "base": "test_vit", "metadata": False}
    )
    asked = {"members": [trained_lesions[1], other], "combine": "weighted"}
    run_id = runs.start(place, RunSpec(task="lesion", family="ensemble", dataset=dataset.id, options=asked))
    *_, last = runs.follow(place, run_id)
    assert last["kind"] == "finished", (last, (place.run(run_id) / "log.txt").read_text()[-3000:])
    for member in (trained_lesions[1], other):
        shutil.rmtree(place.model(member))
    return place, run_id


@pytest.fixture(scope="module")
def loaded(ensemble: tuple[Workspace, str]) -> Loaded:
    return predicting.load(*ensemble)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a lesion.jpg"
    lesion("mel", 99, (400, 300)).save(path, quality=95)
    return path


def test_it_leaves_a_card_that_names_its_members(ensemble: tuple[Workspace, str], loaded: Loaded) -> None:
    card = loaded.card
    assert card["family"] == "ensemble" and card["item"] == "image" and card["learnt_from"]["splits"] == ["train"]
    assert card["judged_on"].startswith("the test split") and "balanced_accuracy" in card["metrics"]
    told = " ".join(card["notes"])
    assert "An ensemble of 2 models, combined by a weighted mean:" in told and "Vision (vision, share" in told


def test_the_lesion_page_reads_it_like_a_single_network(
    ensemble: tuple[Workspace, str], loaded: Loaded, photo: Path
) -> None:
    found = read_picture(ensemble[0], loaded, photo, {"age": "61", "sex": "female", "site": "back"})
    assert {score.label for score in found.prediction.labels} == set(LABELS) == set(found.spread)
    assert max(found.spread.values()) > 0 and len(found.similar) == 5
    assert "± is how much the probability moves from one member of the ensemble to another." in to_know(loaded, found)
    model = picture_model(loaded)
    assert "attention-rollout" not in model.methods() and "grad-cam" in model.methods()
    item = join_image(str(photo), {})
    for method in model.methods():
        heat = show_heat(loaded, item, "nv", method).heat
        assert heat is not None and heat.dtype == np.float32 and 0 <= heat.min() <= heat.max() <= 1
    assert judge_heat(loaded, item, "nv", heat).sentence
    pixels = np.asarray(Image.open(photo).resize((160, 160)), dtype=np.float32)[None] / 255
    whole = model.scores_of(pixels, item)
    assert whole.shape == (1, 3) and whole.sum() == pytest.approx(1, abs=1e-4)
    plain, blind = model.heat(item, "nv").heat, model.randomised().heat(item, "nv").heat  # type: ignore[attr-defined]
    assert plain.shape == blind.shape and not np.allclose(plain, blind)


def test_the_predictor_takes_it(ensemble: tuple[Workspace, str], photo: Path) -> None:
    predictor = SkinLesionPredictor(ensemble[0].model(ensemble[1]))
    assert predictor.predict(photo)["label"] in LABELS
    assert predictor.explain_prediction(photo).trust.sentence
