"""Files through a model: same format out, nothing lost, goes on after a kill, one answer at every door."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medbench import batches, datasets, predicting
from medbench.cli import app
from medbench.errors import MedbenchError
from medbench.readers import ADDITIONS
from medbench.records import Item
from medbench.workspace import Workspace

RIS = """TY  - JOUR
TI  - Stents after myocardial infarction
AB  - Coronary stent in angina and ventricular arrhythmia of the heart.
ID  - 77
ER  -

TY  - JOUR
TI  - Seizure and cortex
AB  - Epilepsy with cerebral stroke, dementia and migraine.
ZZ  - a tag nobody knows
ER  -
"""


def write_csv(path: Path, rows: int) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pmid", "title", "abstract"])
        for number in range(rows):
            word = ("coronary heart", "carcinoma tumour", "stroke cortex")[number % 3]
            writer.writerow([str(number), f"About {word}", f"{word} patients in a study number {number}"])
    return path


def test_a_ris_file_goes_back_out_with_its_labels(trained: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, model = trained
    (tmp_path / "in.ris").write_text(RIS)
    batch = batches.open_batch(workspace, model, tmp_path / "in.ris", folder=tmp_path / "work")
    batch.run()
    text = batch.write(tmp_path / "out.ris").read_text()
    assert batch.complete
    assert batch.done == 2
    assert "KW  - cardiology" in text
    assert "KW  - neurology" in text
    assert f"medbench_model: {model}" in text.replace("medbench model", "medbench_model")
    assert "ZZ  - a tag nobody knows" in text


def test_a_stopped_batch_goes_on_where_it_was(trained: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, model = trained
    file = write_csv(tmp_path / "in.csv", 2 * batches.CHUNK + 10)
    stop = threading.Event()
    first = batches.open_batch(workspace, model, file, folder=tmp_path / "work")
    first.run(lambda done, total: stop.set(), stop)
    assert first.done == batches.CHUNK
    assert not first.complete
    second = batches.open_batch(workspace, model, file, folder=tmp_path / "work")
    seen: list[int] = []
    second.run(lambda done, total: seen.append(done))
    assert seen == [2 * batches.CHUNK, 2 * batches.CHUNK + 10]
    assert second.complete
    rows = list(csv.DictReader(second.write(tmp_path / "out.csv").open(encoding="utf-8-sig")))
    assert [row["pmid"] for row in rows] == [str(number) for number in range(2 * batches.CHUNK + 10)]
    assert {row["medbench_model"] for row in rows} == {model}


def test_another_file_under_the_same_folder_starts_afresh(trained: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, model = trained
    one = batches.open_batch(workspace, model, write_csv(tmp_path / "a.csv", 5), folder=tmp_path / "work")
    one.run()
    other = batches.open_batch(workspace, model, write_csv(tmp_path / "b.csv", 7), folder=tmp_path / "work")
    assert other.done == 0
    other.run()
    assert other.done == 7


def test_corrections_and_empty_texts_are_told_in_the_file(trained: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, model = trained
    (tmp_path / "in.csv").write_text('id,title,abstract\n1,"=cmd()",heart coronary angina\n2,,\n')
    batch = batches.open_batch(workspace, model, tmp_path / "in.csv", folder=tmp_path / "work")
    batch.run()
    table = batch.table()
    assert table["problem"].tolist() == ["", predicting.EMPTY]
    rows = list(csv.DictReader(batch.write(tmp_path / "o.csv", {0: ["oncology"]}).open(encoding="utf-8-sig")))
    assert rows[0]["medbench_labels"] == "oncology"
    assert "corrected by a reader" in rows[0]["medbench_flags"]
    assert not rows[0]["title"].startswith("=")
    assert "empty" in rows[1]["medbench_flags"]
    assert {name for name in rows[0] if name.startswith("medbench_")} <= {*ADDITIONS}
    assert [row["medbench_promise"] for row in rows] == ["settled by a reader", "for a person"]
    assert batch.stands()[0].endswith("stand alone, the others go to a person.")
    assert batch.stands()[-len(batch.loaded.behind) :] == list(batch.loaded.behind) and batch.loaded.behind[
        0
    ].startswith("Probabilities are ")
    members = [cell.partition("=")[0] for cell in rows[0]["medbench_set"].split(";") if cell]
    assert members == list(batch.prediction(0).conformal) and rows[1]["medbench_set"] == ""
    plain = list(csv.DictReader(batch.write(tmp_path / "plain.csv").open(encoding="utf-8-sig")))
    assert plain[0]["medbench_promise"] == batch.loaded.row_words(not batch.prediction(0).needs_human, False)


def test_the_command_line_gives_the_library_s_answer(
    trained: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, model = trained
    monkeypatch.setenv("MEDBENCH_HOME", str(workspace.data.parent))
    file = write_csv(tmp_path / "in.csv", 9)
    result = CliRunner().invoke(app, ["predict", model, str(file), "--out", str(tmp_path / "out.csv"), "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert (facts["answered"], facts["refused"], facts["model"]) == (9, 0, model)
    assert not (tmp_path / "out.csv.partial").exists()
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8-sig")))
    items = [Item(row["pmid"], row["title"], row["abstract"]) for row in rows]
    answers = predicting.predict(predicting.load(workspace, model), items)
    assert [row["medbench_labels"] for row in rows] == [";".join(answer.chosen) for answer in answers]
    best = [answer.labels[0] for answer in answers]
    assert all(
        f"{top.label}={top.probability:.3f}" in row["medbench_scores"] for row, top in zip(rows, best, strict=True)
    )


def test_an_unknown_model_is_one_sentence_and_exit_code_two(tmp_path: Path, home: Workspace) -> None:
    file = write_csv(tmp_path / "in.csv", 1)
    result = CliRunner().invoke(app, ["predict", "no-such-model", str(file), "--out", str(tmp_path / "o.csv")])
    assert result.exit_code == 2
    assert result.stderr.startswith("Expected the id of a model, found 'no-such-model'.")
    assert result.stderr.count("\n") == 1


def test_a_file_without_text_is_refused(trained: tuple[Workspace, str], tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(MedbenchError, match="a column with a title or a text"):
        batches.open_batch(trained[0], trained[1], tmp_path / "n.csv", folder=tmp_path / "work")


def test_any_file_goes_out_as_a_table_or_as_json(trained: tuple[Workspace, str], tmp_path: Path) -> None:
    place, model = trained
    file = tmp_path / "a.ris"
    file.write_text(RIS + "\nTY  - JOUR\nKW  - one\nKW  - two\nTI  - =cmd()\nER  -\n")
    batch = batches.open_batch(place, model, file, folder=tmp_path / "chunks")
    batch.run()
    with batch.write(tmp_path / "a.csv", format="tables").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["TI"] for row in rows] == ["Stents after myocardial infarction", "Seizure and cortex", "'=cmd()"]
    assert (rows[0]["ID"], rows[1]["ZZ"], rows[2]["KW"]) == ("77", "a tag nobody knows", "one; two")
    objects = json.loads(batch.write(tmp_path / "a.json", format="json_list").read_text())
    lines = [json.loads(line) for line in batch.write(tmp_path / "a.jsonl", format="jsonl").read_text().splitlines()]
    assert objects == lines
    assert [row["medbench_labels"] for row in objects] == [row["medbench_labels"] for row in rows]
    with pytest.raises(MedbenchError, match="CSV or JSON to write answers to"):
        batch.write(tmp_path / "a.nbib", format="medline")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.json", "a.jsonl", "a.ris", "chunks"]


def test_a_file_that_the_model_learnt_from_is_told(trained: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, model = trained
    dataset = predicting.load(workspace, model).card["dataset"]["id"]
    rows = datasets.load(workspace, dataset).frame().head(3)
    with (tmp_path / "in.csv").open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["title", "abstract"])
        lines.writerows([*zip(rows["title"], rows["text"], strict=True), ("A new one", "about something else")])
    batch = batches.open_batch(workspace, model, tmp_path / "in.csv", folder=tmp_path / "work")
    batch.run()
    assert "The model learnt from 3 of the 4 records: its answers to these prove little" in "\n".join(batch.stands())
