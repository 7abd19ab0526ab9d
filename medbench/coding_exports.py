"""A coded note leaves: CSV, JSON, a FHIR bundle of conditions, and a PDF report with the evidence marked."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from medbench import fhir
from medbench.code_sheet import Act, CodeSheet
from medbench.codes import TITLES, Code, tables
from medbench.coding import CodedNote, Proposal
from medbench.records import Span
from medbench.report_sheet import Sheet

NOTICE = "Research use. Not a medical device. Codes have to be checked by a person before they are used."
_COLUMNS = ("code", "description", "table", "release", "billable", "probability", "seen", "words", "by", "when")
_SHOWN = 30_000  # characters of the note in the report


def chosen(coded: CodedNote, sheet: CodeSheet) -> Iterator[tuple[Code, Proposal | None, Act]]:
    """Yield every code that was settled on, its proposal if it was proposed, and the act that settled it."""
    held, known = tables(), {one.code.label: one for one in coded.proposals}
    for label in sheet.chosen:
        code = held.get(label)
        if code is not None:
            yield code, known.get(label), next(act for act in reversed(sheet.acts) if label in (act.label, act.to))


def when(at: float) -> str:
    """Return a moment in Unix seconds as ISO 8601 in UTC; empty for 0."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") if at else ""


def rows(coded: CodedNote, sheet: CodeSheet) -> list[dict[str, Any]]:
    """Return one row a code that was settled on; cells are text or numbers."""
    held, found = tables(), []
    for code, one, act in chosen(coded, sheet):
        spans = one.evidence if one else ()
        cells = (
            code.code,
            code.text,
            TITLES[code.version],
            held.release(code.version),
            "yes" if code.billable else "no",
            one.probability if one else None,
            one.seen if one else None,
            "; ".join(coded.text[each.start : each.end] for each in spans),
            act.who,
            when(act.at),
        )
        found.append(dict(zip(_COLUMNS, cells, strict=True)))
    return found


def as_csv(coded: CodedNote, sheet: CodeSheet) -> bytes:
    """Return the codes as CSV, UTF-8 with a mark so that spreadsheets read it; formulas are defused."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows(coded, sheet):
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _harmless(value: Any) -> Any:
    """Keep a spreadsheet from taking a cell for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def as_json(coded: CodedNote, sheet: CodeSheet) -> bytes:
    """Return everything: proposals with evidence, what was set apart, the acts, and what they come to."""
    whole = {**coded.as_json(), "chosen": rows(coded, sheet), "acts": sheet.as_json(), "notice": NOTICE}
    return json.dumps(whole, ensure_ascii=False, indent=1).encode()


def as_fhir(coded: CodedNote, sheet: CodeSheet) -> bytes:
    """Return the codes that were settled on as a FHIR bundle of conditions (procedures are left out)."""
    conditions = [
        fhir.Decided(
            code=code.code,
            version=code.version,
            text=code.text,
            release=tables().release(code.version),
            words=tuple(coded.text[each.start : each.end] for each in one.evidence) if one else (),
            who=act.who,
            at=act.at,
        )
        for code, one, act in chosen(coded, sheet)
        if code.kind == "diagnosis"
    ]
    return json.dumps(fhir.bundle(conditions), ensure_ascii=False, indent=1).encode()


def as_pdf(coded: CodedNote, sheet: CodeSheet) -> bytes:
    """Return the report: codes, conflicts, what was set apart, and the note with its evidence marked."""
    paper = Sheet("medbench · ICD coding · research use")
    paper.title("Codes of one note")
    who = coded.model or "the dictionary"
    paper.text(f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by medbench; codes proposed by {who}.")
    paper.notice(NOTICE)
    paper.facts(list(coded.releases.items()))
    paper.heading("Codes settled on")
    listed = rows(coded, sheet)
    if listed:
        head = ["code", "description", "billable", "words in the note", "by"]
        cells = [[row["code"], row["description"], row["billable"], row["words"] or "none", row["by"]] for row in listed]
        paper.table(head, cells, [1.1, 4.5, 0.9, 3.5, 0.8])
    else:
        paper.text("None yet.")
    for conflict in tables().conflicts(sheet.chosen):
        paper.point(conflict.sentence)
    open_ones = [one for one in coded.proposals if sheet.standing(one.code.label) == "open"]
    if open_ones:
        paper.heading("Proposed, not decided")
        cells = [[one.code.code, one.code.text, f"{one.share:.2f}"] for one in open_ones]
        paper.table(["code", "description", "score"], cells, [1.1, 6, 0.8])
    if coded.apart:
        paper.heading("Set apart, not coded")
        cells = [[one.code.code, one.code.text, one.evidence.status, one.evidence.trigger] for one in coded.apart]
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
