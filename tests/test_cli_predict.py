"""One text or document on the command line: codes with their words, or labels; JSON, a file, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fpdf import FPDF
from typer.testing import CliRunner

from medbench import coding
from medbench.cli import app
from medbench.codes import tables
from medbench.workspace import Workspace

NOTE = "Lobar pneumonia with fever and cough. Denies chest pain."


def told(*words: str) -> str:
    result = CliRunner().invoke(app, ["predict", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_dictionary_prints_codes_with_their_words_and_what_is_set_apart(home: Workspace) -> None:
    codes, _, apart = told("dictionary", "--text", NOTE).partition("Set apart, not to be coded:")
    assert "icd10cm:J18.1  Lobar pneumonia, unspecified organism" in codes
    assert "    “Lobar pneumonia”" in codes and "R07.9" not in codes
    assert "icd10cm:R07.9  Chest pain, unspecified  (negated: “chest pain”, because of “Denies”)" in apart
    assert f"Codes of ICD-10-CM {tables().release('icd10cm')}." in apart
    assert "No code fits this note." in told("dictionary", "--text", "The letter was sent.")


def test_json_is_what_the_library_says(home: Workspace) -> None:
    found = json.loads(told("dictionary", "--text", NOTE, "--json"))
    assert found == json.loads(json.dumps(coding.code_note(home, NOTE).as_json()))


@pytest.mark.parametrize("kind", ["pdf", "txt"])
def test_a_document_is_read_and_the_answer_goes_into_a_file(home: Workspace, tmp_path: Path, kind: str) -> None:
    document, out = tmp_path / f"letter.{kind}", tmp_path / "codes.json"
    if kind == "pdf":
        page = FPDF()
        page.add_page()
        page.set_font("helvetica", size=12)
        page.multi_cell(0, 8, NOTE)
        page.output(str(document))
    else:
        document.write_text(NOTE, encoding="utf-8")
    assert told("dictionary", "--pdf", str(document), "--output", str(out)) == ""
    assert "J18.1" in [row["code"] for row in json.loads(out.read_text(encoding="utf-8"))["codes"]]


def test_other_models_give_labels(home: Workspace) -> None:
    text = "Statins lower mortality after myocardial infarction and in coronary heart disease."
    shown = told("starter-literature-domains", "--text", text)
    chosen = json.loads(told("starter-literature-domains", "--text", text, "--json"))
    assert chosen["labels"][0]["name"] in shown


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["dictionary"], 'Expected --text "WORDS" or --pdf FILE, found neither'),
        (["dictionary", "--text", "x", "--pdf", "y.pdf"], "found both"),
        (["dictionary", "--pdf", "nowhere.pdf"], "no file 'nowhere.pdf'"),
        (["dictionary", "--text", " "], "found an empty text"),
        (["nobody", "--text", "fever"], "'nobody'"),
        (["starter-literature-domains", "x.csv"], "Name it with --out FILE"),
    ],
)
def test_mistakes_are_one_sentence(home: Workspace, words: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["predict", *words])
    assert result.exit_code == 2
    assert sentence in result.stderr and "Traceback" not in result.stderr
