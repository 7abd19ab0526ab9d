"""Coding decisions: who settled on what, on which note, and when. `data/history/codings/`, each process its own files.

One line for each change of a sheet, with the whole sheet in it, so that the newest line of a note counts and a torn one
loses one act. The note itself is kept as the texts of answers are: not with MEDBENCH_KEEP_TEXT=0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medbench import history, journal
from medbench.code_sheet import CodeSheet
from medbench.workspace import Workspace

FOLDER = "codings"
_TITLE = 80


@dataclass(frozen=True, slots=True)
class Coding:
    """The newest state of one note.

    Attributes:
        note: Digest of the note's text.
        title: Its first words; empty when texts are not kept.
        text: The note; empty when texts are not kept.
        model: Who proposed.
        sheet: What was decided.
        who: Who decided last.
        at: When, Unix seconds.
    """

    note: str
    title: str
    text: str
    model: str
    sheet: CodeSheet
    who: str
    at: float


def digest(text: str) -> str:
    """Return the name of a note: the same for the same text."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()


def keep(workspace: Workspace, text: str, model: str, sheet: CodeSheet, who: str = "") -> None:
    """Write the sheet of a note. Raises MedbenchError when the folder cannot be written."""
    kept = history.keeps_text()
    line = {
        "kind": "coding",
        "note": digest(text),
        "title": " ".join(text.split())[:_TITLE] if kept else "",
        "text": text[: history.TEXT_LIMIT] if kept else "",
        "model": model,
        "acts": sheet.as_json(),
        "proposed": list(sheet.proposed),
        "who": who,
    }
    with journal.lock:
        name = journal.stem()
        journal.append(workspace.history / FOLDER / f"{name}.jsonl", name, [line])


def newest(workspace: Workspace, limit: int = 200) -> list[Coding]:
    """Return the newest state of every note that was coded, newest first."""
    found: dict[str, dict[str, Any]] = {}
    for line in _lines(workspace):
        before = found.get(line["note"])
        if before is None or line["t"] >= before["t"]:
            found[line["note"]] = line
    rows = sorted(found.values(), key=lambda line: -line["t"])[:limit]
    return [_coding(line) for line in rows]


def sheet_of(workspace: Workspace, text: str) -> CodeSheet:
    """Return what was decided on this very note before; an empty sheet when nothing was."""
    name = digest(text)
    mine = [line for line in _lines(workspace) if line["note"] == name]
    return _coding(max(mine, key=lambda line: line["t"])).sheet if mine else CodeSheet()


def _coding(line: dict[str, Any]) -> Coding:
    sheet = CodeSheet.from_json(line.get("acts", []), line.get("proposed", []))
    named = {name: str(line.get(name, "")) for name in ("note", "title", "text", "model", "who")}
    return Coding(**named, sheet=sheet, at=float(line["t"]))


def _lines(workspace: Workspace) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of all files; torn ones are passed over."""
    for path in sorted((workspace.history / FOLDER).glob("*.jsonl")):
        with path.open("rb") as file:
            for data in file:
                try:
                    line = json.loads(data)
                except ValueError:
                    continue
                if isinstance(line, dict) and line.get("kind") == "coding" and "note" in line and "t" in line:
                    yield line
