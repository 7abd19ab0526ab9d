"""Pictures from the command line: trained on, answered, judged and exported through the doors that users take."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_lesions import LABELS, lesion_zip
from typer.testing import CliRunner

from medbench import predicting
from medbench.cli import app
from medbench.records import Item
from medbench.workspace import Workspace, read_json


@pytest.fixture(scope="module")
def place(trained_lesions: tuple[Workspace, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A copy of the workspace with a tiny picture network, and the network's id."""
    root = tmp_path_factory.mktemp("pictures") / "home"
    shutil.copytree(trained_lesions[0].data.parent, root)
    return Workspace.here(root), trained_lesions[1]


def call(place: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    monkeypatch.setenv("MEDBENCH_HOME", str(place[0].data.parent))
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


def test_the_card_says_what_pictures_need(place: tuple[Workspace, str]) -> None:
    card = read_json(place[0].models / place[1] / "model.json")
    assert card["item"] == "image"
    assert "photographs" in card["intended_use"]
    assert "balanced_accuracy" in card["metrics"] and "auc" in card["metrics"]


def test_predict_writes_one_row_per_picture_also_for_the_unreadable(
    place: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    pictures = lesion_zip(tmp_path / "lesions.zip", 6)
    import zipfile

    with zipfile.ZipFile(pictures) as packed:
        packed.extractall(folder)
    (folder / "images" / "broken.jpg").write_bytes(b"no picture at all")
    out = tmp_path / "answers.csv"
    code, told = call(place, monkeypatch, "predict", place[1], str(folder), "--out", str(out), "--json")
    assert code == 0, told
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert len(rows) == 7
    broken = next(row for row in rows if "broken" in row["image"])
    assert broken["label"] == "" and "picture" in broken["problem"]
    for row in rows:
        if row is not broken:
            assert row["label"] in LABELS
            assert sum(float(row[f"p_{label}"]) for label in LABELS) == pytest.approx(1, abs=1e-3)


def test_evaluate_leaves_out_what_it_learnt_from(
    place: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = lesion_zip(tmp_path / "lesions.zip", 48)
    code, told = call(place, monkeypatch, "evaluate", place[1], str(pictures), "--json")
    assert code == 0, told
    found = json.loads(told)
    assert found["seen"] > 0 and found["judged"] + found["seen"] == 48
    assert 0 <= found["metrics"]["balanced_accuracy"]["value"] <= 1
    classes = found["lesion"]["classes"]
    assert [one["name"] for one in classes] == list(LABELS)
    assert sum(one["positives"] for one in classes) == found["judged"]
    assert {part["fact"] for part in found["lesion"]["subgroups"]} == {"age", "sex", "site"}
    code, told = call(place, monkeypatch, "evaluate", place[1], str(pictures))
    assert code == 0 and "sensitivity" in told and "malignant" in told


@pytest.mark.parametrize("format", ["safetensors", "onnx"])
def test_export_writes_files_that_others_read(
    place: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    out = tmp_path / "out"
    code, told = call(place, monkeypatch, "export", place[1], "--to", format, "--out", str(out))
    assert code == 0, told
    assert json.loads((out / "labels.json").read_text())["labels"] == list(LABELS)
    if format == "onnx":
        import openvino

        model = openvino.Core().read_model(out / "model.onnx")
        assert [tensor.get_any_name() for tensor in model.outputs] == ["logits", "vectors"]
    again, told = call(place, monkeypatch, "export", place[1], "--to", format, "--out", str(out))
    assert again == 2 and "empty folder" in told


def test_neighbours_are_pictures_with_their_diagnosis(place: tuple[Workspace, str], tmp_path: Path) -> None:
    from medbench import datasets

    loaded = predicting.load(*place)
    dataset = datasets.load(place[0], str(loaded.card["dataset"]["id"]))
    item = Item("x", "", dataset.examples("train").items[0])
    near, why = predicting.neighbours(place[0], loaded, item)
    assert why == "" and len(near) == 5
    assert near[0].similarity == pytest.approx(1, abs=1e-2)
    assert all(Path(one.text).is_file() and set(one.labels) <= set(LABELS) for one in near)
    assert predicting.seen_in_training(loaded, [item]).all()
    assert np.isfinite(loaded.trust.thresholds).all()


def test_a_text_is_never_taken_for_a_path(
    place: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "texts.csv"
    table.write_text(f"title,abstract\nA,{tmp_path / 'secret.png'}\n", encoding="utf-8")
    code, told = call(place, monkeypatch, "predict", place[1], str(table), "--out", str(tmp_path / "out.csv"))
    assert code == 2 and "Expected pictures" in told and "found none in 'texts.csv'" in told
    assert not (tmp_path / "out.csv").exists()
