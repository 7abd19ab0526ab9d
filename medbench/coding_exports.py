"""A coded note leaves: CSV, JSON, a FHIR bundle of conditions, and a PDF report with the evidence marked."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from medbench import fhir
from medbench.code_sheet import CodeSheet
from medbench.codes import tables
from medbench.coding import CodedNote, Proposal
from medbench.coding_history import digest
from medbench.records import Span
from medbench.report_sheet import Sheet

NOTICE = "Research use. Not a medical device. Codes have to be checked by a person before they are used."
_SHOWN = 30_000  # characters of the note in the report


def chosen(coded: CodedNote, sheet: CodeSheet) -> list[fhir.DecidedCode]:
    """Return the codes that were settled on, in their order, with the words that support them.

    Words that are denied, a relative's, past or uncertain support nothing, unless a person coded just that mention.
    """
    held, known, found = tables(), {one.code.label: one for one in coded.proposals}, []
    mentions = {one.code.label: one.mentions for one in coded.apart}
    for label in sheet.chosen:
        code, one = held.get(label), known.get(label)
        if code is None:
            continue
        act = sheet.settled_by(label)
        present = [each for each in one.evidence if each.status == "present"] if one else mentions.get(label, ())
        evidence = tuple(fhir.Evidence(each.start, each.end, coded.text[each.start : each.end]) for each in present)
        probability = one.probability if one else None
        decided = (code.billable, probability, evidence, act.who, when(act.at))
        found.append(fhir.DecidedCode(label, code.text, "accepted", *decided))
    return found


def when(at: float) -> str:
    """Return a moment in Unix seconds as ISO 8601 in UTC; empty for 0."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else ""


def as_csv(coded: CodedNote, sheet: CodeSheet) -> bytes:
    """Return the codes as CSV, one a row, UTF-8 with a mark so that spreadsheets read it."""
    return b"\xef\xbb\xbf" + fhir.as_csv(chosen(coded, sheet)).encode()


def as_json(coded: CodedNote, sheet: CodeSheet) -> bytes:
    """Return everything: proposals with evidence, what was set apart, the acts, and what they come to."""
    whole = {**coded.as_json(), "chosen": fhir.rows(chosen(coded, sheet)), "acts": sheet.as_json(), "notice": NOTICE}
    return json.dumps(whole, ensure_ascii=False, indent=1).encode()


def as_fhir(coded: CodedNote, sheet: CodeSheet) -> bytes:
    """Return the codes that were settled on as a FHIR R4 bundle of conditions and procedures."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    bundle = fhir.bundle(chosen(coded, sheet), digest(coded.text), now)
    return json.dumps(bundle, ensure_ascii=False, indent=1).encode()


def as_pdf(coded: CodedNote, sheet: CodeSheet) -> bytes:
    """Return the report: codes, conflicts, what was set apart, and the note with its evidence marked."""
    paper = Sheet("medbench · ICD coding · research use")
    paper.title("Codes of one note")
    who = coded.model or "the dictionary"
    paper.text(f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by medbench; codes proposed by {who}.")
    paper.notice(NOTICE)
    paper.facts(list(coded.releases.items()))
    if coded.needs_human and coded.why:
        paper.point(f"A person should code this note: {coded.why}.")
    for remark in (*coded.remarks, *coded.stands):
        paper.point(remark)
    paper.heading("Codes settled on")
    listed = fhir.rows(chosen(coded, sheet))
    if listed:
        head = ["code", "description", "billable", "words in the note", "by"]
        cells = [
            [row["code"], row["text"], "yes" if row["billable"] else "no", row["evidence"] or "none", row["who"] or "–"]
            for row in listed
        ]
        paper.table(head, cells, [1.1, 4.5, 0.9, 3.5, 0.8])
    else:
        paper.text("None yet.")
    for conflict in tables().conflicts(sheet.chosen):
        paper.point(conflict.sentence)
    open_ones = [one for one in coded.proposals if sheet.standing(one.code.label) == "open"]
    if open_ones:
        paper.heading("Proposed, not decided")
        cells = [[one.code.code, one.code.text, _score(one)] for one in open_ones]
        paper.table(["code", "description", "probability or match"], cells, [1.1, 5, 2.4])
    apart = [one for one in coded.apart if one.code.label not in sheet.chosen]
    if apart:
        paper.heading("Set apart, not coded")
        cells = [[one.code.code, one.code.text, one.evidence.status, one.evidence.trigger] for one in apart]
        paper.table(["code", "description", "status", "because of"], cells, [1.1, 5, 1.2, 1.6])
    paper.heading("The note")
    marks = [
        Span(each.start, each.end, 1.0)
        for one in coded.proposals
        if sheet.standing(one.code.label) != "rejected"
        for each in one.evidence
        if each.status == "present"
    ]
    paper.marked(coded.text[:_SHOWN], marks)
    if len(coded.text) > _SHOWN:
        paper.text(f"… the first {_SHOWN:,} of {len(coded.text):,} characters.")
    return paper.done()


def _score(one: Proposal) -> str:
    if one.probability is None:
        return f"dictionary match {one.share:.2f}"
    return f"probability {one.probability:.2f}"
