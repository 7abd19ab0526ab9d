"""Reading one photograph and many: answers, flags, similar lesions, heat maps and how far they can be trusted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_lesions import LABELS, lesion

from medbench import lesion_heat, lesion_overlay, predicting
from medbench.calibrators import LabelScales
from medbench.errors import MedbenchError
from medbench.families import Model
from medbench.lesion_heat import judge_heat, show_heat
from medbench.lesion_photo import outline
from medbench.lesion_reading import Picture, SkinLesionPredictor, read_picture, read_pictures, to_mind
from medbench.lesion_similar import NOT_HERE
from medbench.predicting import Loaded
from medbench.records import Explanation, join_image, part_image
from medbench.workspace import Workspace


@pytest.fixture(scope="module")
def loaded(trained_lesions: tuple[Workspace, str]) -> Loaded:
    return predicting.load(*trained_lesions)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a lesion.jpg"
    lesion("mel", 99, (400, 300)).save(path, quality=95)
    return path


def test_a_reading_carries_everything(trained_lesions: tuple[Workspace, str], loaded: Loaded, photo: Path) -> None:
    found = read_picture(trained_lesions[0], loaded, photo, {"age": "61", "sex": "female", "site": "back"})
    prediction = found.prediction
    assert sum(score.probability for score in prediction.labels) == pytest.approx(1, abs=1e-3)
    assert {score.label for score in prediction.labels} == set(LABELS) == set(found.spread)
    assert all(value >= 0 for value in found.spread.values())
    assert len(prediction.chosen) == 1
    assert found.quality == ()
    assert 0.05 < found.lesion_area < 0.4
    assert len(found.similar) == 5 and found.similar_note == ""
    assert all(one.path.is_file() and one.labels[0] in LABELS for one in found.similar)
    assert {one.confirmed for one in found.similar} <= {"histopathology", "follow-up without change"}
    told = json.loads(json.dumps(found.as_json()))
    assert all(one["confirmed"] for one in told["similar"])
    assert told["chosen"] == list(prediction.chosen) and told["quality"] == []
    assert not found.seen
    learnt = read_picture(trained_lesions[0], loaded, found.similar[0].path)
    assert learnt.seen and any("this very picture" in sentence for sentence in to_mind(loaded, learnt))


def test_facts_reach_a_network_that_reads_them(loaded: Loaded, photo: Path) -> None:
    young, old = read_pictures(
        loaded, [Picture(photo, "a", {"age": "5", "sex": "male"}), Picture(photo, "b", {"age": "95", "sex": "female"})]
    )
    assert young.prediction.labels != old.prediction.labels


def test_one_bad_picture_stops_nothing(loaded: Loaded, photo: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(photo.read_bytes()[:700])
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    pictures = [Picture(path, path.name, {}) for path in (torn, photo, text, tmp_path / "gone.png")]
    found = read_pictures(loaded, pictures)
    assert [bool(one.prediction.problem) for one in found] == [True, False, True, True]
    assert "damaged" in str(found[0].prediction.problem)
    assert "a text file 'text.jpg'" in str(found[2].prediction.problem)
    assert "no file 'gone.png'" in str(found[3].prediction.problem)
    alone = read_pictures(loaded, [pictures[1]])[0]
    assert alone.prediction == found[1].prediction
    assert read_pictures(loaded, []) == []


def test_without_training_pictures_it_says_so(
    trained_lesions: tuple[Workspace, str], loaded: Loaded, photo: Path, tmp_path: Path
) -> None:
    elsewhere = Workspace.here(tmp_path / "elsewhere")
    found = read_picture(elsewhere, loaded, photo)
    assert found.similar == () and found.similar_note == NOT_HERE


def test_a_model_of_texts_is_refused(trained: tuple[Workspace, str], photo: Path) -> None:
    with pytest.raises(MedbenchError, match=r"Expected a model that reads pictures, found '.*', which reads text"):
        read_picture(trained[0], predicting.load(*trained), photo)
    with pytest.raises(MedbenchError, match="which reads texts"):
        SkinLesionPredictor(trained[0].model(trained[1]))


def test_every_method_draws_a_map(loaded: Loaded, photo: Path) -> None:
    item = join_image(str(photo), {})
    for method in lesion_heat.picture_model(loaded).methods():
        heat = show_heat(loaded, item, "nv", method).heat
        assert heat is not None and heat.ndim == 2
        assert 0 <= heat.min() <= heat.max() <= 1
        trust = judge_heat(loaded, item, "nv", heat)
        assert all(0 <= value <= 1 for value in (trust.deletion, trust.insertion, trust.random))
        assert not trust.agreement
        asked = judge_heat(loaded, item, "nv", heat, method)
        assert all(0 <= share <= 1 for share in asked.agreement.values()) and method not in asked.agreement
        assert not asked.agreement or "(chance: 20%)" in asked.sentence
    with pytest.raises(MedbenchError, match="one of the methods grad-cam"):
        show_heat(loaded, item, "nv", "tea leaves")
    with pytest.raises(MedbenchError, match="Expected a label of this model, found 'df'"):
        judge_heat(loaded, item, "df", heat)


def test_two_maps_agree_as_far_as_their_hottest_fifths_do() -> None:
    left = np.repeat(np.linspace(1, 0, 10, dtype=np.float32)[None], 10, axis=0)
    there, far = lesion_heat._hottest(left), lesion_heat._hottest(left[:, ::-1])
    assert there.mean() == far.mean() == pytest.approx(0.2)
    assert (there & far).sum() == 0 and there[:, : there.shape[1] // 6].all()


class DarkSpot(Model):
    """Says melanoma as far as the lower right quarter of the picture is dark: where the evidence lies is known."""

    def __init__(self) -> None:
        self.labels, self.answer = ("mel", "nv"), "one"

    def scores_of(self, pixels: np.ndarray, item: str = "") -> np.ndarray:
        half = pixels.shape[1] // 2
        dark = ((pixels[:, half:, half:].mean(axis=-1) < 0.35).mean(axis=(1, 2)) * 4).clip(0.01, 0.99)
        return np.stack([dark, 1 - dark], axis=1).astype(np.float32)

    def scores(self, items):
        pixels = [np.asarray(Image.open(part_image(item)[0]).resize((64, 64))) / 255 for item in items]
        return self.scores_of(np.stack(pixels))

    def embed(self, items):
        return np.ones((len(items), 1), np.float32)

    def heat(self, item: str, label: str, method: str = "grad-cam") -> Explanation:
        return Explanation(label, method, heat=np.ones((2, 2), np.float32))

    def methods(self) -> tuple[str, ...]:
        return ("grad-cam",)

    def spread(self, items, draws: int = 20):
        return np.zeros((len(items), 2), np.float32)

    def reasons(self, item: str, label: str) -> Explanation:
        return self.heat(item, label)

    def save(self, folder: Path) -> None:
        raise AssertionError("never saved")


def dark_spot(loaded: Loaded, folder: Path) -> tuple[Loaded, str]:
    """A model whose evidence is known, and a picture with a dark spot there."""
    plain = LabelScales(np.ones(2), np.zeros(2))
    knowing = dataclasses.replace(
        loaded, model=DarkSpot(), trust=dataclasses.replace(loaded.trust, calibrator=plain, stranger=None)
    )
    pixels = np.full((120, 160, 3), (214, 170, 150), np.uint8)
    pixels[75:105, 95:135] = (50, 30, 25)
    path = folder / "spot.png"
    Image.fromarray(pixels).save(path)
    return knowing, join_image(str(path), {})


def test_a_true_map_is_trusted_and_a_false_one_is_not(loaded: Loaded, tmp_path: Path) -> None:
    knowing, item = dark_spot(loaded, tmp_path)
    true, false = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32)
    true[5:7, 5:7], false[1:3, 1:3] = 1, 1
    good, bad = judge_heat(knowing, item, "mel", true), judge_heat(knowing, item, "mel", false)
    assert good.deletion < good.random < good.insertion
    assert good.inside is not None and good.inside > 2 * good.area
    assert good.sentence.startswith("This map can be leaned on:")
    assert bad.gain < bad.noise and good.gain > 2 * good.noise
    assert bad.sentence.startswith("Do not lean on this map:")
    # For the other diagnosis the same place speaks against it.
    assert judge_heat(knowing, item, "nv", true).gain < 0
    empty = judge_heat(knowing, item, "mel", np.zeros((8, 8), np.float32))
    assert empty.inside is None and empty.sentence.startswith("The map is empty")
    assert judge_heat(knowing, item, "mel", true) == good


def test_the_predictor(trained_lesions: tuple[Workspace, str], photo: Path, tmp_path: Path) -> None:
    place, name = trained_lesions
    predictor = SkinLesionPredictor(place.model(name))
    answer = predictor.predict(photo)
    assert answer["label"] in LABELS and answer["chosen"] == [answer["label"]]
    assert answer["confidence"] == answer["probabilities"][answer["label"]]
    assert "probabilities" not in predictor.predict(photo, return_probabilities=False)
    batch = predictor.predict_batch([str(photo), tmp_path / "gone.jpg"])
    assert batch[0]["probabilities"] == answer["probabilities"]
    assert batch[1]["label"] is None and "gone.jpg" in batch[1]["problem"]
    told = predictor.explain_prediction(photo)
    assert told.explanation.label == answer["label"]
    assert told.trust.sentence
    with pytest.raises(MedbenchError, match=r"no file 'gone\.jpg'"):
        predictor.predict(tmp_path / "gone.jpg")


def test_the_predictor_is_configured_by_a_file(
    trained_lesions: tuple[Workspace, str], photo: Path, tmp_path: Path
) -> None:
    place, name = trained_lesions
    config = tmp_path / "lesion.yaml"
    config.write_text("method: eigen-cam\nsimilar: 2\nsex: female\n")
    predictor = SkinLesionPredictor(place.model(name), config)
    assert predictor.explain_prediction(photo).explanation.method == "eigen-cam"
    assert len(predictor.predict(photo)["similar"]) == 2
    config.write_text("colour: red\nsimilar: many\n")
    with pytest.raises(
        MedbenchError, match=r"Expected a configuration that fits, found .* Known fields are: device"
    ) as error:
        SkinLesionPredictor(place.model(name), config)
    assert "colour" in str(error.value) and "similar" in str(error.value)
    with pytest.raises(MedbenchError, match="Expected a YAML file"):
        SkinLesionPredictor(place.model(name), tmp_path / "none.yaml")
    with pytest.raises(MedbenchError, match="Expected the id of a model"):
        SkinLesionPredictor("no-such-model")


def test_the_overlay(photo: Path) -> None:
    picture = Image.open(photo).convert("RGB")
    heat = np.zeros((4, 4), np.float32)
    heat[1, 1] = 1
    before = picture.tobytes()
    untouched = lesion_overlay.overlaid(picture, heat, 0.0)
    assert untouched.tobytes() == before
    covered = np.asarray(lesion_overlay.overlaid(picture, heat, 1.0))
    assert covered.shape == (300, 400, 3)
    # The hottest cell is yellow, cold ones violet.
    assert covered[112, 150, 0] > 180 and covered[280, 380, 2] > covered[280, 380, 1]
    outlined = lesion_overlay.overlaid(picture, heat, 0.0, outline(picture))
    assert (np.asarray(outlined) == 255).all(axis=-1).sum() > 100
    assert picture.tobytes() == before
    sheet = lesion_overlay.sheet(picture, [heat], 0.5, ["Melanoma 0.50", "Research use."])
    assert sheet.width > 2 * 640
    assert lesion_overlay.png_bytes(sheet).startswith(b"\x89PNG")
