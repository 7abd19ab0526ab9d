"""Codes over HTTP: a note, a PDF, the tables; refusals in three parts."""

from __future__ import annotations

import io
import re

import pytest
from fpdf import FPDF
from starlette.testclient import TestClient

from medbench import coding
from medbench.api import mounted
from medbench.workspace import Workspace

NOTE = "Assessment: lobar pneumonia. He denies chest pain. Essential hypertension."


@pytest.fixture
def client(workspace: Workspace) -> TestClient:
    return TestClient(mounted(workspace))


def test_a_note_gets_codes_with_their_words(client: TestClient) -> None:
    told = client.post("/api/icd/predict", json={"text": NOTE}).json()
    found = {row["code"]: row for row in told["codes"]}
    assert found["J18.1"]["evidence"][0]["words"].lower() == "lobar pneumonia"
    assert found["I10"]["billable"] is True
    assert [(row["code"], row["evidence"]["status"]) for row in told["set_apart"]] == [("R07.9", "negated")]
    assert re.match("April 20", told["releases"]["ICD-10-CM"])
    assert client.post("/api/icd/predict", json={"text": NOTE, "most": 1}).json()["codes"] == told["codes"][:1]


def test_a_note_is_coded_in_the_table_that_is_asked_for(client: TestClient) -> None:
    told = client.post("/api/icd/predict", json={"text": NOTE, "version": "icd9cm"}).json()
    assert {row["version"] for row in told["codes"]} == {"icd9cm"}
    assert "401.9" in [row["code"] for row in told["codes"]]
    assert [row["code"] for row in told["set_apart"]] == ["786.50"]
    assert client.post("/api/icd/predict", json={"text": NOTE, "version": "icd8"}).status_code == 422


def test_a_pdf_is_read_and_coded(client: TestClient) -> None:
    paper = FPDF()
    paper.add_page()
    paper.set_font("helvetica", size=12)
    paper.multi_cell(0, 8, NOTE)
    files = {"file": ("note.pdf", io.BytesIO(bytes(paper.output())), "application/pdf")}
    told = client.post("/api/icd/predict/file", files=files).json()
    assert "J18.1" in [row["code"] for row in told["codes"]]
    assert "lobar pneumonia" in told["text"]


@pytest.mark.parametrize(
    ("body", "status", "found"),
    [({"text": " "}, 400, "an empty text"), ({"text": NOTE, "model": "nobody"}, 404, "'nobody'"), ({}, 422, "text")],
)
def test_refusals(client: TestClient, body: dict[str, str], status: int, found: str) -> None:
    answer = client.post("/api/icd/predict", json=body)
    assert answer.status_code == status
    assert found in answer.json()["found"]
    assert answer.json()["todo"]


def test_what_is_sound_but_too_much_has_a_status_of_its_own(client: TestClient) -> None:
    """413 for a long note, as JSON or as a file, and for a form of too many or too large parts."""
    long = "word " * (coding.LONGEST // 5 + 1)
    pictures = [("files", (f"{number}.png", b"\x89PNG")) for number in range(1001)]
    answers = [
        client.post("/api/icd/predict", json={"text": long}),
        client.post("/api/icd/predict/file", files={"file": ("note.txt", long.encode())}),
        client.post("/api/icd/predict/file", data={"model": "x" * 2_000_000}, files={"file": ("note.txt", b"word")}),
        client.post("/api/lesion/predict", data={"model": "starter-lesion"}, files=pictures),
    ]
    assert [answer.status_code for answer in answers] == [413] * 4
    assert all(set(answer.json()) == {"expected", "found", "todo"} for answer in answers)
    assert answers[0].json()["found"] == "one of 1,000,005"


def test_no_document_no_codes(client: TestClient) -> None:
    answer = client.post("/api/icd/predict/file", files={"file": ("x.pdf", b"\x00\x01\x02" * 50, "application/pdf")})
    assert (answer.status_code, answer.json()["expected"]) == (400, "a PDF or a text file")


def test_the_tables_are_searched_and_opened(client: TestClient) -> None:
    hits = client.get("/api/codes", params={"q": "type 2 diabetes", "limit": 3}).json()
    assert len(hits) == 3
    assert hits[0]["label"] == "icd10cm:E11.9"
    code = client.get("/api/codes/e119").json()
    assert (code["code"], code["above"][0]["code"], code["release"][:5]) == ("E11.9", "E11", "April")
    assert code["notes"]["excludes1"]
    assert client.get("/api/codes/E99999").status_code == 404
