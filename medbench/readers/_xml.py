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
from medbench.readers._tagged import UNDECODED
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
_TORN = "the record is not closed: the file breaks off or is damaged here"
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
    with source.open_text() as file:
        window = _Window(file.read, tags)
        first = True
        while window.find():
            if first:
                first = False
                prologue = window.text[: window.start]
                _check(prologue, source.name)
                yield Piece(0, prologue)
            yield window.take()


class _Window:
    """A stretch of the text that moves over the file; `start` is where the record element begins in it."""

    def __init__(self, read: Callable[[int], str], tags: tuple[str, ...]) -> None:
        self._read = read
        self._opening = re.compile(rf"<((?:[\w.-]+:)?(?:{'|'.join(tags)}))(?=[\s>])")
        self._moved = False
        self._line = 1
        self._place = 0
        self._tag = ""
        self.text = read(_CHUNK)
        self.start = 0

    def find(self) -> bool:
        """Go to the next record element; False when there is none. Before the first one nothing is let go."""
        while (match := self._opening.search(self.text, self._place)) is None:
            keep = max(self._place, len(self.text) - _OVERLAP) if self._moved else 0
            self._pass(keep)
            more = self._read(_CHUNK)
            if not more:
                return False
            self.text, self._place = self.text[keep:] + more, self._place - keep
        self._pass(match.start())
        self.start, self._tag, self._moved = match.start(), match[1], True
        return True

    def take(self) -> Piece:
        """Cut out the element that was found, reading on to its end."""
        closing = re.compile(rf"</{re.escape(self._tag)}\s*>")
        close = closing.search(self.text, self.start)
        if close is None:
            parts = [self.text[self.start :]]
            length = len(parts[0])
            while close is None and length < _LONGEST and (more := self._read(_CHUNK)):
                close = closing.search(parts[-1][-_OVERLAP:] + more)
                parts.append(more)
                length += len(more)
            self.text, self.start, self._place = "".join(parts), 0, 0
            if close is not None:
                close = closing.search(self.text, max(0, length - len(parts[-1]) - _OVERLAP))
        stop = close.end() if close is not None else len(self.text)
        again = re.compile(rf"<{re.escape(self._tag)}(?=[\s>])").search(self.text, self.start + 1, stop)
        stop = again.start() if again is not None else stop
        torn = close is None or again is not None
        line = self._line
        self._pass(stop)
        return Piece(line, self.text[self.start : stop], _TORN if torn else None)

    def _pass(self, place: int) -> None:
        """Count the lines up to a place and stand there."""
        self._line += self.text.count("\n", self._place, place)
        self._place = place


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


def read_records(
    source: Source,
    tags: tuple[str, ...],
    fields_of: Callable[[Element], Mapping[str, tuple[str, ...]]],
    silent: frozenset[str],
) -> Iterator[Record]:
    """Yield a record per record element.

    Args:
        source: The file.
        tags: Names of the elements that are records.
        fields_of: What gives the fields of an element, whose tags carry no namespaces.
        silent: Fields that alone make no record.

    Yields:
        Records whose `order` holds the element's own text, as ("xml", text), or ("broken", text) where it cannot be
        parsed and would spoil a document.
    """
    spaces = ""
    for piece in pieces(source, tags):
        if piece.line == 0:
            spaces = "".join(dict.fromkeys(_NAMESPACE.findall(piece.text)))
            continue
        element, text, repairs, refused = _parsed(piece, spaces)
        if element is None:
            yield Record(piece.line, {}, repairs, refused, (("broken", text),))
            continue
        fields = {name: values for name, values in fields_of(element).items() if any(values)}
        refused = None if fields.keys() - silent else "the record has neither a title nor an abstract"
        yield Record(piece.line, fields, repairs, refused, (("xml", text),))


def _parsed(piece: Piece, spaces: str) -> tuple[Element | None, str, tuple[str, ...], str | None]:
    """Return the element (or None), its text with what had to be mended, the repairs, and why it was refused."""
    if piece.problem is not None:
        return None, piece.text, (), piece.problem
    text = _ENTITY.sub(_letter, piece.text) if "&" in piece.text else piece.text
    repairs = (UNDECODED,) if "\ufffd" in text else ()
    try:
        root = fromstring(f"<root{spaces}>{text}</root>")  # noqa: S314 - no DOCTYPE can stand inside an element
    except ParseError:
        text = _STRAY.sub("&amp;", _ILLEGAL.sub("", text))
        repairs = (*repairs, "characters that XML does not allow were mended")
        try:
            root = fromstring(f"<root{spaces}>{text}</root>")  # noqa: S314 - as above
        except ParseError as error:
            return None, piece.text, (), f"the record is not well-formed XML ({str(error).split(':')[0]})"
    for element in root.iter():
        if isinstance(element.tag, str) and element.tag.startswith("{"):
            element.tag = element.tag.rpartition("}")[2]
    return root[0], text, repairs, None


def _letter(match: re.Match[str]) -> str:
    name = match[1]
    return match[0] if name in _OWN or f"{name};" not in html5 else html.escape(html5[f"{name};"], quote=False)


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
        kind, text = record.order[0]
        if kind == "xml":  # what is not well-formed would make the whole document unreadable
            text = extend(text, additions) if additions and record.refused is None else text
            out.write(text.encode() + b"\n")
    out.write("".join(f"</{tag}>" for tag in reversed(open_tags(prologue))).encode() + b"\n")


def inserted(text: str, addition: str, before: tuple[str, ...]) -> str:
    """Insert XML before the first of these tags that occurs (each as written, e.g. "</record>")."""
    found = [place for tag in before if (place := text.find(tag)) >= 0]
    return f"{text[: min(found)]}{addition}{text[min(found) :]}" if found and addition else text


def escaped(text: str) -> str:
    """Return text as XML character data."""
    return html.escape(_ILLEGAL.sub("", text), quote=False)
