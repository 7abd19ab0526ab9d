"""FHIR bundles checked against the structure that R4 and R5 demand, and the rows for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

from medbench.errors import MedbenchError
from medbench.fhir import COLUMNS, DecidedCode, Evidence, Release, as_csv, as_json, bundle, rows

WHEN = "2026-11-25T16:30:00+00:00"
CODES = [
    DecidedCode(
        *("icd10cm:E11.9", "Type 2 diabetes mellitus without complications", "accepted"),
        probability=0.913,
        evidence=(Evidence(10, 25, "type 2\ndiabetes", 2), Evidence(80, 82, "DM")),
        who="Dr. Example",
        when="2026-11-25T12:00:00.25+01:00",
    ),
    DecidedCode("icd9cm:401.9", "Unspecified essential hypertension", "suggested", probability=0.4),
    DecidedCode(
        "icd10pcs:0DTJ4ZZ", "Resection of Appendix", "accepted", evidence=(Evidence(1, 4, "out"),), who="A", when=WHEN
    ),
    DecidedCode("icd9pcs:47.01", "Laparoscopic appendectomy", "suggested", billable=True),
]
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_VALUES = {
    "clinicalStatus": {"active", "recurrence", "relapse", "inactive", "remission", "resolved", "unknown"},
    "verificationStatus": {"unconfirmed", "provisional", "differential", "confirmed", "refuted", "entered-in-error"},
    "category": {"problem-list-item", "encounter-diagnosis"},
}
# Elements of each resource that this export may use: name -> is it a list?
_SHARED = {"resourceType": False, "id": False, "code": False, "subject": False, "note": True}
_ELEMENTS: dict[tuple[str, Release], dict[str, bool]] = {
    ("Condition", "R4"): {
        **_SHARED,
        "clinicalStatus": False,
        "verificationStatus": False,
        "category": True,
        "recordedDate": False,
        "recorder": False,
        "evidence": True,
    },
    ("Condition", "R5"): {
        **_SHARED,
        "clinicalStatus": False,
        "verificationStatus": False,
        "category": True,
        "recordedDate": False,
        "participant": True,
        "evidence": True,
    },
    ("Procedure", "R4"): {**_SHARED, "status": False, "recorder": False},
    ("Procedure", "R5"): {**_SHARED, "status": False, "recorder": False, "recorded": False},
}
_REQUIRED = {
    "Condition": {"subject", "code", "clinicalStatus", "verificationStatus"},
    "Procedure": {"subject", "status"},
}


def faults(whole: dict[str, Any], release: Release) -> list[str]:
    """Return what breaks the structure of FHIR, one phrase each."""
    found = [] if whole["resourceType"] == "Bundle" and whole["type"] == "collection" else ["no collection"]
    found += [] if _TIME.fullmatch(whole["timestamp"]) else ["timestamp"]
    found += _hollow(whole, "Bundle")
    urls = [entry["fullUrl"] for entry in whole.get("entry", [])]
    found += [] if len(set(urls)) == len(urls) else ["a fullUrl twice"]
    for entry in whole.get("entry", []):
        resource = entry["resource"]
        kind = resource["resourceType"]
        allowed = _ELEMENTS[kind, release]
        found += [] if entry["fullUrl"] == f"urn:uuid:{resource['id']}" else ["fullUrl is not the id"]
        found += [f"{kind} has no element {name}" for name in resource if name not in allowed]
        found += [f"{kind} lacks {name}" for name in _REQUIRED[kind] if name not in resource]
        found += [
            f"{name} is no list" for name in resource if allowed.get(name) and not isinstance(resource[name], list)
        ]
        found += [
            name for name in ("recordedDate", "recorded") if name in resource and not _TIME.fullmatch(resource[name])
        ]
        for name, values in _VALUES.items():
            concepts = resource.get(name, [])
            for concept in concepts if isinstance(concepts, list) else [concepts]:
                found += [f"{name}: {coding['code']}" for coding in concept["coding"] if coding["code"] not in values]
        if not {"reference", "display", "identifier"} & set(resource["subject"]):
            found.append("an empty reference")
    return found


def _hollow(value: Any, at: str) -> list[str]:
    """FHIR has no empty strings, lists or objects."""
    if value in ("", None) or value == [] or value == {}:
        return [f"{at} is empty"]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [fault for key, one in inner for fault in _hollow(one, f"{at}.{key}")]


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_the_bundle_keeps_the_standard(release: Release) -> None:
    whole = json.loads(json.dumps(bundle(CODES, "note-7", WHEN, release, patient="Patient/12")))
    assert faults(whole, release) == []
    assert faults(bundle([], "note-7", WHEN, release), release) == []
    assert [entry["resource"]["resourceType"] for entry in whole["entry"]] == [
        "Condition",
        "Condition",
        "Procedure",
        "Procedure",
    ]
    assert whole["entry"][0]["resource"]["subject"] == {"reference": "Patient/12"}


def test_the_check_itself_finds_faults() -> None:
    whole = bundle(CODES[:1], "note-7", WHEN)
    resource = whole["entry"][0]["resource"]
    resource["verificationStatus"]["coding"][0]["code"] = "sure"
    resource["participant"] = []
    del resource["subject"]["display"], resource["clinicalStatus"]
    told = faults(whole, "R4")
    assert "verificationStatus: sure" in told
    assert "Condition has no element participant" in told
    assert "Condition lacks clinicalStatus" in told
    assert "an empty reference" in told


@pytest.mark.parametrize(
    ("at", "system", "code"),
    [
        (0, "http://hl7.org/fhir/sid/icd-10-cm", "E11.9"),
        (1, "http://hl7.org/fhir/sid/icd-9-cm", "401.9"),
        (2, "http://www.cms.gov/Medicare/Coding/ICD10", "0DTJ4ZZ"),
        (3, "urn:oid:2.16.840.1.113883.6.104", "47.01"),
    ],
)
def test_each_version_has_its_system(at: int, system: str, code: str) -> None:
    coding = bundle(CODES, "n", WHEN)["entry"][at]["resource"]["code"]["coding"]
    assert coding == [{"system": system, "code": code, "display": CODES[at].text}]


def test_only_what_a_person_accepted_is_confirmed() -> None:
    accepted, suggested = (entry["resource"] for entry in bundle(CODES[:2], "n", WHEN)["entry"])
    assert accepted["verificationStatus"]["coding"][0]["code"] == "confirmed"
    assert accepted["recorder"] == {"display": "Dr. Example"}
    assert accepted["recordedDate"] == "2026-11-25T12:00:00+01:00"
    assert suggested["verificationStatus"]["coding"][0]["code"] == "unconfirmed"
    assert "recorder" not in suggested
    assert suggested["note"] == [{"text": "Probability according to a model: 0.40"}]


def test_evidence_names_words_place_and_page() -> None:
    four, five = (bundle(CODES[:1], "n", WHEN, release)["entry"][0]["resource"]["evidence"] for release in ("R4", "R5"))
    told = '"type 2 diabetes" (page 2, characters 10-25)'
    assert four[0] == {"code": [{"text": told}]}
    assert five[0] == {"concept": {"text": told}}
    assert len(four) == 2


def test_the_same_export_has_the_same_identifiers() -> None:
    assert bundle(CODES, "n", WHEN) == bundle(CODES, "n", WHEN)
    assert bundle(CODES, "n", WHEN)["entry"][0]["fullUrl"] != bundle(CODES, "m", WHEN)["entry"][0]["fullUrl"]


def test_bad_input_is_told() -> None:
    with pytest.raises(MedbenchError, match=r"Expected every code once, found 'icd10cm:E11\.9' twice"):
        bundle([CODES[0], CODES[0]], "n", WHEN)
    for when in ("yesterday", "2026-11-25T16:30:00"):
        with pytest.raises(MedbenchError, match="ISO 8601 with a time zone"):
            bundle(CODES, "n", when)


def test_rows_go_out_as_csv_and_json() -> None:
    read = list(csv.DictReader(io.StringIO(as_csv(CODES))))
    assert tuple(read[0]) == COLUMNS
    assert [row["code"] for row in read] == ["E11.9", "401.9", "0DTJ4ZZ", "47.01"]
    assert read[0]["evidence"] == "type 2 diabetes; DM"
    assert read[0]["places"] == "10-25; 80-82"
    assert json.loads(as_json(CODES)) == rows(CODES)


def test_no_cell_runs_as_a_formula() -> None:
    code = DecidedCode("icd10cm:E11.9", "Type 2", "accepted", evidence=(Evidence(0, 4, "=1+1"),), who="@me", when=WHEN)
    (row,) = csv.DictReader(io.StringIO(as_csv([code])))
    assert (row["evidence"], row["who"]) == ("'=1+1", "'@me")
