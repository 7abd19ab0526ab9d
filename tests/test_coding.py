"""A note becomes codes: valid ones, with their words; what is denied, a relative's, past or unsure is set apart."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from medbench import coding, coding_history
from medbench.code_sheet import Act, CodeSheet
from medbench.codes import tables
from medbench.coding import CodedNote, Evidence
from medbench.coding_exports import as_csv, as_fhir, as_json, as_pdf
from medbench.errors import MedbenchError
from medbench.note_files import note_of
from medbench.ui_icd import EXAMPLE
from medbench.ui_icd_note import as_data
from medbench.ui_icd_one import chosen_rows
from medbench.workspace import Workspace

PNEUMONIA, PRESSURE = "icd10cm:J18.1", "icd10cm:I10"


@pytest.fixture(scope="module")
def coded() -> CodedNote:
    return coding.code_note(Workspace.here(), EXAMPLE)


def test_codes_are_valid_and_their_words_stand_in_the_note(coded: CodedNote) -> None:
    held = tables()
    found = {one.code.label: one for one in coded.proposals}
    assert {PNEUMONIA, PRESSURE} <= set(found)
    assert all(held.get(label) == one.code for label, one in found.items())
    words = {EXAMPLE[each.start : each.end].lower() for each in found[PNEUMONIA].evidence}
    assert any("pneumonia" in word for word in words)


def test_what_is_not_present_is_set_apart_and_never_proposed(coded: CodedNote) -> None:
    proposed = " ".join(one.code.text.lower() for one in coded.proposals)
    for absent in ("chest pain", "breast", "embolism", "apnea"):
        assert absent not in proposed
    statuses = {one.evidence.status for one in coded.apart}
    assert statuses <= {"negated", "family", "historical", "uncertain"}
    assert "negated" in statuses


def test_the_dictionary_takes_the_table_of_the_models_labels() -> None:
    assert coding.table_of(["icd9cm:401.9", "icd9pcs:47.01", "icd10cm:I10", "icd9cm:486"]) == "icd9cm"
    assert coding.table_of(["icd10cm:I10", "icd9cm:486"]) == coding.table_of([]) == "icd10cm"


def test_the_work_is_told_as_it_goes_on(workspace: Workspace) -> None:
    told: list[tuple[float, str]] = []
    coding.code_note(workspace, EXAMPLE, tell=lambda share, sentence: told.append((share, sentence)))
    assert told == [(0.1, "Looking for words of the dictionary")]


def test_an_empty_note_and_an_endless_one_are_refused(workspace: Workspace) -> None:
    with pytest.raises(MedbenchError, match=r"found an empty text\. Paste a note"):
        coding.code_note(workspace, " \n")
    with pytest.raises(MedbenchError, match="Split it"):
        coding.code_note(workspace, "a" * (coding.LONGEST + 1))


def test_a_browser_counts_in_utf_16(workspace: Workspace) -> None:
    text = "🩺🩺 Lobar pneumonia."
    data = as_data(coding.code_note(workspace, text), CodeSheet())
    units = text.encode("utf-16-le")
    marks = [mark for mark in data["marks"] if mark["label"] == PNEUMONIA]
    assert marks
    assert "pneumonia" in units[2 * marks[0]["start"] : 2 * marks[0]["end"]].decode("utf-16-le").lower()


def test_every_way_out_carries_the_codes_that_were_settled_on(coded: CodedNote) -> None:
    sheet = CodeSheet().act(Act("accept", PNEUMONIA, who="AB", at=1.0)).act(Act("add", "icd10cm:N17.9", at=2.0))
    rows = list(csv.DictReader(io.StringIO(as_csv(coded, sheet).decode("utf-8-sig"))))
    assert [(row["code"], row["who"]) for row in rows] == [("J18.1", "AB"), ("N17.9", "")]
    assert "pneumonia" in rows[0]["evidence"].lower()
    told = json.loads(as_json(coded, sheet))
    assert [row["code"] for row in told["chosen"]] == ["J18.1", "N17.9"]
    assert told["codes"]
    bundle = json.loads(as_fhir(coded, sheet))
    assert [entry["resource"]["code"]["coding"][0]["code"] for entry in bundle["entry"]] == ["J18.1", "N17.9"]
    assert as_pdf(coded, sheet).startswith(b"%PDF")


def test_words_that_are_denied_support_no_code_on_the_page_nor_in_the_exports(workspace: Workspace) -> None:
    text = "No pneumonia on Monday. On Friday he had pneumonia."
    coded = coding.code_note(workspace, text)
    (one,) = coded.proposals
    both = replace(one, evidence=(Evidence(3, 12, "negated", "No"), Evidence(39 + 2, 39 + 11)))
    coded = replace(coded, proposals=(both,))
    sheet = CodeSheet().act(Act("accept", one.code.label, at=1.0))
    (row,) = csv.DictReader(io.StringIO(as_csv(coded, sheet).decode("utf-8-sig")))
    (shown,) = chosen_rows(coded, sheet)
    assert row["evidence"] == shown["words in the note"] == text[41:50] == "pneumonia"


def test_a_person_may_code_what_was_set_apart_and_its_words_go_along(coded: CodedNote) -> None:
    (pain,) = [one for one in coded.apart if one.code.code == "R07.9"]
    sheet = CodeSheet().act(Act("add", pain.code.label, who="AB", at=1.0))
    (shown,) = chosen_rows(coded, sheet)
    assert (shown["code"], shown["words in the note"], shown["by"]) == ("R07.9", "chest pain", "AB")
    assert json.loads(as_json(coded, sheet))["chosen"][0]["evidence"] == "chest pain"
    standing = {one["code"]: one["standing"] for one in as_data(coded, sheet)["apart"]}
    assert standing["R07.9"] == "accepted"
    assert set(standing.values()) == {"accepted", "open"}


def test_decisions_outlive_the_process_and_a_torn_line_loses_one(workspace: Workspace) -> None:
    sheet = CodeSheet(proposed=(PNEUMONIA,)).act(Act("accept", PNEUMONIA, who="AB", at=1.0))
    coding_history.keep(workspace, EXAMPLE, "", sheet, "AB")
    more = sheet.act(Act("add", PRESSURE, who="CD", at=2.0))
    coding_history.keep(workspace, EXAMPLE, "", more, "CD")
    (path,) = (workspace.history / coding_history.FOLDER).glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"kind": "coding", "note": "to')
    last = coding_history.last_of(workspace, EXAMPLE)
    assert last is not None and last.sheet == more
    (newest,) = coding_history.newest(workspace)
    assert (newest.who, newest.text) == ("CD", EXAMPLE)
    assert coding_history.last_of(workspace, "another note") is None


def test_texts_are_not_kept_when_they_are_not_to_be(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDBENCH_KEEP_TEXT", "0")
    coding_history.keep(workspace, EXAMPLE, "", CodeSheet().act(Act("accept", PNEUMONIA)))
    (newest,) = coding_history.newest(workspace)
    assert (newest.text, newest.title) == ("", "")
    assert newest.sheet.chosen == (PNEUMONIA,)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(b"", "which is empty"), (b"\x89PNG\r\n\0\0\0", "which is neither"), (b"%PDF-1.7\nnothing", "PDF")],
)
def test_files_that_are_no_notes(data: bytes, sentence: str) -> None:
    with pytest.raises(MedbenchError, match=sentence):
        note_of("note", data)


def test_old_encodings_are_read() -> None:
    assert note_of("note.txt", "Fièvre à 39 °C, œdème".encode("cp1252")).text.startswith("Fièvre")
    assert note_of("note.txt", "Fièvre".encode("utf-16")).text == "Fièvre"
    odd = note_of("note.txt", "高血圧 and gout".encode("shift_jis"))
    assert "could not be read" in odd.remarks[0]
    assert note_of("note.txt", b"gout").remarks == ()
