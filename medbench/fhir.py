"""Codes decided on a note, as FHIR resources and as rows: Condition for diagnoses, Procedure for procedures.

Follows HL7 FHIR R4 (4.0.1) and R5 (5.0.0): Bundle, Condition, Procedure. Where the two differ (evidence, recorder), the
release decides. The code systems' addresses are names fixed by the standard; nothing is looked up there.
"""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from medbench.codes_naming import KINDS, Version, parse
from medbench.errors import MedbenchError

Release = Literal["R4", "R5"]
SYSTEMS: dict[Version, str] = {
    "icd10cm": "http://hl7.org/fhir/sid/icd-10-cm",
    "icd10pcs": "http://www.cms.gov/Medicare/Coding/ICD10",
    "icd9cm": "http://hl7.org/fhir/sid/icd-9-cm",
    # ICD-9-CM volume 3 under its object identifier: its codes would clash with diagnoses in one system.
    "icd9pcs": "urn:oid:2.16.840.1.113883.6.104",
}
_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
# What a person accepted is confirmed by that person; what only a model proposed is not.
_VERIFIED = {"accepted": ("confirmed", "Confirmed"), "suggested": ("unconfirmed", "Unconfirmed")}
_IDS = uuid.UUID("6f1c3e0a-52f5-4a53-9a0b-4a3f4ff1d9c7")  # makes the same export carry the same identifiers
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = (
    "code",
    "version",
    "kind",
    "text",
    "billable",
    "decision",
    "probability",
    "evidence",
    "places",
    "who",
    "when",
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Words of the note that support a code: their place (characters) and, for a PDF, their page (from 1)."""

    start: int
    end: int
    words: str
    page: int | None = None


@dataclass(frozen=True, slots=True)
class DecidedCode:
    """A code on a note and what was decided about it.

    Attributes:
        label: The code with its version ("icd10cm:E11.9").
        text: Its official text.
        decision: "accepted" by a person, or only "suggested" by a model. What was rejected is not handed over.
        billable: Whether it may stand on a claim.
        probability: Calibrated probability, 0-1, None where no model gave one.
        evidence: The words that support it.
        who: Who decided; empty when nobody did.
        when: When, as ISO 8601 with a time zone; empty when nobody did.
    """

    label: str
    text: str
    decision: Literal["accepted", "suggested"]
    billable: bool = True
    probability: float | None = None
    evidence: tuple[Evidence, ...] = ()
    who: str = ""
    when: str = ""


def bundle(
    codes: Sequence[DecidedCode], note: str, when: str, release: Release = "R4", patient: str = ""
) -> dict[str, Any]:
    """Return a FHIR Bundle of type "collection" with one resource for every code.

    Args:
        codes: What was decided.
        note: Name of the note; with the label it gives each resource its identifier, the same at every export.
        when: Time of the export, ISO 8601 with a time zone.
        release: FHIR release.
        patient: Reference to the patient ("Patient/123"); without it the subject is named in words only.

    Raises:
        MedbenchError: When a time is not ISO 8601 with a time zone, or a code stands twice.
    """
    labels = [one.label for one in codes]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise MedbenchError("every code once", f"{twice[0]!r} twice", "Remove one of the two.")
    subject = {"reference": patient} if patient else {"display": "the patient of this note"}
    whole: dict[str, Any] = {"resourceType": "Bundle", "type": "collection", "timestamp": _instant(when)}
    if codes:  # FHIR has no empty lists
        whole["entry"] = [_entry(one, note, release, subject) for one in codes]
    return whole


def _entry(one: DecidedCode, note: str, release: Release, subject: dict[str, str]) -> dict[str, Any]:
    version, _ = parse(one.label)
    identifier = str(uuid.uuid5(_IDS, f"{note}\n{one.label}"))
    made = _condition if KINDS[version] == "diagnosis" else _procedure
    return {"fullUrl": f"urn:uuid:{identifier}", "resource": made(one, identifier, release, subject)}


def _condition(one: DecidedCode, identifier: str, release: Release, subject: dict[str, str]) -> dict[str, Any]:
    status, display = _VERIFIED[one.decision]
    resource: dict[str, Any] = {
        "resourceType": "Condition",
        "id": identifier,
        "clinicalStatus": _concept(_CLINICAL, "active", "Active"),
        "verificationStatus": _concept(_VERIFICATION, status, display),
        "category": [_concept(_CATEGORY, "encounter-diagnosis", "Encounter Diagnosis")],
        "code": _code(one),
        "subject": subject,
    }
    if one.when:
        resource["recordedDate"] = _instant(one.when)
    if one.who and release == "R4":
        resource["recorder"] = {"display": one.who}
    elif one.who:
        role = _concept(_PARTICIPATION, "enterer", "Enterer")
        resource["participant"] = [{"function": role, "actor": {"display": one.who}}]
    if one.evidence and release == "R4":
        resource["evidence"] = [{"code": [{"text": _place(words)}]} for words in one.evidence]
    elif one.evidence:
        resource["evidence"] = [{"concept": {"text": _place(words)}} for words in one.evidence]
    return _noted(resource, one)


def _procedure(one: DecidedCode, identifier: str, release: Release, subject: dict[str, str]) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "resourceType": "Procedure",
        "id": identifier,
        "status": "completed" if one.decision == "accepted" else "unknown",
        "code": _code(one),
        "subject": subject,
    }
    if one.who:
        resource["recorder"] = {"display": one.who}
    if one.when and release == "R5":
        resource["recorded"] = _instant(one.when)
    if one.evidence:
        resource["note"] = [{"text": f"Evidence: {_place(words)}"} for words in one.evidence]
    return _noted(resource, one)


def _noted(resource: dict[str, Any], one: DecidedCode) -> dict[str, Any]:
    """Add how sure a model was, as a note for people."""
    if one.probability is not None:
        told = {"text": f"Probability according to a model: {one.probability:.2f}"}
        resource["note"] = [*resource.get("note", []), told]
    return resource


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _code(one: DecidedCode) -> dict[str, Any]:
    version, code = parse(one.label)
    return {**_concept(SYSTEMS[version], code, one.text), "text": one.text}


def _place(words: Evidence) -> str:
    page = f"page {words.page}, " if words.page is not None else ""
    return f'"{" ".join(words.words.split())}" ({page}characters {words.start}-{words.end})'


def _instant(when: str) -> str:
    """Return a time that FHIR accepts: a date, a time to the second and an offset."""
    try:
        read = datetime.fromisoformat(when)
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        raise MedbenchError(
            "a time as ISO 8601 with a time zone", repr(when), "Write it like 2026-11-25T16:30:00+00:00."
        )
    return read.isoformat(timespec="seconds")


def rows(codes: Sequence[DecidedCode]) -> list[dict[str, Any]]:
    """Return the decided codes as flat rows with the columns `COLUMNS`; pieces of evidence are joined by "; "."""
    found = []
    for one in codes:
        version, code = parse(one.label)
        places = "; ".join(f"{words.start}-{words.end}" for words in one.evidence)
        evidence = "; ".join(" ".join(words.words.split()) for words in one.evidence)
        values = (code, version, KINDS[version], one.text, one.billable, one.decision, one.probability)
        found.append(dict(zip(COLUMNS, (*values, evidence, places, one.who, one.when), strict=True)))
    return found


def as_csv(codes: Sequence[DecidedCode]) -> str:
    """Return the rows as CSV. Cells that a spreadsheet would take for a formula get a leading apostrophe."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows(codes):
        writer.writerow({key: _harmless(value) for key, value in row.items()})
    return stream.getvalue()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def as_json(codes: Sequence[DecidedCode]) -> str:
    """Return the rows as a JSON list."""
    return json.dumps(rows(codes), ensure_ascii=False, indent=2) + "\n"
