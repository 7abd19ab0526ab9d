"""Coding decisions: who settled on what, on which note, and when. `data/history/codings/`, each process its own files.

One line for each change of a sheet, with the whole sheet in it, so that the newest line of a note counts and a torn one
loses one act. The note itself is kept as the texts of answers are: not with MEDBENCH_KEEP_TEXT=0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
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
        answer: Id in the history of the model's answer for a job, "" when no job was asked.
    """

    note: str
    title: str
    text: str
    model: str
    sheet: CodeSheet
    who: str
    at: float
    answer: str = ""


def digest(text: str) -> str:
    """Return the name of a note: the same for the same text."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()


def keep(
    workspace: Workspace,
    text: str,
    model: str,
    sheet: CodeSheet,
    who: str = "",
    answer: str = "",
    right: Sequence[str] | None = None,
) -> None:
    """Write the sheet of a note.

    Args:
        workspace: Where the history lies.
        text: The note.
        model: Who proposed.
        sheet: What was decided.
        who: Who decided last.
        answer: Id in the history of the model's answer for a job.
        right: The labels of that job that somebody settled on; None while the note is not settled.

    Raises:
        MedbenchError: The folder cannot be written.
    """
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
        **({"answer": answer, "right": None if right is None else list(right)} if answer else {}),
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


def last_of(workspace: Workspace, text: str) -> Coding | None:
    """Return the newest state of this very note; None when nothing was decided on it before."""
    name = digest(text)
    mine = [line for line in _lines(workspace) if line["note"] == name]
    return _coding(max(mine, key=lambda line: line["t"])) if mine else None


def settled(workspace: Workspace) -> dict[str, frozenset[str]]:
    """Return answer's id -> the labels that count, of all notes that are settled now."""
    newest: dict[str, dict[str, Any]] = {}
    for line in _lines(workspace, b'"answer"'):
        name = str(line.get("answer", ""))
        if name and (name not in newest or line["t"] >= newest[name]["t"]):
            newest[name] = line
    return {name: frozenset(line["right"]) for name, line in newest.items() if line.get("right") is not None}


def _coding(line: dict[str, Any]) -> Coding:
    sheet = CodeSheet.from_json(line.get("acts", []), line.get("proposed", []))
    named = {name: str(line.get(name, "")) for name in ("note", "title", "text", "model", "who")}
    return Coding(**named, sheet=sheet, at=float(line["t"]), answer=str(line.get("answer", "")))


def _lines(workspace: Workspace, holding: bytes = b"") -> Iterator[dict[str, Any]]:
    """Yield the whole lines of all files that hold some bytes; torn ones are passed over."""
    for path in sorted((workspace.history / FOLDER).glob("*.jsonl")):
        with path.open("rb") as file:
            for data in file:
                if holding not in data:
                    continue
                try:
                    line = json.loads(data)
                except ValueError:
                    continue
                if isinstance(line, dict) and line.get("kind") == "coding" and "note" in line and "t" in line:
                    yield line
