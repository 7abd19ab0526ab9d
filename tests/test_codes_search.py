"""Search in the code tables: words, typos, abbreviations, beginnings of codes; and the door on the command line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from medbench.cli import app
from medbench.codes import Tables, tables
from medbench.codes_index import Index
from medbench.codes_search import bare_of
from medbench.codes_words import words


@pytest.fixture(scope="module")
def held() -> Tables:
    return tables()


def test_words_come_to_one_form() -> None:
    assert words("Haemorrhages of the kidneys") == words("bleeding kidney") == ["hemorrhage", "kidney"]
    assert words("HTN") == words("essential primary hypertension")
    assert words("T2DM") == words("type II diabetes mellitus")
    assert words("heart attack") == ["acute", "myocardi", "infarction"]
    assert words("") == [] and words("of the") == []


def test_bare_titles() -> None:
    assert bare_of("Pneumonia, unspecified organism") == "Pneumonia"
    assert bare_of("Essential (primary) hypertension") == "Essential hypertension"
    assert bare_of("Type 2 diabetes mellitus without complications") == "Type 2 diabetes mellitus"
    assert bare_of("Unspecified atrial fibrillation") == "atrial fibrillation"
    assert bare_of("Cough") == "Cough"


def test_the_index_ranks_rare_words_and_forgives_typos() -> None:
    index = Index.of(["acute appendicitis", "acute bronchitis", "chronic bronchitis", "acute pain"])
    cosine, share = index.match(words("bronchitis chronic"))
    assert cosine.argmax() == 2 and cosine[2] == pytest.approx(1) and share[2] == pytest.approx(1)
    typo, _ = index.match(words("apendicitis"))
    assert typo.argmax() == 0 and 0.3 < typo[0] < 1
    assert index.match([])[0].max() == 0 and index.match(["qqqqq"])[0].max() == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("type 2 diabetes", "E11.9"),
        ("pneumonia", "J18.9"),
        ("pnuemonia", "J18.9"),
        ("htn", "I10"),
        ("apendicitis acute", "K35.80"),
        ("plantar wart", "B07.0"),
        ("classical cholera", "A00.0"),
        ("migrane with aura", "G43.1"),
        ("UTI", "N39.0"),
    ],
)
def test_words_find_their_code_among_the_first(held: Tables, query: str, code: str) -> None:
    assert code in [hit.code.code for hit in held.search(query, limit=5)]


def test_the_beginning_of_a_code_lists_its_codes(held: Tables) -> None:
    assert [hit.code.code for hit in held.search("E11.6", limit=3)] == ["E11.6", "E11.61", "E11.610"]
    assert [hit.code.code for hit in held.search("e1169", limit=3)] == ["E11.69"]
    assert held.search("250.0", "icd9cm", 2)[1].code.label == "icd9cm:250.00"
    assert "0DTJ4ZZ" in [hit.code.code for hit in held.search("0DTJ", "icd10pcs")]


def test_every_hit_is_a_code_and_says_why(held: Tables) -> None:
    hits = held.search("fracture of femur", limit=50)
    assert len(hits) == 50 and all(held.get(hit.code.label) == hit.code and hit.code.is_code for hit in hits)
    assert all(0 <= hit.score <= 1 and 0 <= hit.fit <= 1 and hit.text and hit.source for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert held.search("") == [] and held.search("qqqq zzzz") == []
    assert "appendectomy" in held.search("laparoscopic appendectomy", "icd9pcs", 1)[0].code.text.lower()


def test_the_usual_code_of_a_heading_is_the_least_specific(held: Tables) -> None:
    headings = ("E11", "I10", "J18", "S72.001", "S72", "N17", "I48")
    usual = {code: held.usual(f"icd10cm:{code}").code for code in headings}  # type: ignore[union-attr]
    assert usual["E11"] == "E11.9" and usual["I10"] == "I10" and usual["J18"] == "J18.9" and usual["N17"] == "N17.9"
    assert usual["S72.001"] == "S72.001A" and usual["I48"] == "I48.91" and usual["S72"].startswith("S72.9")
    assert held.usual("nonsense") is None


def test_on_the_command_line() -> None:
    runner = CliRunner()
    found = runner.invoke(app, ["codes", "search", "type 2 diabetes", "--json", "--limit", "3"])
    hits = json.loads(found.stdout)
    assert hits["release"] == "April 2026" and "icd10cm:E11.9" in [hit["label"] for hit in hits["hits"]]
    shown = runner.invoke(app, ["codes", "show", "e119"])
    assert shown.exit_code == 0 and "Type 2 diabetes mellitus without complications" in shown.stdout
    assert "billable" in shown.stdout and "excludes1: type 1 diabetes mellitus (E10.-)" in shown.stdout
    facts = json.loads(runner.invoke(app, ["codes", "show", "250.00", "--json"]).stdout)
    assert facts["label"] == "icd9cm:250.00" and facts["icd10"][0]["code"]["code"] == "E11.9"
    for words_ in (["codes", "show", "E99.99"], ["codes", "search", "flu", "--table", "icd8"]):
        refused = runner.invoke(app, words_)
        assert refused.exit_code == 2 and refused.stderr.startswith("Expected ")
