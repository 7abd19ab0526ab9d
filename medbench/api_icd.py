"""Codes over HTTP: a note or a PDF in, codes with evidence out; the code tables to look things up in."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, BinaryIO, Literal

from medbench import codes, coding_jobs
from medbench.api_guard import RefusedError
from medbench.codes import Code
from medbench.note_files import LARGEST, note_of
from medbench.workspace import Workspace

HITS_LIMIT = 50
Table = Literal["icd10cm", "icd9cm"] | None


def coded_text(workspace: Workspace, text: str, model_id: str, most: int, version: Table = None) -> dict[str, Any]:
    """Return what `coding_jobs.code` says of a text. Raises MedbenchError for an empty one or an unfit model."""
    return coding_jobs.code(workspace, text, model_id, most, version).as_json()


def coded_file(
    workspace: Workspace, name: str, file: BinaryIO, model_id: str, most: int, version: Table = None
) -> dict[str, Any]:
    """Return the same for an uploaded PDF or text file, with the text that was read; nothing of it is kept.

    Raises:
        MedbenchError: The file is empty, a scan, locked, damaged or no text.
        RefusedError: It is too large.
    """
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise RefusedError(413, f"at most {LARGEST:,} bytes", "more", "Split it, one document at a time.")
    found = note_of(name, data)
    told = coding_jobs.code(workspace, found.text, model_id, most, version).as_json()
    return {**told, "remarks": [*found.remarks, *told["remarks"]], "text": found.text}


def searched(words: str, version: codes.Version, limit: int) -> list[dict[str, Any]]:
    """Return the codes that words, a typo of them or the beginning of a code may mean, best first."""
    return [shown(hit.code) for hit in codes.tables().search(words, version, limit)]


def opened(text: str) -> dict[str, Any]:
    """Return one code with its place in the tree, its notes and its mappings.

    Raises:
        RefusedError: No table has it.
    """
    held = codes.tables()
    code = held.get(text) or held.find(text)
    if code is None:
        raise RefusedError(404, "a code of a present table", repr(text[:100]), "Look it up with GET /codes?q=words.")
    return {
        **shown(code),
        "release": held.release(code.version),
        "above": [shown(one) for one in held.ancestors(code.label)],
        "below": [shown(one) for one in held.children(code.label)],
        "notes": asdict(held.notes(code.label)),
        "icd10": [{**shown(one.code), "approximate": one.approximate} for one in held.to_icd10(code.label)],
    }


def shown(code: Code) -> dict[str, Any]:
    """Return what is told of a code in a list."""
    return {name: getattr(code, name) for name in ("label", "code", "version", "kind", "text", "billable", "level")}
