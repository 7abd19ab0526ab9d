"""Medical entities: lists of terms are read as they come, mentions found, and read as present, denied or another's."""

from __future__ import annotations

import csv
import gzip
import json
from itertools import pairwise
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pages_at_work import opened, words_on
from typer.testing import CliRunner

from medbench import dictionaries, entities, entity_files, ui_entities
from medbench.api import create_app
from medbench.cli import app
from medbench.dictionaries import Concept, made
from medbench.errors import MedbenchError
from medbench.terms_reading import Listed, read_terms
from medbench.workspace import Workspace

# Written for this test in the layout of the descriptor files; the numbers are invented.
ASCII = """*NEWRECORD
RECTYPE = D
MH = Cardiac Rupture Test
AQ = BL CF
PRINT ENTRY = Torn Heart Muscle|T047|NON|EQV|NLM (1994)|930101|abcdef
ENTRY = Rupture, Myocardial Wall|T047|NON|EQV|NLM (1994)|930101|abcdef
ENTRY = TCR
MN = C14.280.999
UI = X000001

*NEWRECORD
RECTYPE = D
MH = Librarians of Hospitals
MN = M01.526
UI = X000002

*NEWRECORD
RECTYPE = Q
SH = blood
UI = Q000097
"""
XML = """<?xml version="1.0"?>
<!DOCTYPE DescriptorRecordSet SYSTEM "descriptors.dtd">
<DescriptorRecordSet LanguageCode="eng">
 <DescriptorRecord DescriptorClass="1"><DescriptorUI>X000001</DescriptorUI>
  <DescriptorName><String>Cardiac Rupture Test</String></DescriptorName>
  <TreeNumberList><TreeNumber>C14.280.999</TreeNumber></TreeNumberList>
  <ConceptList><Concept PreferredConceptYN="Y"><TermList>
   <Term><String>Cardiac Rupture Test</String></Term><Term><String>Torn Heart Muscle</String></Term>
   <Term><String>Rupture, Myocardial Wall</String></Term><Term><String>TCR</String></Term>
  </TermList></Concept></ConceptList></DescriptorRecord>
 <DescriptorRecord><DescriptorUI>X000002</DescriptorUI><DescriptorName><String>Librarians of Hospitals</String>
  </DescriptorName><TreeNumberList><TreeNumber>M01.526</TreeNumber></TreeNumberList></DescriptorRecord>
</DescriptorRecordSet>"""
TERMS = ("Cardiac Rupture Test", "Torn Heart Muscle", "Rupture, Myocardial Wall", "TCR")
WHOLE = Listed("X000001", TERMS[0], TERMS, ("C14.280.999",))


@pytest.mark.parametrize(("text", "name"), [(ASCII, "d2026.bin"), (XML, "desc2026.xml")])
def test_descriptor_files_are_read_in_both_layouts(text: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert list(read_terms(path)) == [WHOLE]
    assert [one.id for one in read_terms(path, branches=("C", "M"))] == ["X000001", "X000002"]
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert list(read_terms(packed)) == [WHOLE]


TABLES = {
    "id,term,name\n1,heart attack,Myocardial infarction\n1,MI,Myocardial infarction\n2,stroke,Stroke\n": [
        Listed("1", "Myocardial infarction", ("Myocardial infarction", "heart attack", "MI")),
        Listed("2", "Stroke", ("Stroke", "stroke")),
    ],
    "term\theading\nheart attack\tMI\n": [Listed("MI", "MI", ("MI", "heart attack"))],
    "heart attack\nstroke\n": [Listed(one, one, (one,)) for one in ("heart attack", "stroke")],
}


@pytest.mark.parametrize("text", TABLES)
def test_tables_of_terms_are_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "terms.csv").write_text(text, encoding="utf-8-sig")
    assert list(read_terms(tmp_path / "terms.csv")) == TABLES[text]


BAD = [
    (b"", "none"),
    (b"\0\1\2", "a binary file"),
    (b"<DescriptorRecordSet><DescriptorRecord>", "no element found"),
    (b"term\n\xff\xfe\xfa\n", "UnicodeDecodeError"),
    (b'<!DOCTYPE x [<!ENTITY a "b">]><DescriptorRecordSet/>', "Entities"),
]


@pytest.mark.parametrize(("data", "found"), BAD)
def test_what_is_no_list_is_told_in_a_sentence(data: bytes, found: str, tmp_path: Path) -> None:
    (tmp_path / "terms").write_bytes(data)
    with pytest.raises(MedbenchError) as error:
        list(read_terms(tmp_path / "terms"))
    assert found in error.value.found
    with pytest.raises(MedbenchError, match="no file"):
        list(read_terms(tmp_path / "none"))


LETTER = (
    "Mrs Doe has a rupture of the myocardial wall. There is no evidence of pneumonia. Her mother had asthma. "
    "The tcr was late; the TCR was early. History of appendicitis."
)


def test_mentions_are_found_and_read() -> None:
    found = entities.find(LETTER, [made("Mine", [WHOLE])])
    told = {(one.text, one.status): one for one in found}
    wall = told["rupture of the myocardial wall", "present"]
    assert Concept("X000001", "Cardiac Rupture Test", "Mine") in wall.concepts
    assert told["pneumonia", "negated"].concepts[0].id.startswith("icd10cm:J18")
    assert ("asthma", "family") in told and ("appendicitis", "historical") in told
    assert [one.text for one in found if one.concepts[-1].source == "Mine"][1:] == ["TCR"]
    for one in found:
        assert LETTER[one.start : one.end] == one.text
    places = [(one.start, one.end) for one in found]
    assert all(first[1] <= second[0] for first, second in pairwise(places))
    assert {one.text for one in entities.find(LETTER, [made("Mine", [WHOLE])], codes=None)} == {wall.text, "TCR"}


def test_a_disease_is_not_taken_for_that_of_a_pregnancy() -> None:
    (one,) = entities.find("A man with diabetes mellitus.")
    assert [concept.id for concept in one.concepts] == ["icd10cm:E11.9"]
    (one,) = entities.find("Gestational diabetes mellitus.")
    assert one.concepts[0].id.startswith("icd10cm:O24.4")


def test_one_mention_may_mean_something_in_several_sources() -> None:
    labels = entities.of_labels({"C14": "Cardiovascular Diseases", "plain": "plain"})
    found = entities.find(
        "Cardiovascular disease was common, pneumonia rare.",
        [labels, made("Two", [Listed("2", "Pneumonia", ("Pneumonia",))])],
    )
    by_text = {one.text: one for one in found}
    assert by_text["Cardiovascular disease"].concepts[-1] == Concept("C14", "Cardiovascular Diseases", entities.LABELS)
    assert [concept.source for concept in by_text["pneumonia"].concepts] == ["ICD-10-CM", "Two"]
    assert entities.find("", [labels]) == [] and entities.find("Nothing here at all.") == []
    with pytest.raises(MedbenchError, match="at most"):
        entities.find("a" * (entities.LONGEST + 1))


def test_without_scispacy_one_sentence_says_so() -> None:
    if entities.scispacy_models():
        pytest.skip("scispaCy is installed here")
    with pytest.raises(MedbenchError, match="the dictionaries answer without it"):
        entities.find(LETTER, scispacy="en_core_sci_sm")


def test_scispacy_adds_what_it_marks() -> None:
    if not entities.scispacy_models():
        pytest.skip("scispaCy and a model of it are not installed")
    model = entities.scispacy_models()[0]
    found = entities.find("Zoledronate was given for osteoporosis.", codes=None, scispacy=model)
    assert found and all(one.concepts[0].source == model for one in found)


def test_a_dictionary_is_kept_read_back_and_removed(workspace: Workspace) -> None:
    whole = made("My MeSH", [WHOLE, Listed("9", "12", ("12", "at", "a b c d e f g h i j k l m n"))])
    card = dictionaries.keep(workspace, whole, "d2026.bin")
    assert card["id"] == "my-mesh" and card["concepts"] == 1
    assert dictionaries.load(workspace, "My MeSH") == dictionaries.load(workspace, "my-mesh") == whole
    assert [one["name"] for one in dictionaries.cards(workspace)] == ["My MeSH"]
    dictionaries.keep(workspace, made("My MeSH", [Listed("7", "gout", ("gout",))]), "again.csv")
    assert dictionaries.load(workspace, "my-mesh").knows("gout")
    dictionaries.remove(workspace, "my-mesh")
    with pytest.raises(MedbenchError, match="none yet"):
        dictionaries.load(workspace, "my-mesh")
    with pytest.raises(MedbenchError, match="no term of words"):
        dictionaries.keep(workspace, made("empty", []), "none.csv")


def table_of(path: Path) -> Path:
    path.write_text("id,title,abstract\n1,Gout,The patient has pneumonia.\n2,None,He denies pneumonia. =cmd\n")
    return path


def test_a_file_comes_back_with_its_terms_as_columns(tmp_path: Path) -> None:
    done = entity_files.annotate(table_of(tmp_path / "in.csv"), tmp_path / "out.csv", entities.find)
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert done == 2 and [row["id"] for row in rows] == ["1", "2"]
    assert "J18.9]" in rows[0]["medbench_terms"] and "Gout" in rows[0]["medbench_terms"]
    assert rows[1]["medbench_terms"] == "" and "J18.9]" in rows[1]["medbench_terms_negated"]
    ris = tmp_path / "in.ris"
    ris.write_text("TY  - JOUR\nAN  - 1\nTI  - Gout\nAB  - The patient has pneumonia.\nER  - \n")
    entity_files.annotate(ris, tmp_path / "out.ris", entities.find)
    assert "J18.9]" in (tmp_path / "out.ris").read_text() and "AN  - 1" in (tmp_path / "out.ris").read_text()
    with (tmp_path / "lines.csv").open("w") as out:
        assert entity_files.write_mentions(out, entity_files.mentions(tmp_path / "in.csv", entities.find)) == 2
    assert "negated" in (tmp_path / "lines.csv").read_text()


# --- the doors -------------------------------------------------------------------------------------------------


def test_the_command_line_finds_and_keeps_lists(home: Workspace, tmp_path: Path) -> None:
    runner = CliRunner()
    (tmp_path / "d2026.bin").write_text(ASCII)
    (tmp_path / "letter.txt").write_text(LETTER)
    once = runner.invoke(
        app, ["entities", str(tmp_path / "letter.txt"), "--terms", str(tmp_path / "d2026.bin"), "--json"]
    )
    assert once.exit_code == 0 and any(
        concept["id"] == "X000001" for one in json.loads(once.stdout)["entities"] for concept in one["concepts"]
    )
    added = runner.invoke(app, ["dictionary", "add", str(tmp_path / "d2026.bin"), "--name", "MeSH"])
    assert added.stdout == "mesh: 1 concepts, 4 terms\n"
    assert "X000001, MeSH" in runner.invoke(app, ["entities", str(tmp_path / "letter.txt")]).stdout
    table = str(table_of(tmp_path / "in.csv"))
    whole = runner.invoke(app, ["entities", table])
    assert "2 records" in whole.stdout and "1  Gout" in whole.stdout
    out = runner.invoke(app, ["entities", table, "--out", str(tmp_path / "o.csv"), "--lines", str(tmp_path / "l.csv")])
    assert out.exit_code == 0 and (tmp_path / "o.csv").exists() and (tmp_path / "l.csv").exists()
    assert runner.invoke(app, ["entities", table, "--codes", "icd8"]).exit_code == 2
    assert "mesh" in runner.invoke(app, ["dictionary", "list"]).stdout
    assert runner.invoke(app, ["dictionary", "remove", "mesh"]).exit_code == 0
    assert runner.invoke(app, ["dictionary", "remove", "mesh"]).exit_code == 2


def test_the_api_answers(workspace: Workspace) -> None:
    dictionaries.keep(workspace, made("MeSH", [WHOLE]), "d2026.bin")
    client = TestClient(create_app(workspace))
    told = client.post("/entities", json={"text": LETTER, "codes": None}).json()["entities"]
    assert [one["text"] for one in told] == ["rupture of the myocardial wall", "TCR"]
    assert told[0]["concepts"] == [{"id": "X000001", "name": "Cardiac Rupture Test", "source": "MeSH"}]
    assert client.get("/dictionaries").json()[0]["id"] == "mesh"
    refused = client.post("/entities", json={"text": "x", "dictionaries": ["none"]})
    assert refused.status_code == 400 and "'none'" in refused.json()["found"]
    assert client.post("/entities", json={"text": "x", "codes": "icd8"}).status_code == 422


def test_terms_are_marked_on_the_page(
    full_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDBENCH_HOME", str(full_workspace.data.parent))
    dictionaries.keep(full_workspace, made("MeSH", [WHOLE]), "d2026.bin")
    page = opened("pages/classify.py")
    page.text_area(key="classify_text").input(LETTER + " <b>stroke</b>")
    page.button(key="classify_go").click().run()
    page.toggle(key="classify_one_terms").set_value(True).run()
    assert not page.exception
    shown = words_on(page)
    assert 'title="present: Cardiac Rupture Test [X000001, MeSH]"' in shown
    assert 'title="denied: Pneumonia' in shown and "&lt;b&gt;" in shown
    path = table_of(tmp_path / "in.csv")
    lines = ui_entities.file_of_terms(full_workspace, path, "in.csv").decode().splitlines()
    assert len(lines) == 3 and "Gout" in lines[1] and "medbench_terms_negated" in lines[0]
