"""The Lesions page, its report and its address in the API, over a tiny network that a real run left."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import HUNG
from drawn_pictures import encoded, table
from pages_at_work import opened, words_on
from pypdf import PdfReader
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest
from tiny_lesions import LABELS, lesion

from medbench import api, lesion_uploads, predicting, ui_lesion, ui_lesion_many, ui_lesion_one
from medbench.api_lesion import PICTURES_LIMIT
from medbench.errors import MedbenchError
from medbench.lesion_reading import LesionReading, read_pictures
from medbench.lesion_similar import NOT_HERE
from medbench.records import LabelScore, Prediction
from medbench.ui import NOTICE
from medbench.workspace import Workspace

PAGE = "pages/lesion.py"


@pytest.fixture(scope="module")
def photo() -> bytes:
    return encoded(lesion("mel", 99, (400, 300)))


@pytest.fixture
def full(trained_lesions: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy of the workspace with the tiny network, named by MEDBENCH_HOME."""
    root = tmp_path / "home"
    shutil.copytree(trained_lesions[0].data.parent, root)
    monkeypatch.setenv("MEDBENCH_HOME", str(root))
    return Workspace.here(root)


@pytest.fixture
def model(trained_lesions: tuple[Workspace, str]) -> str:
    return trained_lesions[1]


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "."), content)
    return out.getvalue()


def dropped(model: str, *files: tuple[str, bytes, str]) -> AppTest:
    page = opened(PAGE, model=model)
    page.get("file_uploader")[0].set_value(list(files)).run()
    assert not page.exception
    assert "Something went wrong" not in words_on(page)
    return page


def test_an_empty_page_says_what_to_do(full: Workspace, model: str) -> None:
    shown = words_on(opened(PAGE, model=model))
    assert NOTICE in shown
    assert "Drop a photograph of a skin lesion" in shown
    assert "forgotten after a day" in shown


def bare() -> None:
    """A page over a workspace without any model, shipped ones included."""
    import tempfile
    from pathlib import Path

    from medbench import ui_lesion
    from medbench.workspace import Workspace

    class Bare(Workspace):
        @property
        def shipped(self) -> Path:
            return self.models

    assert ui_lesion.choose_models(Bare.here(Path(tempfile.gettempdir()) / "no models here")) == []


def test_without_a_lesion_model_it_says_so() -> None:
    page = AppTest.from_function(bare, default_timeout=HUNG).run()
    assert "There is no lesion model yet" in words_on(page)


def test_one_picture(full: Workspace, model: str, photo: bytes) -> None:
    page = dropped(model, ("mole.jpg", photo, "image/jpeg"))
    shown = words_on(page)
    assert all(name in shown for name in ("Melanoma", "Melanocytic nevus", "Vascular lesion"))
    assert "Malignant, all classes together:" in shown
    assert shown.count("similarity") == 5
    assert [one.label for one in page.slider] == ["Show where the model looked"]
    assert "leaned on" not in shown and "this map" not in shown


def test_the_heat_is_one_slider_away(full: Workspace, model: str, photo: bytes) -> None:
    page = dropped(model, ("mole.jpg", photo, "image/jpeg"))
    page.slider[0].set_value(40).run()
    assert not page.exception
    method = next(box for box in page.selectbox if box.label == "Method")
    assert method.options[:2] == ["Grad-CAM", "Grad-CAM++"]
    trust = ("lean on this map", "leaned on", "as a hint", "map is empty")
    assert any(words in words_on(page) for words in trust)
    label = next(box for box in page.selectbox if box.label == "What speaks for")
    for one in label.options:
        label.select(one).run()
        assert not page.exception
        label = next(box for box in page.selectbox if box.label == "What speaks for")
        assert any(words in words_on(page) for words in trust)


def test_what_is_known_of_the_patient_counts(full: Workspace, model: str, photo: bytes) -> None:
    page = dropped(model, ("mole.jpg", photo, "image/jpeg"))
    before = words_on(page)
    page.number_input[0].set_value(90).run()
    assert not page.exception
    assert words_on(page) != before
    assert "What is known of the patient, for" in words_on(page)
    assert "age 90" in words_on(page)


def test_a_damaged_picture_is_one_sentence(full: Workspace, model: str, photo: bytes) -> None:
    page = dropped(model, ("mole.jpg", photo[:800], "image/jpeg"))
    assert "Expected a whole picture, found 'mole.jpg', which is damaged" in words_on(page)
    assert not page.slider


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("evil.zip", zipped(**{"../a__jpg": b"x"}), "a zip whose files stay inside it"),
        ("notes.zip", zipped(notes__md=b"x"), "none in 'notes.zip'"),
        ("broken.zip", b"PK\x03\x04 torn", "which is damaged or none"),
    ],
)
def test_a_bad_zip_is_one_sentence(full: Workspace, model: str, name: str, content: bytes, sentence: str) -> None:
    assert sentence in words_on(dropped(model, (name, content, "application/zip")))
    assert not list((full.data / "uploads").iterdir())


def test_many_pictures_make_a_table(full: Workspace, model: str, photo: bytes) -> None:
    content = zipped(a__jpg=photo, b__png=encoded(lesion("nv", 5), "PNG"), torn__jpg=photo[:500])
    shown = words_on(dropped(model, ("pictures.zip", content, "application/zip")))
    assert "3 pictures" in shown
    assert "Click a row to open its picture." in shown


def test_two_models_stand_side_by_side(full: Workspace, model: str, photo: bytes) -> None:
    twin = full.models / "twin"
    shutil.copytree(full.model(model), twin)
    card = json.loads((twin / "model.json").read_text())
    (twin / "model.json").write_text(json.dumps({**card, "id": "twin", "name": "The twin"}))
    page = dropped(model, ("mole.jpg", photo, "image/jpeg"))
    next(box for box in page.selectbox if box.label == "Beside it").select("twin").run()
    assert not page.exception
    shown = words_on(page)
    assert shown.count("Malignant, all classes together:") == 2
    assert "The twin" in shown
    next(box for box in page.slider if box.label == "Show where the model looked").set_value(40).run()
    assert not page.exception
    assert "100% lies in the other's" in words_on(page), "the twin looks where the model looks"
    whose = next(box for box in page.get("button_group") if box.label == "Whose")
    whose.set_value(1).run()
    assert not page.exception
    assert "lies in the other's" not in words_on(page)


def test_without_training_pictures_a_sentence_stands_there(full: Workspace, model: str, photo: bytes) -> None:
    shutil.rmtree(full.datasets)
    assert NOT_HERE in words_on(dropped(model, ("mole.jpg", photo, "image/jpeg")))


# --- what the page is made of ----------------------------------------------------------------------------------


def received(place: Workspace, *files: tuple[str, bytes]) -> lesion_uploads.Received:
    return lesion_uploads.receive_pictures(place, [(name, io.BytesIO(content)) for name, content in files])


def test_facts_come_from_a_table_beside_the_pictures(full: Workspace, photo: bytes) -> None:
    facts = table([{"image": "a.jpg", "age": "55", "sex": "f", "localization": "back"}])
    found = received(full, ("a.jpg", photo), ("b.jpg", photo), ("facts.csv", facts))
    assert [dict(one.facts) for one in found.pictures] == [{"age": "55", "sex": "female", "site": "back"}, {}]
    # Equal bytes are kept once.
    assert len({one.path for one in found.pictures}) == 1
    found.forget()
    assert not found.folder.exists()


def test_too_many_pictures_are_refused(full: Workspace, photo: bytes) -> None:
    files = [(f"{name}.jpg", io.BytesIO(photo)) for name in "abc"]
    with pytest.raises(MedbenchError, match="Expected at most 2 pictures at once, found 3"):
        lesion_uploads.receive_pictures(full, files, most=2)
    assert not list((full.data / "uploads").iterdir())


def test_the_table_shows_the_doubtful_first(full: Workspace, model: str, photo: bytes) -> None:
    loaded = predicting.load(full, model)
    found = received(
        full, ("a.jpg", photo), ("flat.png", encoded(lesion("nv", 1, (60, 50)), "PNG")), ("t.jpg", b"torn")
    )
    readings = read_pictures(loaded, found.pictures)
    frame = ui_lesion_many.table([loaded], found.pictures, [readings]).sort_values("order")
    assert frame["picture"].iloc[0] == "t.jpg"
    assert frame["diagnosis"].iloc[0] == "cannot be read"
    assert set(frame["malignant"].dropna().between(0, 1)) == {True}


def test_the_report_holds_answers_and_pictures(full: Workspace, model: str, photo: bytes) -> None:
    loaded, picture = predicting.load(full, model), received(full, ("mole.jpg", photo)).pictures[0]
    reading = ui_lesion.read(full, loaded, picture)
    document = PdfReader(io.BytesIO(ui_lesion_one.as_pdf([loaded], picture, [reading])))
    text = "\n".join(page.extract_text() for page in document.pages)
    for words in ("Research use. Not a medical device.", "mole.jpg", "Melanoma", "Grad-CAM", "similarity"):
        assert words in text
    assert sum(len(page.images) for page in document.pages) == 2 + 5
    told = json.loads(ui_lesion_one.as_json([reading]))
    assert told["id"] == "mole.jpg" and set(told["spread"]) == set(LABELS)


def test_names_are_no_markup() -> None:
    score = LabelScore("mel", "<b>Melanoma</b>", 0.8, 0.5, True)
    reading = LesionReading(Prediction("x", "m", (score,)), {"mel": 0.1}, (), 0.2, "light")
    html = ui_lesion.differential(reading)
    assert "&lt;b&gt;Melanoma" in html and "<b>" not in html
    assert "0.80 ± 0.10" in html


# --- over HTTP -------------------------------------------------------------------------------------------------


@pytest.fixture
def client(full: Workspace) -> TestClient:
    return TestClient(api.mounted(full))


def sent(client: TestClient, model: str, *files: tuple[str, bytes], heat: bool = False, **fields: str):
    return client.post(
        f"/api/lesion/predict?heat={str(heat).lower()}",
        files=[("files", (name, content)) for name, content in files],
        data={"model": model, **fields},
    )


def test_the_api_answers_as_the_library_does(client: TestClient, full: Workspace, model: str, photo: bytes) -> None:
    response = sent(client, model, ("mole.jpg", photo), age="61", sex="F", site="Back")
    assert response.status_code == 200
    told = response.json()
    picture = received(full, ("mole.jpg", photo)).pictures[0]
    known = type(picture)(picture.path, picture.name, {"age": "61", "sex": "female", "site": "back"})
    [expected] = read_pictures(predicting.load(full, model), [known])
    assert told == {
        "model": model,
        "predictions": [json.loads(json.dumps(expected.as_json()))],
        "refused": {},
    }


def test_the_api_keeps_nothing_and_draws_heat(client: TestClient, full: Workspace, model: str, photo: bytes) -> None:
    [told] = sent(client, model, ("mole.jpg", photo), heat=True).json()["predictions"]
    assert told["heat"]["label"] == told["chosen"][0]
    assert np.asarray(told["heat"]["map"]).ndim == 2
    assert told["heat"]["trust"]["sentence"]
    assert not list((full.data / "uploads").iterdir())


def test_the_api_refuses_in_three_fields(client: TestClient, model: str, photo: bytes) -> None:
    def refused(status: int, *files: tuple[str, bytes], name: str = model, heat: bool = False) -> str:
        response = sent(client, name, *files, heat=heat)
        assert response.status_code == status, response.text
        assert set(response.json()) == {"expected", "found", "todo"}
        return str(response.json()["found"])

    assert "a text file 'note.jpg'" in refused(422, ("note.jpg", b"only words"))
    assert "none in 'note.docx'" in refused(400, ("note.docx", b"only words"))
    assert "no-such-model" in refused(404, ("mole.jpg", photo), name="no-such-model")
    assert "which reads texts" in refused(400, ("mole.jpg", photo), name="starter-specialties")
    eleven = [(f"{number}.jpg", photo) for number in range(11)]
    assert refused(413, *eleven, heat=True) == "11"
    assert refused(413, *[("mole.jpg", b"")] * (PICTURES_LIMIT + 1)) == f"{PICTURES_LIMIT + 1}"
    mixed = sent(client, model, ("mole.jpg", photo), ("note.jpg", b"only words")).json()["predictions"]
    assert [bool(one["problem"]) for one in mixed] == [False, True]


def test_a_run_shows_what_a_reader_asks_of_a_lesion_model(full: Workspace, model: str) -> None:
    page = opened("pages/train.py", run=model)
    assert not page.exception
    told = words_on(page)
    assert "Malignant found (sensitivity)" in told
    assert "Missed of 1,000 lesions" in told
    page.slider(key="lesion_judged_threshold").set_value(99.0).run()
    assert not page.exception
    assert "the true diagnosis" in words_on(page)
    assert "Each class against all others" in words_on(page)
    page.segmented_control(key="lesion_judged_set").set_value("Specificity").run()
    assert not page.exception
    assert "Reached so" in words_on(page)


def test_an_operating_point_follows_from_the_judged_answers(full: Workspace, model: str) -> None:
    from medbench import lesion_judged

    judged = lesion_judged.load(full, model)
    truth, scores = judged.question("malignant")
    assert truth.sum() == judged.truth[:, judged.labels.index("mel")].sum()
    everybody = judged.operating_point("mel", 0.0, 0.02)
    assert everybody.missed.value == 0 and everybody.biopsies.value == pytest.approx(1000)
    assert ((scores >= 0) & (scores <= 1)).all()
    (full.models / model / "judged.npz").unlink()
    with pytest.raises(MedbenchError, match="shipped without"):
        lesion_judged.load(full, model)
