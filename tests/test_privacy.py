"""Patient data: found by kind, masked, and not confused with medicine."""

from __future__ import annotations

from itertools import pairwise

import pytest

from medbench import privacy


@pytest.mark.parametrize(
    ("text", "kind", "marked"),
    [
        ("Seen by Dr. Maria Lopez today.", "name", "Maria Lopez"),
        ("Mrs. O'Brien was discharged.", "name", "O'Brien"),
        ("Mr. McDonald left.", "name", "McDonald"),
        ("Referred by DR. SMITH for review.", "name", "SMITH"),
        ("Patient name: John Q. Public", "name", "John Q. Public"),
        ("Dr. Parkinson saw her.", "name", "Parkinson"),
        ("MRN: 00123456 admitted", "record_number", "00123456"),
        ("Medical record number A-449201.", "record_number", "A-449201"),
        ("Call 617-555-0134 or write.", "phone", "617-555-0134"),
        ("Call (617) 555-0134.", "phone", "(617) 555-0134"),
        ("Phone +44 20 7946 0958 for results", "phone", "+44 20 7946 0958"),
        ("Mail jane.doe@example.org now", "email", "jane.doe@example.org"),
        ("SSN 219-09-9999", "ssn", "219-09-9999"),
        ("DOB: 03/14/1962", "birth_date", "03/14/1962"),
        ("He was born on March 3, 1950 in Lyon.", "birth_date", "March 3, 1950"),
        ("Lives at 12 Old Mill Road with her son", "address", "12 Old Mill Road"),
        ("Lives at 7 N. Elm St. in town", "address", "7 N. Elm St."),
    ],
)
def test_each_kind_is_found_where_it_stands(text: str, kind: str, marked: str) -> None:
    found = [(mark.kind, text[mark.start : mark.end]) for mark in privacy.find(text)]
    assert found == [(kind, marked)]


@pytest.mark.parametrize(
    "text",
    [
        "Patients with Parkinson disease and Hodgkin lymphoma, Crohn's disease, Wilson’s disease.",
        "In the MS. METHODS we used GC/MS. RESULTS follow.",
        "Dr. X referred Mr. A to Dr. XYZ and Mrs. XXXX.",
        "At 10:40 PM Dr. ABC came.",
        "Mean age 45 (range 20-60); 95 % CI 1.02-1.34; p < 0.001; n = 1,234.",
        "Trial NCT01234567, doi 10.1000/182-12-3456x, PMID 30872385.",
        "Published 12 March 2001; 3 St segments; 120 mm Hg; 5 Drive shafts.",
        "Dose 100-200-3000 units. Grant R01-555-123.",
        "The R2* (1/T2*) in ms. In contrast, Mr. In this study.",
        "",
    ],
)
def test_medicine_is_not_patient_data(text: str) -> None:
    assert privacy.find(text) == []


def test_masking_replaces_only_what_was_found() -> None:
    text = "Mr. Jones (DOB 01/02/1950, MRN 445566) has Hodgkin lymphoma. Call 617-555-0134."
    assert privacy.mask(text) == (
        "Mr. [NAME] (DOB [BIRTH_DATE], MRN [RECORD_NUMBER]) has Hodgkin lymphoma. Call [PHONE]."
    )
    assert privacy.mask("Nothing here.") == "Nothing here."
    assert privacy.find(privacy.mask(text)) == []


def test_a_scan_counts_places_and_rows() -> None:
    told: list[int] = []
    texts = ["Dr. Lopez and Dr. Weber", "plain", "Dr. Lopez, a@b.org"] + ["plain"] * 1000
    seen = {one.kind: one for one in privacy.scan(texts, told.append)}
    assert set(seen) == {"name", "email"}
    assert (seen["name"].count, seen["name"].n_rows, seen["name"].rows) == (3, 2, (0, 2))
    assert privacy.in_words(list(seen.values())) == "names of persons (3), e-mail addresses (1)"
    assert told == [1000]


def test_marks_do_not_overlap_and_stand_in_order() -> None:
    text = "Mail dr.smith@clinic.org or Dr. Smith, 617-555-0134, 219-09-9999." * 20
    marks = privacy.find(text)
    assert len(marks) == 80
    assert all(one.end <= other.start for one, other in pairwise(marks))
