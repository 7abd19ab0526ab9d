"""Text of a PDF in reading order: two columns that were drawn line by line across the page are taken apart."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from medbench.errors import MedbenchError

Tell = Callable[[float, str], None]
SCAN_LIMIT = 40  # characters; less text than this means pictures of text
_SAME_LINE = 3.0  # points; pieces whose baselines differ by less stand on one line
_LETTER = 0.5  # mean width of a letter in units of its height
_PROSE = 22  # characters; columns of a table are narrower than this, columns of prose wider
_MIN_ROWS = 8
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "\0": "", "\u00ad": ""})


@dataclass(frozen=True, slots=True)
class PdfText:
    """The text of one PDF document.

    Attributes:
        text: All pages, joined by line ends.
        page_starts: Offset in `text` at which each page begins.
        empty_pages: Numbers (from 1) of pages without text: pictures, or blank.
    """

    text: str
    page_starts: tuple[int, ...]
    empty_pages: tuple[int, ...] = ()

    def page_of(self, offset: int) -> int:
        """Return the number (from 1) of the page that holds this character."""
        return max(1, bisect_right(self.page_starts, offset))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run of text as drawn: left edge and baseline in points, estimated right edge."""

    x: float
    y: float
    right: float
    text: str


def failures() -> tuple[type[Exception], ...]:
    """Return what pypdf raises on a damaged file."""
    from pypdf.errors import PyPdfError

    return (
        *(PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError, OSError),
        *(RecursionError, NotImplementedError, OverflowError, ZeroDivisionError),
    )


def whole_text(document: Any, name: str, tell: Tell | None = None) -> PdfText:
    """Return the text of all pages of an opened `pypdf.PdfReader`.

    Args:
        document: The opened reader.
        name: What the user calls the file.
        tell: Told (share done 0-1, sentence) before each page.

    Raises:
        MedbenchError: When the document is locked, has no pages, is blank, or holds pictures of text only.
    """
    if document.is_encrypted and not document.decrypt(""):
        raise MedbenchError("a PDF that can be opened", f"{name!r} locked with a password", "Save an unlocked copy.")
    if not document.pages:
        raise MedbenchError("a PDF with pages", f"none in {name!r}", "Export the document again.")
    texts, count = [], len(document.pages)
    for number, page in enumerate(document.pages):
        if tell is not None:
            tell(number / count, f"Reading page {number + 1:,} of {count:,}")
        texts.append(page_text(page))
    _refuse_pictures(document, name, sum(len("".join(text.split())) for text in texts))
    starts = [0]
    for text in texts[:-1]:
        starts.append(starts[-1] + len(text) + 1)
    empty = tuple(number for number, text in enumerate(texts, start=1) if not text.strip())
    return PdfText("\n".join(texts), tuple(starts), empty)


def _refuse_pictures(document: Any, name: str, letters: int) -> None:
    """Raise MedbenchError for a scan, and for blank pages; a few words without any picture are a short note."""
    if letters >= SCAN_LIMIT:
        return
    if any(_has_picture(page) for page in document.pages):
        raise MedbenchError(
            "a PDF that holds text",
            f"{name!r}, which holds pictures of pages (a scan)",
            "Run text recognition (OCR) on it, or paste the text.",
        )
    if not letters:
        raise MedbenchError(
            "a PDF that holds text", f"{name!r}, whose pages are blank", "Choose another file, or paste the text."
        )


def _has_picture(page: Any) -> bool:
    """Return whether a page draws pictures, or forms that may hold some; nothing is decoded."""
    resources = page.get("/Resources")
    objects = resources.get_object().get("/XObject") if resources is not None else None
    return bool(objects is not None and objects.get_object())


def page_text(page: Any) -> str:
    """Return a page's text; lines stay lines."""
    pieces: list[_Piece] = []

    def visit(text: str, cm: list[float], tm: list[float], font: Any, size: float) -> None:
        if text.strip():
            x, y = tm[4] * cm[0] + tm[5] * cm[2] + cm[4], tm[4] * cm[1] + tm[5] * cm[3] + cm[5]
            height = size * (abs(tm[3]) or 1.0) * (abs(cm[3]) or 1.0)
            pieces.append(_Piece(x, y, x + len(text.strip()) * height * _LETTER, text.strip("\n")))

    drawn: str = page.extract_text(visitor_text=visit)
    width = float(page.mediabox.width)
    gutter = _gutter(pieces, width)
    return (drawn if gutter is None else _by_columns(pieces, gutter)).translate(_LIGATURES)


def _rows(pieces: list[_Piece]) -> list[list[_Piece]]:
    """Return the pieces in the order drawn, those on one line together."""
    rows: list[list[_Piece]] = []
    for piece in pieces:
        if rows and abs(rows[-1][-1].y - piece.y) < _SAME_LINE:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return rows


def _gutter(pieces: list[_Piece], width: float) -> float | None:
    """Return where the right column begins, None unless two columns of prose were drawn line by line across the page.

    Columns that were drawn one after the other are read rightly as they are. A table is read by lines: its cells are
    short.
    """
    rows = [row for row in _rows(pieces) if len(row) > 1]
    starts = Counter(round(piece.x) for row in rows for piece in row[1:] if 0.3 * width < piece.x < 0.7 * width)
    if not starts:
        return None
    edge, count = starts.most_common(1)[0]
    if count < _MIN_ROWS or count < 0.5 * len(rows):
        return None
    crossed = [row for row in rows if any(abs(piece.x - edge) < 2 for piece in row)]
    left = [sum(len(piece.text) for piece in row if piece.x < edge - 2) for row in crossed]
    right = [sum(len(piece.text) for piece in row if piece.x >= edge - 2) for row in crossed]
    return edge - 2.0 if min(median(left), median(right)) >= _PROSE else None


def _by_columns(pieces: list[_Piece], gutter: float) -> str:
    """Return left column, then right column, between lines that run across both."""
    lines: list[str] = []
    left: list[str] = []
    right: list[str] = []
    for row in _rows(pieces):
        before = [piece for piece in row if piece.x < gutter]
        after = [piece for piece in row if piece.x >= gutter]
        if before and not after and before[-1].right > gutter + 20:
            lines += [*left, *right, _joined(before)]
            left, right = [], []
            continue
        left += [_joined(before)] if before else []
        right += [_joined(after)] if after else []
    return "\n".join([*lines, *left, *right])


def _joined(row: list[_Piece]) -> str:
    """Return a line's pieces as one text."""
    text = row[0].text.strip()
    for before, piece in pairwise(row):
        gap = " " if piece.x > before.x and not before.text.endswith(" ") and piece.text[:1] != " " else ""
        text += gap + piece.text
    return " ".join(text.split())
