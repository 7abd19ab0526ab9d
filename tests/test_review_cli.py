"""`medbench review` on the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from conftest import import_planted
from typer.testing import CliRunner

from medbench import datasets, review
from medbench.cli import app
from medbench.readers import open_source
from medbench.workspace import Workspace

RUN = CliRunner()


def test_simulate_says_what_the_ranking_saves(home: Workspace, tmp_path: Path) -> None:
    dataset = import_planted(home, tmp_path)
    command = ["review", "simulate", dataset, "--label", "oncology", "--seeds", "2"]
    told = RUN.invoke(app, [*command, "--json"])
    assert told.exit_code == 0, told.output
    facts = json.loads(told.stdout)
    assert facts["records"] == 150
    assert [replay["seed"] for replay in facts["replays"]] == [0, 1]
    assert facts["saved_at_95"] > 0.2
    plain = RUN.invoke(app, command)
    assert f"{facts['relevant']} of 150 records carry oncology." in plain.stdout
    assert "95 % found after" in plain.stdout


def test_simulate_refuses_what_it_cannot_replay(home: Workspace, tmp_path: Path) -> None:
    dataset = import_planted(home, tmp_path)
    unknown = RUN.invoke(app, ["review", "simulate", dataset, "--label", "surgery"])
    assert unknown.exit_code == 2
    assert "found 'surgery'. Choose one of these: cardiology, neurology, oncology." in unknown.stderr
    odd = RUN.invoke(app, ["review", "simulate", dataset, "--label", "oncology", "--strategy", "luck"])
    assert odd.exit_code == 2
    assert "found 'luck'" in odd.stderr


def test_a_review_from_beginning_to_dataset(home: Workspace, tmp_path: Path) -> None:
    dataset = import_planted(home, tmp_path, rows=60)
    begun = RUN.invoke(app, ["review", "begin", dataset, "--name", "Tumours", "--label", "oncology"])
    assert begun.exit_code == 0, begun.output
    name = begun.stdout.strip()
    assert name in RUN.invoke(app, ["review", "list"]).stdout
    held = review.load(home, name)
    for record in range(30):
        labels = ["oncology"] if "oncology" in held.dataset.rows([record])[0]["labels"] else []
        held.journal.decide(record, "read", labels, "ab", note="=clear" if record == 3 else "")
    held.journal.decide(30, "unsure", [], "ab")
    told = json.loads(RUN.invoke(app, ["review", "status", name, "--json"]).stdout)
    assert (told["records"], told["decided"], told["disagreements"]) == (60, 31, 1)
    assert told["advice"]["oncology"]["read"] == 30
    assert "31 of 60 records decided." in RUN.invoke(app, ["review", "status", name]).stdout

    table = tmp_path / "out.csv"
    assert RUN.invoke(app, ["review", "export", name, "--out", str(table)]).exit_code == 0
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 31
    assert {row["decision"] for row in rows} == {"include", "exclude", "unsure"}
    assert rows[3]["notes"] == "ab: =clear"

    ris = tmp_path / "out.ris"
    assert RUN.invoke(app, ["review", "export", name, "--to", "ris", "--out", str(ris)]).exit_code == 0
    reader, source = open_source(ris)
    assert reader.name == "ris"
    records = list(reader.read(source))
    assert len(records) == 31
    assert sum("oncology" in record.fields.get("KW", ()) for record in records) == told["advice"]["oncology"]["found"]

    made = RUN.invoke(app, ["review", "export", name, "--to", "dataset"]).stdout.strip()
    card = datasets.load(home, made).card
    assert (card["n_labelled"], sorted(card["labels"]), card["answer"]) == (30, ["not oncology", "oncology"], "one")
    assert card["licence"] == "CC0, invented"
    odd = RUN.invoke(app, ["review", "export", name, "--to", "pdf"])
    assert "found 'pdf'" in odd.stderr


def test_a_review_is_deleted_restored_and_deleted_for_good(home: Workspace, tmp_path: Path) -> None:
    plan = review.create(home, import_planted(home, tmp_path, rows=30), "Tumours", ["include"])
    gone = RUN.invoke(app, ["review", "delete", plan.id])
    assert gone.exit_code == 0 and f"medbench review restore {plan.id}" in gone.stdout
    assert review.list_reviews(home) == []
    assert RUN.invoke(app, ["review", "restore", plan.id]).stdout == f"{plan.id} is back.\n"
    assert review.list_reviews(home) == [plan]
    assert RUN.invoke(app, ["review", "delete", plan.id, "--for-good"]).stdout == f"Deleted {plan.id}.\n"
    again = RUN.invoke(app, ["review", "restore", plan.id])
    assert again.exit_code == 2 and "the id of a deleted review" in again.stderr
