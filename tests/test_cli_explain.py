"""The command line explains a text, a document and a file of records, and compares methods."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medbench.cli import app
from medbench.workspace import Workspace

TEXT = "The trial had two groups. Angina after a coronary stent was studied in the heart. The outcome was the same."


@pytest.fixture
def model(trained: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MEDBENCH_HOME", str(trained[0].data.parent))
    return trained[1]


def said(*arguments: str, code: int = 0) -> str:
    given = CliRunner().invoke(app, ["explain", *arguments])
    assert given.exit_code == code, given.output
    return given.stdout if code == 0 else given.stderr


def test_a_text_is_explained_in_words_and_in_json(model: str) -> None:
    told = said(model, "--text", TEXT, "--label", "cardiology")
    assert "Without the marked words the score falls" in told and "Comprehensiveness" in told
    facts = json.loads(said(model, "--text", TEXT, "--label", "cardiology", "--method", "occlusion", "--json"))
    [one] = facts["explanations"]
    best = max(one["marks"], key=lambda mark: mark["weight"])
    assert best["words"] in TEXT and one["text"][best["start"] : best["end"]] == best["words"]
    assert one["method"] == "occlusion" and one["faithfulness"] > 0 and one["deletion"] < one["chance"]


def test_a_file_is_explained_by_its_sentences(model: str, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(f'id,title,abstract\n7,=1+1,"{TEXT}"\n8,,\n9,Seizure,"A migraine. A stroke in the cortex."\n')
    out = tmp_path / "out.csv"
    assert "7  " in said(model, "--file", str(source), "--out", str(out))
    rows = list(csv.DictReader(out.read_text(encoding="utf-8-sig").splitlines()))
    assert {row["id"] for row in rows} == {"7", "9"}
    assert rows[0]["title"] == "'=1+1"
    assert "Angina after a coronary stent was studied in the heart." in {row["words"] for row in rows}
    page = tmp_path / "out.html"
    said(model, "--file", str(source), "--out", str(page), "--most", "1")
    assert '<mark class="mb-for"' in page.read_text() and "Seizure" not in page.read_text()


def test_methods_are_compared(model: str, tmp_path: Path) -> None:
    told = json.loads(said(model, "--text", TEXT, "--compare", "--method", "occlusion,sentences", "--json"))
    assert [row["name"] for row in told["methods"]] == ["occlusion", "sentences"]
    assert told["correlation"][0][0] == 1 and told["same_top"][0][1] == 1
    assert "rank correlation" in said(model, "--text", TEXT, "--compare", "--method", "occlusion,sentences")


def test_problems_are_told_in_one_sentence(model: str, tmp_path: Path) -> None:
    assert "Expected a document, --text or --file, found none of them" in said(model, code=2)
    assert "Expected a method that fits" in said(model, "--text", TEXT, "--method", "magic", code=2)
    assert "found a text" not in said(model, "--text", " ", code=2)
    wrong = said(model, "--text", TEXT, "--out", str(tmp_path / "x.docx"), code=2)
    assert "Expected an output file that ends in .csv, .json or .html" in wrong
    assert "no file" in said(model, str(tmp_path / "none.pdf"), code=2)
