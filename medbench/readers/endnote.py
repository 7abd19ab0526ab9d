"""EndNote XML: `<xml><records><record>...`, as EndNote, Zotero and others export it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar
from xml.etree.ElementTree import Element

from medbench.readers import Reader, Source
from medbench.readers._tagged import labels_of, notes_of
from medbench.readers._xml import all_words, escaped, inserted, read_records, write_document
from medbench.records import Record, Role

_TAGS = ("record",)
_SILENT = frozenset({"ref_type", "record_number"})
_SIGNS = re.compile(rb"<ref-type|<source-app|<database |<electronic-resource-num|<titles>")
_PATHS = {
    "title": "./titles/title",
    "abstract": "./abstract",
    "accession_number": "./accession-num",
    "doi": "./electronic-resource-num",
    "authors": "./contributors/authors/author",
    "journal": "./titles/secondary-title",
    "year": "./dates/year",
    "keywords": "./keywords/keyword",
    "label": "./label",
    "notes": "./notes",
    "language": "./language",
    "record_number": "./rec-number",
}


class EndNoteXml(Reader):
    """EndNote XML files."""

    name = "endnote"
    title = "EndNote XML"
    extensions = (".xml", ".enl.xml")
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = {
        "title": ("title",),
        "text": ("abstract",),
        "id": ("doi", "accession_number", "record_number"),
        "labels": ("label",),
        "group": (),
        "split": (),
    }

    def sniff(self, head: bytes, name: str) -> float:
        """Look for record elements with EndNote's own elements inside."""
        return 0.95 if re.search(rb"<record[\s>]", head) and _SIGNS.search(head) else 0.0

    def records(self, source: Source) -> Iterator[Record]:
        """Yield one record per element, streaming; see `Reader.read`."""
        return read_records(source, _TAGS, _fields, _SILENT)

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write labels as keywords and other additions as notes; records that are not well-formed are left out."""
        write_document(rows, out, source, _TAGS, _extended)


def _fields(record: Element) -> dict[str, tuple[str, ...]]:
    fields: dict[str, tuple[str, ...]] = {}
    for name, path in _PATHS.items():
        if values := all_words(record.findall(path)):
            fields[name] = values
    kind = record.find("ref-type")
    if kind is not None and kind.get("name"):
        fields["ref_type"] = (kind.get("name", ""),)
    return fields


def _extended(text: str, additions: Mapping[str, str]) -> str:
    labels, notes = labels_of(additions), notes_of(additions)
    closing = text[text.rfind("</") :]
    keywords = "".join(f"<keyword>{escaped(label)}</keyword>" for label in labels)
    if keywords and "</keywords>" in text:
        text = inserted(text, keywords, ("</keywords>",))
    elif keywords:
        text = inserted(text, f"<keywords>{keywords}</keywords>", (closing,))
    lines = "&#xD;".join(escaped(note) for note in notes)
    if lines and "</notes>" in text:
        return inserted(text, f"&#xD;{lines}", ("</notes>",))
    return inserted(text, f"<notes>{lines}</notes>" if lines else "", (closing,))


READER = EndNoteXml()
