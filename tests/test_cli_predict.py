"""One text or document on the command line: codes with their words, or labels; JSON, a file, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fpdf import FPDF
from served import serving
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


def test_the_dictionarys_table_can_be_chosen(home: Workspace) -> None:
    assert "icd9cm:786.50" in told("dictionary", "--codes", "icd9cm", "--text", NOTE)
    answer = CliRunner().invoke(app, ["predict", "dictionary", "--codes", "icd8", "--text", NOTE])
    assert answer.exit_code == 2
    assert "one of the tables icd10cm, icd9cm" in answer.stderr


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


def test_a_served_model_answers_untrained_with_codes_that_exist_and_are_not_denied(
    home: Workspace, tmp_path: Path
) -> None:
    pytest.importorskip("litellm")

    def behave(body: dict[str, Any], number: int) -> tuple[int, Any]:
        if "Copy from" in body["messages"][0]["content"]:
            return 200, "cough"
        return 200, "R07.9 - Chest pain\nJ18.1 - Lobar pneumonia\nR05.9\nE11\nX99.ZZ"

    with serving(behave) as server:
        words = ["--use-litellm", "--endpoint", server.address, "--model", "m", "--text", NOTE]
        codes, _, apart = told(*words).partition("Set apart, not to be coded:")
        assert "icd10cm:J18.1  Lobar pneumonia, unspecified organism\n    “Lobar pneumonia”" in codes
        assert "icd10cm:R05.9  Cough, unspecified\n    “cough”" in codes and "R07.9" not in codes
        assert "icd10cm:R07.9  Chest pain, unspecified  (negated: “chest pain”)" in apart
        assert "in no table: X99.ZZ." in apart and "there are no probabilities" in apart
        out = tmp_path / "codes.json"
        assert told(*words, "--output", str(out)) == ""
        found = json.loads(out.read_text(encoding="utf-8"))
        assert [row["code"] for row in found["codes"]] == ["J18.1", "R05.9", "E11"]
        assert [row["billable"] for row in found["codes"]] == [True, True, False]
    with serving(lambda body, number: (200, "Cancer")) as server:
        words = ["--use-litellm", "--endpoint", server.address, "--model", "m", "--text", NOTE]
        assert told(*words, "--labels", "cancer; not cancer").startswith("cancer\n")
        refused = CliRunner().invoke(app, ["predict", *words])
        assert refused.exit_code == 2 and "codes from 'm' as its answer, found 'Cancer'" in refused.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--use-litellm", "--endpoint", "https://far.example.org/v1", "--text", NOTE], "If the texts may leave this"),
        (["dictionary", "--use-litellm", "--text", NOTE], "either a model of medbench or a served one"),
        (["--text", NOTE], "the id of a model, found none"),
    ],
)
def test_a_served_model_is_not_asked_by_accident(home: Workspace, words: list[str], sentence: str) -> None:
    pytest.importorskip("litellm")
    result = CliRunner().invoke(app, ["predict", *words])
    assert result.exit_code == 2 and sentence in result.output
