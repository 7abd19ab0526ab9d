"""A run on paper: the report in two formats, checklists that name their gaps, and a bundle that repeats the run."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import planted_csv
from pypdf import PdfReader
from tiny_lesions import lesion_zip
from typer.testing import CliRunner

from medbench import bundles, checklists, comparing_judged, report_errors, runs
from medbench.cli import app
from medbench.comparing_judged import Answered
from medbench.records import RunSpec
from medbench.workspace import Workspace, read_json


@pytest.fixture(scope="module")
def files(trained: tuple[Workspace, str]) -> dict[str, bytes]:
    return bundles.everything(*trained)


def test_all_of_it_is_there(files: dict[str, bytes]) -> None:
    assert list(files) == ["model-card.md", "report.html", "report.pdf", "tripod-ai.md", "reproduce.zip"]


def test_html_and_pdf_say_the_same(files: dict[str, bytes], trained: tuple[Workspace, str]) -> None:
    page = files["report.html"].decode()
    paper = " ".join("".join(one.extract_text() for one in PdfReader(io.BytesIO(files["report.pdf"])).pages).split())
    card = read_json(trained[0].model(trained[1]) / "model.json")
    for words in (
        "How well it does",
        "Limits and notes",
        "Checklist TRIPOD+AI",
        f"{card['metrics']['micro_f1']['value']:.3f}",
    ):
        assert words in page.replace("&amp;", "&") and words in paper, words
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    assert all(label in paper for label in card["labels"])


def test_the_report_shows_errors_and_groups_with_their_numbers(
    files: dict[str, bytes], trained: tuple[Workspace, str]
) -> None:
    page = files["report.html"].decode()
    model = comparing_judged.answered(*trained)
    found = {one.title: one for one in report_errors.tables(trained[0], model.card)}
    assert "Groups of items" in page and "Share of test items whose labels are all right" in page
    assert sum(int(row[2]) for row in found["Groups of items"].rows if row[0] == "length") == len(model.truth)
    wrong = int((~model.right).sum())
    assert len(found["Examples of errors"].rows) == min(wrong, 12)
    assert "The search" not in page  # nothing was searched
    assert report_errors.groups_sentence(list(found.values())) == ""  # the length of a text is no group of patients


def test_a_confusion_matrix_and_trials_hand_worked() -> None:
    truth, decided = np.eye(3, dtype=bool)[[0, 0, 1, 2]], np.eye(3, dtype=bool)[[0, 1, 1, 0]]
    card = {"labels": ["a", "b", "c"], "answer": "one"}
    nothing = np.zeros(0)
    model = Answered("m", "m", card, "test", np.arange(4), truth.astype(np.float32), truth, decided, nothing)
    assert report_errors.confusion(model).rows == [["a", "1", "1", "0"], ["b", "0", "1", "0"], ["c", "1", "0", "0"]]
    tried = [
        {"number": 0, "options": {"C": 0.5}, "value": 0.7, "seconds": 2.0, "state": "complete"},
        {"number": 1, "options": {"C": 1.0}, "value": None, "seconds": 1.0, "state": "failed"},
        {"number": 2, "options": {"C": 2.0}, "value": 0.8, "seconds": 3.0, "state": "complete"},
    ]
    table = report_errors.trials({"tuning": {"headline": "micro_f1", "best": 2, "trials": tried}})
    assert [row[0] for row in table.rows] == ["2", "0", "1"] and table.rows[0] == ["2", "0.8000", "complete", "3", "2"]
    rows = [["sex", "female", "60", "0.900 [0.8, 0.95]"], ["length", "under 100 words", "9", "1"]]
    groups = report_errors.Table("Groups of items", "", [], rows, [])
    assert report_errors.groups_sentence([groups]) == "Share of items right: sex female 0.900 [0.8, 0.95] (n 60)."


def test_a_card_cannot_smuggle_markup_into_the_report(
    full_workspace: Workspace, trained: tuple[Workspace, str]
) -> None:
    path = full_workspace.model(trained[1]) / "model.json"
    path.write_text(json.dumps({**read_json(path), "name": "<script>x</script>", "limits": ["<img src=x>"]}))
    page = bundles.everything(full_workspace, trained[1])["report.html"].decode()
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page


def test_checklists_have_every_item_once_and_name_their_gaps(trained: tuple[Workspace, str]) -> None:
    card = read_json(trained[0].model(trained[1]) / "model.json")
    found = checklists.filled({**card, "item": "image"}, {})
    numbers = [line.number for line in found["TRIPOD+AI"]]
    assert len(set(numbers)) == len(numbers)
    assert {int(re.sub("[a-g]", "", number)) for number in numbers} == set(range(1, 28))
    assert [line.number for line in found["CLAIM"]] == [str(number) for number in range(1, 43)]
    by = {line.number: line for line in found["TRIPOD+AI"]}
    assert f"{card['metrics']['micro_f1']['value']:.3f}" in by["23a"].answer
    assert "cardiology" in by["8a"].answer and by["17"].gap and by["14"].gap
    assert "Gaps for the authors: 1, 2," in checklists.summary(found["TRIPOD+AI"])
    assert list(checklists.filled(card)) == ["TRIPOD+AI"]
    bare = checklists.filled({"id": "x"})["TRIPOD+AI"]  # a card that knows nothing fills nothing that it cannot know
    assert {line.number for line in bare if not line.gap}.isdisjoint({"3b", "8a", "12c", "22", "23a", "26"})


TESTED = {"judged_on": "the test split, 90 rows that training never saw", "metrics": {"micro_f1": {"value": 0.5}}}


def _answers(card: dict[str, object], **known: object) -> dict[str, checklists.Line]:
    found = checklists.filled({"id": "m", "item": "image", **card}, **known)  # type: ignore[arg-type]
    return {f"{name} {line.number}": line for name, lines in found.items() for line in lines}


def test_a_checklist_says_sealed_only_of_a_sealed_test_split() -> None:
    sealed = _answers(TESTED)
    assert "scored the test split once" in sealed["TRIPOD+AI 12g"].answer
    held = {**TESTED, "judged_on": "validation scores of 90 rows (the dataset has no test split)"}
    open_ = _answers({**held, "calibration": {"method": "platt", "ece_before": 0.2, "ece_after": 0.1}})
    for number in ("TRIPOD+AI 12g", "CLAIM 26"):
        assert "saw these rows" in open_[number].answer and "test split once" not in open_[number].answer
    assert "without the test split" not in " ".join(line.answer for line in open_.values())
    assert _answers({})["CLAIM 26"].gap and _answers({})["TRIPOD+AI 15"].gap


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base": "resnet18", "weights": "random"}, "From random weights (network resnet18)."),
        ({"base": "resnet18", "weights": "imagenet"}, "From the weights of resnet18."),
        ({"base": "resnet18", "weights": "random", "start_from": "run-1"}, "From the weights of the model run-1"),
        ({"C": 1.0}, ""),
    ],
)
def test_a_checklist_says_what_training_began_with(options: dict[str, object], words: str) -> None:
    assert _answers({"options": options})["CLAIM 24"].answer.startswith(words)
    assert _answers({"options": options})["CLAIM 24"].gap == (not words)


def test_a_checklist_takes_no_loss_for_help_with_imbalance() -> None:
    assert _answers({"family": "cascade", "options": {"loss": 0.2}})["TRIPOD+AI 13"].gap
    told = _answers({"family": "linear", "options": {"loss": "svm", "class_weight": "half"}})["TRIPOD+AI 13"].answer
    assert "class_weight=half" in told and "svm" not in told


def test_a_checklist_claims_only_what_lies_beside_the_model() -> None:
    bare, full = (
        _answers(TESTED),
        _answers(TESTED, answers_kept=True, heat="gradcam: it depends.", groups="By age: so."),
    )
    assert bare["CLAIM 37"].gap and "judged.npz" in full["CLAIM 37"].answer
    assert bare["CLAIM 31"].gap and full["CLAIM 31"].answer == "gradcam: it depends."
    half, whole = bare["TRIPOD+AI 23a"], full["TRIPOD+AI 23a"]
    assert half.answer and half.shown.endswith("GAP: estimates for groups of patients.")
    assert not whole.lacks and "By age: so." in whole.answer
    assert "Only in part: 23a" in checklists.summary([half]) and "Only in part" not in checklists.summary([whole])


def test_a_checklist_tells_how_pictures_were_prepared_and_no_bare_options() -> None:
    options = {"size": 160, "read_size": 192, "epochs": 4.0, "rotation": 90.0, "flips": True, "colour": 0.0}
    told = _answers({**TESTED, "options": options})
    assert told["CLAIM 9"].answer == (
        "Pictures are brought to 160 by 160 pixels for training, to 192 by 192 for answering. "
        "In training each is turned by up to 90 degrees, mirrored, at random."
    )
    averaged = _answers({"options": {**options, "epochs": 0.0, "start_from": "a", "average_with": ["b"]}})
    assert "trained nothing" in averaged["CLAIM 9"].answer and "turned" not in averaged["CLAIM 9"].answer
    assert "mean of several models" in averaged["CLAIM 27"].answer and told["CLAIM 27"].answer == "None."
    assert "micro-F1 0.500" in told["CLAIM 28"].answer and told["TRIPOD+AI 12e"].lacks == "why these measures"
    plain = _answers({"family": "encoder", "options": {"imbalance": "none", "max_minutes": None, "head": ""}})
    assert plain["TRIPOD+AI 13"].answer == "Rare labels were neither weighted nor drawn more often."
    assert plain["TRIPOD+AI 12c"].answer == "Family encoder, seed 0; imbalance=none."


def test_rows_torn_apart_are_not_called_disjoint() -> None:
    for plan, words in (({"method": "stratified", "part_groups": True}, "several parts"), ({"method": "file"}, "file")):
        [line] = [one for one in checklists.filled({"id": "m"}, {"split": plan})["TRIPOD+AI"] if one.number == "16"]
        assert words in line.answer and "together" not in line.answer


def test_the_bundle_holds_what_repeats_the_run(files: dict[str, bytes], trained: tuple[Workspace, str]) -> None:
    place, model = trained
    with zipfile.ZipFile(io.BytesIO(files["reproduce.zip"])) as bundle:
        held = {name: bundle.read(name) for name in bundle.namelist()}
    card = read_json(place.model(model) / "model.json")
    data = json.loads(held["data.json"])
    rows = (place.dataset(card["dataset"]["id"]) / "rows.parquet").read_bytes()
    assert data["rows_sha256"] == hashlib.sha256(rows).hexdigest()
    assert data["splits"] == card["dataset"]["splits"]
    assert card["command"] in held["command.sh"].decode()
    assert re.search(r"^numpy==\d", held["environment.txt"].decode(), re.M)
    assert json.loads(held["model-card.json"]) == card
    again = runs.parse_spec(held["run.yaml"].decode(), [], "run.yaml")
    assert again == RunSpec(task="literature", family="linear", dataset=card["dataset"]["id"])
    assert files["reproduce.zip"] == bundles.reproduce(place, model)  # the same files make the same bytes


def test_errors_on_pictures_say_whose_they_are(trained_lesions: tuple[Workspace, str]) -> None:
    model = comparing_judged.answered(*trained_lesions)
    found = report_errors.examples(trained_lesions[0], model)
    assert list(found.head) == ["id", "patient", "true", "decided"]
    assert len(found.rows) == min(int((~model.right).sum()), 12) > 0
    assert all(re.fullmatch(r"age \d+, (fe)?male, (back|face|trunk)", row[1]) for row in found.rows)


@pytest.mark.parametrize("kind", ["texts", "pictures"])
def test_the_script_of_the_bundle_makes_the_same_dataset(
    kind: str, trained: tuple[Workspace, str], trained_lesions: tuple[Workspace, str], tmp_path: Path
) -> None:
    place, model = trained if kind == "texts" else trained_lesions
    source = tmp_path / "sources of mine"
    source.mkdir()
    if kind == "texts":
        planted_csv(source / "planted.csv")
    else:
        lesion_zip(source / "lesions.zip")
    with zipfile.ZipFile(io.BytesIO(bundles.reproduce(place, model))) as bundle:
        bundle.extractall(tmp_path / "bundle")
    script = tmp_path / "bundle" / "command.sh"
    lines = script.read_text().splitlines()
    assert lines[-1].startswith('medbench train "$here/run.yaml" dataset=')
    script.write_text("\n".join(lines[:-1]).replace("medbench import", f"{sys.executable} -m medbench import"))
    home = {**os.environ, "MEDBENCH_HOME": str(tmp_path / "home")}
    done = subprocess.run(["sh", str(script), str(source)], env=home, capture_output=True, text=True)
    dataset = read_json(place.model(model) / "model.json")["dataset"]["id"]
    assert done.returncode == 0 and done.stdout.split() == [dataset], done.stderr


def test_the_command_writes_a_folder(
    trained: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDBENCH_HOME", str(trained[0].data.parent))
    done = CliRunner().invoke(app, ["report", trained[1], "--to", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        Path(one).name for one in json.loads(done.stdout)["files"]
    )
    (tmp_path / "file").touch()
    wrong = CliRunner().invoke(app, ["report", trained[1], "--to", str(tmp_path / "file")])
    assert wrong.exit_code == 2 and "Expected a folder for the reports" in wrong.stderr
    assert CliRunner().invoke(app, ["report", "nobody"]).exit_code == 2
