"""Lists of medical terms: MeSH descriptors as NLM gives them (ASCII or XML), or a table of terms.

MeSH itself is not shipped. Its descriptor files (d2026.bin, desc2026.xml) are read as they are downloaded, packed with
gzip or not; of a descriptor its heading, its entry terms, its number and its places in the tree are taken.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from medbench.errors import MedbenchError

BRANCHES = ("A", "B", "C", "D", "E", "F", "G")
"""Anatomy, organisms, diseases, chemicals and drugs, techniques, psychiatry, phenomena; not people, places, texts."""
LARGEST = 2_000_000_000
_TERM = ("term", "synonym", "synonyms", "entry", "string", "label", "name", "preferred")
_ID = ("id", "ui", "code", "cui", "concept", "descriptor")
_NAME = ("name", "preferred", "heading", "descriptor_name", "preferred_name", "label")


@dataclass(frozen=True, slots=True)
class Listed:
    """One concept of a list.

    Attributes:
        id: Its number or code; its name when the list has none.
        name: What a reader is shown.
        terms: All that it is called, the name among them.
        places: Its places in a tree ("C14.280"); empty when the list has none.
    """

    id: str
    name: str
    terms: tuple[str, ...]
    places: tuple[str, ...] = ()


def read_terms(path: Path, name: str = "", branches: Sequence[str] = BRANCHES) -> Iterator[Listed]:
    """Yield the concepts of a file, told apart by content.

    Args:
        path: ASCII MeSH, XML MeSH, or a table: CSV or TSV with a head (term; id and name where there are any), or one
            term on each line.
        name: What the user calls it.
        branches: First letters of the places in the tree that are kept; concepts without a place always are.

    Raises:
        MedbenchError: The file is missing, too large, damaged, or holds no term.
    """
    shown = name or path.name
    if not path.is_file():
        raise MedbenchError("a file with terms", f"no file {str(path)!r}", "Check the name.")
    if path.stat().st_size > LARGEST:
        raise MedbenchError("a list of at most 2 GB", f"{path.stat().st_size:,} bytes", "Keep the terms you need.")
    count = 0
    try:
        with _opened(path) as file:
            head = file.read(4096)
            file.seek(0)
            for one in _concepts(head, file):
                if not one.places or any(place.startswith(tuple(branches)) for place in one.places):
                    count += 1
                    yield one
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, csv.Error) as error:
        raise MedbenchError(f"{shown!r} as a list of terms", f"{type(error).__name__}", "Download it again.") from None
    if not count:
        raise MedbenchError(f"terms in {shown!r}", "none", "Bring MeSH descriptors, or a table with a column term.")


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path)) if packed else path.open("rb")


def _concepts(head: bytes, file: BinaryIO) -> Iterator[Listed]:
    if b"*NEWRECORD" in head:
        return _ascii(io.TextIOWrapper(file, encoding="utf-8-sig"))
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return _xml(file)
    if b"\0" in head:
        raise MedbenchError("MeSH descriptors or a table of terms", "a binary file", "Unpack it first.")
    return _table(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))


def _ascii(lines: TextIO) -> Iterator[Listed]:
    """Yield the descriptors of the ASCII file: records of "KEY = value" lines after *NEWRECORD."""
    fields: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("*NEWRECORD"):
            yield from _descriptor(fields)
            fields = {}
        elif " = " in line:
            key, _, value = line.rstrip("\r\n").partition(" = ")
            fields.setdefault(key.strip(), []).append(value.strip())
    yield from _descriptor(fields)


def _descriptor(fields: dict[str, list[str]]) -> Iterator[Listed]:
    if "MH" not in fields:
        return  # the file's own head, or a qualifier
    heading = fields["MH"][0]
    # An entry carries its history behind bars: "Heart Attack|T047|NON|EQV|NLM (1994)|...".
    entries = [entry.partition("|")[0] for key in ("PRINT ENTRY", "ENTRY") for entry in fields.get(key, ())]
    number = fields.get("UI", [heading])[0]
    yield Listed(number, heading, tuple(dict.fromkeys([heading, *entries])), tuple(fields.get("MN", ())))


def _xml(file: BinaryIO) -> Iterator[Listed]:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, iterparse

    try:
        for _, element in iterparse(file, events=("end",)):
            if element.tag == "DescriptorRecord":
                heading = element.findtext("DescriptorName/String") or ""
                terms = [one.text or "" for one in element.iterfind("ConceptList/Concept/TermList/Term/String")]
                places = tuple(one.text or "" for one in element.iterfind("TreeNumberList/TreeNumber"))
                number = element.findtext("DescriptorUI") or heading
                if heading:
                    yield Listed(number, heading, tuple(dict.fromkeys([heading, *filter(None, terms)])), places)
                element.clear()
    except (ParseError, DefusedXmlException) as error:
        raise MedbenchError("MeSH descriptors as XML", str(error), "Download the file again.") from None


def _table(lines: TextIO) -> Iterator[Listed]:
    """Yield the concepts of a table; rows with the same id, or without one the same name, are one concept."""
    first = lines.readline()
    lines.seek(0)
    delimiter = max("\t,;|", key=first.count)
    rows = csv.reader(lines, delimiter=delimiter) if delimiter in first else ([line.strip()] for line in lines)
    head = [cell.strip().casefold() for cell in next(iter(rows), [])]
    term, number, name = (_column(head, known) for known in (_TERM, _ID, _NAME))
    body: Iterable[list[str]] = rows
    if term is None:
        term, number, name = 0, (1 if len(head) > 1 else None), (2 if len(head) > 2 else None)
        lines.seek(0)
        body = csv.reader(lines, delimiter=delimiter) if delimiter in first else ([line.strip()] for line in lines)
    held: dict[str, tuple[str, list[str]]] = {}
    for cells in body:
        said = _cell(cells, term)
        if said:
            shown = _cell(cells, name) or said
            held.setdefault(_cell(cells, number) or shown, (shown, []))[1].append(said)
    for key, (shown, terms) in held.items():
        yield Listed(key, shown, tuple(dict.fromkeys([shown, *terms])))


def _column(head: Sequence[str], known: Sequence[str]) -> int | None:
    return next((head.index(name) for name in known if name in head), None)


def _cell(cells: Sequence[str], at: int | None) -> str:
    return cells[at].strip() if at is not None and at < len(cells) else ""
