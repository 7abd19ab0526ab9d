"""PDF: title and abstract of an article, found on its first pages; or the whole text of one clinical document."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from medbench.errors import MedbenchError
from medbench.readers import Reader, Source
from medbench.readers._pdf_pages import SCAN_LIMIT, PdfText, Tell, failures, whole_text
from medbench.records import Record, Role

_PAGES = 3
_LONGEST_ABSTRACT = 6_000
_START = re.compile(
    r"(?:^|\n)[ \t]*(?:\d\.?\s*)?(?:a\s?b\s?s\s?t\s?r\s?a\s?c\s?t|summary|zusammenfassung|r[ée]sum[ée]|resumen)"
    r"[ \t]*(?:[:.\-\u2013\u2014]|\n|(?=[ \t](?:background|objectives?|aims?|purpose|introduction|importance|context"
    r"|methods|we|in|the|this)\b))\s*",
    re.IGNORECASE,
)
_STOP = re.compile(
    r"\n[ \t]*(?:(?:\d|I)?\.?[ \t]*(?:introduction|background and introduction)[ \t]*(?:\n|$)"
    r"|(?:key\s?words?|index terms|mesh terms|subject headings|abbreviations|author summary|trial registration"
    r"|graphical abstract|correspondence|funding|copyright)\b"
    r"|1\.?[ \t]+[A-Z][a-z]+[ \t]*\n|(?:©|\(c\) ?\d{4}))",
    re.IGNORECASE,
)
_NO_TITLE = re.compile(
    r"untitled|microsoft word|\.(?:docx?|pdf|dvi|tex|indd|rtf|ps|qxd|fm)\b"
    r"|^(?:doi|pii|manuscript|article|layout|title)\b|^[\W\d]*$|^\S+$",
    re.IGNORECASE,
)
_DOI = re.compile(r"\b10\.\d{4,9}/[^\s\"<>]+[^\s\"<>.,;)]")
_WORD_BREAK = re.compile(r"(?<=[a-z])-\n(?=[a-z])")


class Pdf(Reader):
    """PDF articles: one record a file, its fields a proposal to be looked at."""

    name = "pdf"
    title = "PDF"
    extensions = (".pdf",)
    writes = False
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = {
        "title": ("title",),
        "text": ("abstract", "text"),
        "id": ("doi",),
        "labels": (),
        "group": (),
        "split": (),
    }

    def sniff(self, head: bytes, name: str) -> float:
        """Look for the PDF mark, which may stand behind some junk."""
        return 1.0 if b"%PDF-" in head[:1024] else 0.0

    def records(self, source: Source) -> Iterator[Record]:
        """Yield the one record of an article: title, abstract, text of the first pages. See `Reader.read`."""
        with source.open_bytes() as raw:
            stream = io.BytesIO(raw.read()) if source.zipped else raw
            try:
                yield _article(_opened(stream))
            except failures() as error:
                reason = f"the PDF is damaged ({type(error).__name__}); download it again or paste the abstract"
                yield Record(1, {}, refused=reason)


def read_document(content: bytes | Path, name: str = "", tell: Tell | None = None) -> PdfText:
    """Return the whole text of one document, with the offsets at which its pages begin.

    Args:
        content: The file's bytes, or where it lies.
        name: What the user called it; the path's name by default.
        tell: Told (share done 0-1, sentence) before each page.

    Raises:
        MedbenchError: When the file is locked, damaged, without pages, blank, or a scan without text.
    """
    name = name or (content.name if isinstance(content, Path) else "the PDF")
    try:
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        return whole_text(_opened(stream), name, tell)
    except failures() as error:
        raise MedbenchError(
            "a PDF that can be read", f"{name!r}, which is damaged ({type(error).__name__})", "Export it again."
        ) from error


def _opened(stream: Any) -> Any:
    """Return the opened document; its warnings would quote it in a log, and what users upload is never logged."""
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)
    return PdfReader(stream, strict=False)


def _article(document: Any) -> Record:
    if document.is_encrypted and not document.decrypt(""):
        return Record(1, {}, refused="the PDF is locked with a password; save an unlocked copy or paste the abstract")
    pages = [document.pages[number] for number in range(min(_PAGES, len(document.pages)))]
    if not pages:
        return Record(1, {}, refused="the PDF has no pages")
    pieces: list[tuple[float, str]] = []
    first = pages[0].extract_text(visitor_text=_sizes(pieces))
    text = "\n".join([first, *(page.extract_text() for page in pages[1:])]).replace("\0", "")
    if len("".join(text.split())) < SCAN_LIMIT:
        return Record(
            1, {}, refused="the PDF holds pictures of pages and no text; run text recognition or paste the text"
        )
    information = document.metadata
    title = _title(str(information.title or "") if information else "", pieces, first)
    abstract = _abstract(text)
    repairs = [
        phrase
        for missing, phrase in (
            (not title, "no title was recognised"),
            (not abstract, "no abstract was recognised; the text of the first pages is offered instead"),
        )
        if missing
    ]
    doi = _DOI.search(text)
    fields = {"title": (title,), "abstract": (abstract,), "text": (_flowing(text),), "doi": (doi[0] if doi else "",)}
    return Record(1, {name: values for name, values in fields.items() if values[0]}, tuple(repairs))


def _sizes(pieces: list[tuple[float, str]]) -> Any:
    """Return a visitor that collects (letter height in points, text) in page order."""

    def visit(text: str, cm: list[float], tm: list[float], font: Any, size: float) -> None:
        if text.strip():
            scale = (abs(tm[3]) or abs(tm[1]) or 1.0) * (abs(cm[3]) or abs(cm[1]) or 1.0)
            pieces.append((round(size * scale, 1), text))

    return visit


def _title(stated: str, pieces: list[tuple[float, str]], first: str) -> str:
    """Return the stated title if it makes sense, else the largest letters of page one, else its first long line."""
    stated = " ".join(stated.split())
    if 15 <= len(stated) <= 400 and not _NO_TITLE.search(stated):
        return stated
    for size in sorted({size for size, _ in pieces}, reverse=True)[:4]:
        text = " ".join(" ".join(text for height, text in pieces if abs(height - size) < 0.3).split())
        if 15 <= len(text) <= 400 and " " in text and "@" not in text and not _START.match(text):
            return text
    lines = (line.strip() for line in first.splitlines())
    return next(
        (line for line in lines if len(line) >= 25 and not _NO_TITLE.search(line) and not _DOI.search(line)), ""
    )


def _abstract(text: str) -> str:
    start = _START.search(text)
    if start is None:
        return ""
    rest = text[start.end() :]
    stop = _STOP.search(rest)
    body = _flowing(rest[: stop.start()] if stop is not None and stop.start() > 80 else rest)
    if len(body) <= _LONGEST_ABSTRACT:
        return body
    # No heading ended it: keep whole sentences up to the usual length.
    return body[: body.rfind(". ", 0, _LONGEST_ABSTRACT // 2) + 1]


def _flowing(text: str) -> str:
    """Join lines and words broken at line ends; collapse white space."""
    return " ".join(_WORD_BREAK.sub("", text).split())


READER = Pdf()
