"""What is kept beside an answer: lesions a starter tells of, the check of heat maps, the history, half-done batches."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_pictures import encoded, table, zipped
from tiny_lesions import LABELS, lesion

from medbench import exporting, heat_check, history, lesion_history, lesion_judged, picture_batches, predicting
from medbench import shipped_lesions as shipped
from medbench.errors import MedbenchError
from medbench.job_answers import Turn
from medbench.lesion_reading import Picture, SkinLesionPredictor, read_picture, read_pictures
from medbench.tasks import get_task
from medbench.workspace import Workspace


@pytest.fixture
def full(trained_lesions: tuple[Workspace, str], tmp_path: Path) -> Workspace:
    """A copy of the workspace with the tiny network that the test may change."""
    shutil.copytree(trained_lesions[0].data.parent, tmp_path / "home")
    return Workspace.here(tmp_path / "home")


@pytest.fixture
def model(trained_lesions: tuple[Workspace, str]) -> str:
    return trained_lesions[1]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a lesion.jpg"
    lesion("mel", 99, (400, 300)).save(path, quality=95)
    return path


# --- lesions a starter tells of --------------------------------------------------------------------------------


def vectors(n: int, width: int = 200) -> np.ndarray:
    """Unit vectors in three clusters that vary little on most axes, as networks make them."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(3, width))
    found = centres[np.arange(n) % 3] + rng.normal(size=(n, width)) / (1 + np.arange(width) / 10)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_small_vectors_find_nearly_the_same_neighbours(tmp_path: Path) -> None:
    known, asked = vectors(600)[:500], vectors(600)[500:]
    ids = [f"ISIC_{at}" for at in range(500)]
    facts = shipped.coded(ids, [f"HAM_{at // 2}" for at in range(500)], [LABELS[at % 3] for at in range(500)], known)
    shipped.save(tmp_path, facts)
    read = shipped.load(tmp_path)
    assert read is not None
    assert (read.ids, read.lesions, read.labels) == (facts.ids, facts.lesions, facts.labels)
    assert read.confirmed == ()
    told = ("histopathology", "") * 250
    (tmp_path / "told").mkdir()
    shipped.save(tmp_path / "told", dataclasses.replace(facts, confirmed=told))
    again = shipped.load(tmp_path / "told")
    assert again is not None and again.confirmed == told
    assert np.array_equal(read.codes, facts.codes) and np.allclose(read.axes, facts.axes, atol=1e-6)
    near = np.abs(read.similarity(asked[0]) - known @ asked[0])
    assert near.max() < 0.1
    for vector in asked[:20]:
        found = read.nearest(vector, 5)
        assert len({read.lesions[at] for at, _ in found}) == 5  # one picture of each lesion
        assert [value for _, value in found] == sorted((value for _, value in found), reverse=True)
        assert (known @ vector)[found[0][0]] >= np.sort(known @ vector)[-5]
    assert shipped.load(tmp_path / "none") is None


def test_a_starter_tells_of_its_lesions_without_their_pictures(full: Workspace, model: str, photo: Path) -> None:
    folder = exporting.as_starter(full, model, "tiny", "A tiny starter")
    assert {path.name for path in folder.iterdir()} >= {"lesions.npz", "heat_check.json", "model.json"}
    assert not {"neighbours.npz", "judged.npz"} & {path.name for path in folder.iterdir()}
    starter = predicting.load(full, "starter-tiny")
    own = read_picture(full, predicting.load(full, model), photo)
    here = read_picture(full, starter, photo)
    assert all(one.confirmed for one in here.similar)
    # The dataset is here and holds the same ids with the same diagnoses: the pictures are shown from there.
    assert here.similar_note == "" and all(one.path and one.path.is_file() for one in here.similar)
    assert len({one.lesion for one in here.similar}) == 5
    assert len({one.id for one in here.similar} & {one.id for one in own.similar}) >= 3
    shutil.rmtree(full.datasets)
    gone = read_picture(full, starter, photo)
    assert [one.id for one in gone.similar] == [one.id for one in here.similar]
    assert all(one.path is None and one.labels[0] in LABELS for one in gone.similar)
    assert gone.similar_note.startswith("Their pictures may not be passed on with the model. Import HAM10000")
    told = SkinLesionPredictor(folder).predict(photo)
    assert [one["id"] for one in told["similar"]] == [one.id for one in gone.similar]
    # A starter made of a starter, without the dataset, tells of the same lesions.
    again = shipped.load(exporting.as_starter(full, "starter-tiny", "again", "Again"))
    first = shipped.load(folder)
    assert again is not None and first is not None and again.ids == first.ids


def test_another_picture_of_the_same_name_is_not_shown(full: Workspace) -> None:
    found = shipped.pictures_here(full, {"ISIC_0000": "mel", "ISIC_0001": "vasc", "ISIC_9999": "nv"})
    assert list(found) == ["ISIC_0000"]  # ISIC_0001 is a nevus here


# --- heat maps against random weights --------------------------------------------------------------------------


def test_a_training_leaves_the_check_of_every_method(trained_lesions: tuple[Workspace, str], photo: Path) -> None:
    place, name = trained_lesions
    checks = heat_check.load(place.model(name))
    loaded = predicting.load(place, name)
    assert set(checks) == set(loaded.model.methods())
    for check in checks.values():
        assert -1 <= check.correlation <= 1 and -1 <= check.ssim <= 1
        assert check.pictures > 1 and check.networks == heat_check.NETWORKS
        assert check.sentence.startswith("With random weights the map")
    told = SkinLesionPredictor(place.model(name)).explain_prediction(photo)
    assert told.check == checks["grad-cam"]


def test_an_older_model_is_checked_once(full: Workspace, model: str) -> None:
    path = full.model(model) / heat_check.FILE
    expected = json.loads(path.read_text())
    path.unlink()
    loaded, shares = predicting.load(full, model), []
    assert heat_check.told(loaded, "grad-cam") is None
    found = heat_check.ensure(full, loaded, shares.append)
    assert shares[-1] == 1 and json.loads(path.read_text()) == expected
    shares.clear()
    assert heat_check.ensure(full, loaded, shares.append) == found and shares == []
    path.unlink()
    shutil.rmtree(full.datasets)
    assert heat_check.ensure(full, loaded) == {}


def test_alike_and_unlike_maps() -> None:
    rng = np.random.default_rng(0)
    one = rng.random((6, 6)).astype(np.float32)
    assert heat_check.rank_correlation(one, one**3) == pytest.approx(1)  # ranks, not values
    assert heat_check.rank_correlation(one, -one) == pytest.approx(-1)
    assert heat_check.rank_correlation(one, np.zeros((6, 6), np.float32)) == 0
    assert heat_check.structural_similarity(one, one) == pytest.approx(1)
    others = [rng.random((6, 6)).astype(np.float32) for _ in range(20)]
    assert abs(np.mean([heat_check.rank_correlation(one, other) for other in others])) < 0.15
    assert np.mean([heat_check.structural_similarity(one, other) for other in others]) < 0.4
    words = [heat_check.HeatCheck("grad-cam", value, 0.1, 20, 3).sentence for value in (0.08, 0.4, 0.9)]
    assert "changes (rank correlation 0.08 over 20 pictures): it depends on what" in words[0]
    assert "only in part" in words[1] and "hardly changes" in words[2]


# --- history ---------------------------------------------------------------------------------------------------


def test_an_answer_is_kept_and_its_picture_is_not(
    full: Workspace, model: str, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torn = photo.with_name("torn.jpg")
    torn.write_bytes(photo.read_bytes()[:300])
    pictures = [Picture(photo, "mole.jpg", {}), Picture(torn, "torn.jpg", {})]
    readings = read_pictures(predicting.load(full, model), pictures)
    name, none = lesion_history.keep(full, Turn(model), pictures, readings)
    assert name and none == ""
    [row] = history.read(full, pictures=True).to_dict("records")
    assert (row["item"], row["model"], row["width"], row["height"]) == ("mole.jpg", model, 400, 300)
    assert row["bytes"] == photo.stat().st_size and len(row["hash"]) == 64
    assert row["chosen"] == list(readings[0].prediction.chosen)
    assert history.read(full, pictures=False).empty
    assert sum(path.stat().st_size for path in full.history.rglob("*.jsonl")) < 2_000
    history.correct(full, name, ["nv"], "histology")
    assert history.read(full, pictures=True)["labels"][0] == ["nv"]
    history.undo(full, name)
    assert not history.read(full, pictures=True)["corrected"][0]
    monkeypatch.setenv("MEDBENCH_KEEP_TEXT", "0")
    lesion_history.keep(full, Turn(model), pictures, readings)
    assert history.read(full, pictures=True)["item"][0] == row["hash"][:12]


# --- batches ---------------------------------------------------------------------------------------------------


def folder_of(place: Path, n: int) -> Path:
    place.mkdir()
    for number in range(n):
        (place / f"{number:03d}.jpg").write_bytes(encoded(lesion(LABELS[number % 3], number)))
    (place / "005.jpg").write_bytes(b"torn")
    (place / "facts.csv").write_bytes(table([{"image": f"{number:03d}.jpg", "age": number} for number in range(n)]))
    return place


def test_a_killed_batch_of_pictures_goes_on(full: Workspace, model: str, tmp_path: Path) -> None:
    chunk = 8
    pictures = folder_of(tmp_path / "pictures", 3 * chunk)
    whole, out = tmp_path / "whole.csv", pictures / "answers.csv"
    done = picture_batches.predict_pictures(full, model, pictures, whole, chunk=chunk)
    assert (done.answered, len(done.refused), done.resumed) == (3 * chunk - 1, 1, 0)
    script = (
        "import sys, time; from pathlib import Path\n"
        "from medbench import picture_batches; from medbench.workspace import Workspace\n"
        "def tell(done, total):\n    print(done, flush=True)\n    time.sleep(600)\n"
        "model, pictures, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])\n"
        "picture_batches.predict_pictures(Workspace.here(), model, pictures, out, tell, chunk=8)"
    )
    environment = {**os.environ, "MEDBENCH_HOME": str(full.data.parent)}
    command = [sys.executable, "-c", script, model, str(pictures), str(out)]
    partial = out.with_name("answers.csv.partial")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == f"{chunk}\n"  # the first chunk is on disk
        worker.send_signal(signal.SIGKILL)
    assert not out.exists() and [path.name for path in partial.glob("*.npz")] == ["00000.npz"]
    again = picture_batches.predict_pictures(full, model, pictures, out, chunk=chunk)
    assert again.resumed == chunk
    assert out.read_bytes() == whole.read_bytes()
    assert not partial.exists()
    # Its own answers, lying among the pictures, are not taken for a table; every answer is in the history.
    assert picture_batches.predict_pictures(full, model, pictures, out).resumed == 0
    assert out.read_bytes() == whole.read_bytes()
    assert len(history.read(full, pictures=True, limit=None)) >= 3 * done.answered - chunk


def test_other_pictures_or_another_model_begin_anew(full: Workspace, model: str, tmp_path: Path) -> None:
    members = {f"{number}.jpg": encoded(lesion("nv", number)) for number in range(3)}
    file, out = zipped(tmp_path / "a.zip", members), tmp_path / "answers.csv"
    partial = tmp_path / "answers.csv.partial"
    partial.mkdir()
    (partial / "batch.json").write_text('{"mark": "of another file"}')
    np.savez(partial / "00000.npz", rows=np.array(["{}"]))
    assert picture_batches.predict_pictures(full, model, file, out).resumed == 0
    with out.open() as lines:
        assert [row["image"] for row in csv.DictReader(lines)] == list(members)
    with pytest.raises(MedbenchError, match="Expected the name of a file to write, found the folder"):
        picture_batches.predict_pictures(full, model, file, folder_of(tmp_path / "folder.csv", 6))


# --- facts and groups of patients ------------------------------------------------------------------------------


def test_the_judged_pictures_come_with_skin_tones(full: Workspace, model: str) -> None:
    judged = lesion_judged.load(full, model)
    assert judged.toned
    tones = [group for group in judged.subgroups() if group.fact == lesion_judged.TONE]
    assert sum(group.n for group in tones) == len(judged.truth)
    assert {group.value for group in tones} <= {
        "very light",
        "light",
        "intermediate",
        "tan",
        "brown",
        "dark",
        "unknown",
    }
    plain = lesion_judged.tones(judged.items)
    assert judged.with_tones(plain.tolist()).facts == judged.facts
    assert np.isnan(lesion_judged.tones(["gone.jpg"])[0])


def test_a_newborn_has_an_age_and_ak_is_akiec() -> None:
    from medbench.families._vision_pictures import facts_of
    from medbench.picture_facts import facts_of as known
    from medbench.records import join_image

    rows = facts_of([join_image("a.jpg", {"age": "0"}), join_image("a.jpg", {})])
    assert rows[:, 1].tolist() == [1, 0]
    assert known({"age": 0, "sex": "M"}, {"age": "age", "sex": "sex"}) == {"age": "0", "sex": "male"}
    task = get_task("lesion")
    assert [task.clean_label(label) for label in ("AK", "SCC", "Squamous cell carcinoma")] == ["akiec", "scc", "scc"]
    assert task.label_name("scc") == "Squamous cell carcinoma"
