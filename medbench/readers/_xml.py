"""XML streamed record by record: each record element is cut out of the text and parsed on its own.

So one broken record does not take the rest of the file with it, memory stays flat, line numbers are exact, and what is
written back is the source's own text. What stands before the first record goes through defusedxml, which refuses entity
declarations; they cannot stand anywhere else.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html.entities import html5
from typing import BinaryIO
from xml.etree.ElementTree import Element, ParseError, fromstring

from medbench.errors import MedbenchError
from medbench.readers._source import Source
from medbench.records import Record

_CHUNK = 1 << 18
_LONGEST = 50_000_000  # characters of one record
_OVERLAP = 200
_NAMESPACE = re.compile(r"\sxmlns(?::[\w.-]+)?\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_STRAY = re.compile(r"&(?!#\d+;|#x[0-9A-Fa-f]+;|(?:amp|lt|gt|quot|apos);)")
_ILLEGAL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#(?:x(?:0?[0-8bBcCeEfF]|1[0-9a-fA-F])|[0-8]|1[124-9]|2\d|3[01]);"
)
_OWN = frozenset({"amp", "lt", "gt", "quot", "apos"})
_MARKUP = re.compile(r"<!--.*?-->|<\?.*?\?>|<!DOCTYPE(?:[^\[>]|\[.*?\])*>|<(/?)([\w:.-]+)[^<>]*?(/?)>", re.DOTALL)
_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>\s*")


@dataclass(frozen=True, slots=True)
class Piece:
    """One record element: where it begins, its text, and what is wrong with its borders."""

    line: int
    text: str
    problem: str | None = None


def pieces(source: Source, tags: tuple[str, ...]) -> Iterator[Piece]:
    """Yield the prologue (everything before the first record, line 0) and then every record element.

    Args:
        source: The file.
        tags: Names of the elements that are records; the outermost wins.

    Raises:
        MedbenchError: When the prologue declares entities.
    """
    opening = re.compile(rf"<((?:[\w.-]+:)?(?:{'|'.join(tags)}))(?=[\s>])")
    with source.open_text() as file:
        text, line, prologue = file.read(_CHUNK), 1, False
        while True:
            start = opening.search(text)
            if start is None:
                more = file.read(_CHUNK)
                if not more:
                    break
                if prologue:
                    line += text.count("\n", 0, max(0, len(text) - _OVERLAP))
                    text = text[-_OVERLAP:]
                text += more
                continue
            if not prologue:
                prologue = True
                _check(text[: start.start()], source.name)
                yield Piece(0, text[: start.start()])
            line += text.count("\n", 0, start.start())
            text = text[start.start() :]
            closing = re.compile(rf"</{re.escape(start[1])}\s*>")
            same = re.compile(rf"<{re.escape(start[1])}(?=[\s>])")
            end, text = _end(file.read, text, closing)
            again = same.search(text, 1, end or len(text))
            if end is None or again is not None:
                stop = again.start() if again is not None else len(text)
                yield Piece(line, text[:stop], "the record is not closed: the file breaks off or is damaged here")
            else:
                stop = end
                yield Piece(line, text[:stop])
            line += text.count("\n", 0, stop)
            text = text[stop:]


def _end(read: Callable[[int], str], text: str, closing: re.Pattern[str]) -> tuple[int | None, str]:
    """Return where the closing tag ends (None when it never comes) and the text read up to there."""
    parts, seen, tail = [text], len(text), text
    found = closing.search(text)
    while found is None and seen < _LONGEST and (more := read(_CHUNK)):
        parts.append(more)
        seen += len(more)
        found = closing.search(tail[-_OVERLAP:] + more)
        tail = more
    whole = "".join(parts)
    if found is None:
        return None, whole
    last = closing.search(whole, max(0, len(whole) - len(tail) - _OVERLAP))
    return (last.end() if last is not None else None), whole


def _check(prologue: str, name: str) -> None:
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring as guarded

    closers = "".join(f"</{tag}>" for tag in reversed(open_tags(prologue)))
    try:
        guarded(prologue.lstrip("\ufeff \t\r\n") + (closers or "<root/>"))
        bad = False
    except DefusedXmlException:
        bad = True
    except ParseError:
        bad = "<!ENTITY" in prologue  # a crooked beginning does not harm the records, a declaration might
    if bad:
        raise MedbenchError(
            "XML without entity declarations",
            f"{name!r}, which declares entities as an attack would",
            "Export the records again from the database they come from.",
        )


def open_tags(prologue: str) -> list[str]:
    """Return the elements that are still open at the end of the prologue, outermost first."""
    stack: list[str] = []
    for match in _MARKUP.finditer(prologue):
        closes, tag, empty = match.groups()
        if tag and not closes and not empty:
            stack.append(tag)
        elif tag and closes and stack:
            stack.pop()
    return stack


def parsed(piece: Piece, prologue: str) -> tuple[Element | None, tuple[str, ...], str | None]:
    """Parse a record element with the prologue's namespaces.

    Returns:
        The element without namespaces in its tags (None when it cannot be parsed), repairs, and why it was refused.
    """
    if piece.problem is not None:
        return None, (), piece.problem
    spaces = "".join(dict.fromkeys(_NAMESPACE.findall(prologue)))
    text = _ENTITY.sub(_letter, piece.text) if "&" in piece.text else piece.text
    repairs: tuple[str, ...] = ("characters that could not be decoded were replaced",) if "\ufffd" in text else ()
    try:
        root = fromstring(f"<root{spaces}>{text}</root>")  # noqa: S314 - no DOCTYPE can stand inside an element
    except ParseError:
        text = _STRAY.sub("&amp;", _ILLEGAL.sub("", text))
        repairs = (*repairs, "characters that XML does not allow were mended")
        try:
            root = fromstring(f"<root{spaces}>{text}</root>")  # noqa: S314 - as above
        except ParseError as error:
            return None, (), f"the record is not well-formed XML ({str(error).split(':')[0]})"
    for element in root.iter():
        if isinstance(element.tag, str) and element.tag.startswith("{"):
            element.tag = element.tag.rpartition("}")[2]
    return root[0], repairs, None


def _letter(match: re.Match[str]) -> str:
    name = match[1]
    return match[0] if name in _OWN else html5.get(f"{name};", match[0])


def words(element: Element | None) -> str:
    """Return all text inside an element on one line."""
    return " ".join("".join(element.itertext()).split()) if element is not None else ""


def all_words(elements: Iterable[Element]) -> tuple[str, ...]:
    """Return the texts of elements that have any."""
    return tuple(text for element in elements if (text := words(element)))


def write_document(
    rows: Iterable[tuple[Record, Mapping[str, str]]],
    out: BinaryIO,
    source: Source,
    tags: tuple[str, ...],
    extend: Callable[[str, Mapping[str, str]], str],
) -> None:
    """Write the source's prologue, every record's own text (extended when it has additions), and the closing tags."""
    prologue = next((piece.text for piece in pieces(source, tags)), "")
    head = _DECLARATION.sub("", prologue.lstrip("\ufeff"), count=1)
    out.write(f'<?xml version="1.0" encoding="utf-8"?>\n{head}'.encode())
    for record, additions in rows:
        text = record.order[0][1] if record.order else ""
        if record.refused is not None or not text:
            continue  # what is not well-formed would make the whole document unreadable
        out.write((extend(text, additions) if additions else text).encode() + b"\n")
    out.write("".join(f"</{tag}>" for tag in reversed(open_tags(prologue))).encode() + b"\n")


def inserted(text: str, addition: str, before: tuple[str, ...]) -> str:
    """Insert XML before the first of these tags that occurs (each as written, e.g. "</record>")."""
    found = [place for tag in before if (place := text.find(tag)) >= 0]
    return f"{text[: min(found)]}{addition}{text[min(found) :]}" if found and addition else text


def escaped(text: str) -> str:
    """Return text as XML character data."""
    return html.escape(_ILLEGAL.sub("", text), quote=False)
