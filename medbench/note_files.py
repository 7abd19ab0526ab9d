"""A file with one clinical document in it becomes its text: PDF in reading order, or plain text in any encoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from medbench.errors import MedbenchError, OversizedError
from medbench.readers import pdf

LARGEST = 50_000_000
"""Bytes; a 500-page record of text has about a twentieth."""

_UNREAD = "\ufffd"  # what stands in the place of bytes that are no characters


@dataclass(frozen=True, slots=True)
class NoteFile:
    """The text of a document.

    Attributes:
        text: All of it.
        remarks: What the reader has to know, one sentence each.
    """

    text: str
    remarks: tuple[str, ...] = ()


def note_of(name: str, data: bytes, tell: Callable[[float, str], None] | None = None) -> NoteFile:
    """Return the text of a PDF or text file, told apart by content.

    Args:
        name: What the user calls it.
        data: Its bytes.
        tell: Told (share done 0-1, sentence) as a PDF is read.

    Raises:
        MedbenchError: It is empty, locked, a scan, damaged, or no text.
        OversizedError: It is too large.
    """
    if not data:
        raise MedbenchError("a file with a note in it", f"{name!r}, which is empty", "Choose another file.")
    if len(data) > LARGEST:
        size = f"{name!r} of {len(data) / 1e6:.0f} MB"
        raise OversizedError(f"a file of at most {LARGEST / 1e6:.0f} MB", size, "Split it, one document at a time.")
    if b"%PDF-" in data[:1024]:
        found = pdf.read_document(data, name, tell)
        blank = found.empty_pages
        told = f"Pages without text (pictures or blank): {', '.join(map(str, blank[:20]))}." if blank else ""
        return NoteFile(found.text, (told,) if told else ())
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise MedbenchError("a PDF or a text file", f"{name!r}, which is neither", "Save the note as PDF or text.")
    text = _decoded(data)
    lost = text.count(_UNREAD)
    told = f"{lost:,} characters could not be read: save the file as UTF-8 and drop it again." if lost else ""
    return NoteFile(text, (told,) if told else ())


def _decoded(data: bytes) -> str:
    """Return the text: UTF-16 with its mark, UTF-8, or else the code page of Western European Windows.

    A single note is too short for guessing among code pages by letter counts.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
