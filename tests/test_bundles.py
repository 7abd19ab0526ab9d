"""A run on paper: the report in two formats, checklists that name their gaps, and a bundle that repeats the run."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from pypdf import PdfReader
from typer.testing import CliRunner

from medbench import bundles, checklists, runs
from medbench.cli import app
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
