"""Web of Science (ISI) tagged text: `FN Clarivate ...`, `PT J`, `AU ...`, `ER`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar

from medbench.readers import Reader, Source
from medbench.readers._tagged import extended, newline_of, numbered, outside, record_of
from medbench.records import Record, Role

_TAG = re.compile(r"([A-Z][A-Z0-9])(?: (.*)|$)", re.DOTALL)
_SNIFF = re.compile(rb"^(?:PT|AU|AF|TI|SO|LA|DT|AB|PY|UT|ER)(?: |\r|\n|$)", re.MULTILINE)
_LISTS = frozenset({"AU", "AF", "BA", "BE", "BF", "CR", "C1", "SE"})  # one entry a line
_LEAD = {"title": ("TI",), "abstract": ("AB",)}


class WebOfScience(Reader):
    """Web of Science tagged files."""

    name = "wos"
    title = "Web of Science text"
    extensions = (".txt", ".ciw", ".isi")
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = {
        "title": ("title", "ti"),
        "text": ("abstract", "ab"),
        "id": ("pm", "ut", "di"),
        "labels": (),
        "group": (),
        "split": (),
    }

    def sniff(self, head: bytes, name: str) -> float:
        """Look for the FN line, else for PT, UT and ER lines together."""
        if re.match(rb"\s*FN [^\r\n]*(?:Clarivate|Thomson|ISI|Web of)", head):
            return 0.98
        found = {line.strip() for line in _SNIFF.findall(head)}
        return 0.7 if {b"PT", b"TI", b"ER"} <= found else 0.0

    def records(self, source: Source) -> Iterator[Record]:
        """Yield one record per PT ... ER block, streaming; see `Reader.read`."""
        with source.open_text() as file:
            yield from _blocks(numbered(file))

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write labels as DE lines (author keywords) and other additions as `N1 medbench <key>: <value>` lines."""
        newline = newline_of(source)
        out.write(f"FN medbench{newline}VR 1.0{newline}".encode())
        for record, additions in rows:
            lines = [f"{tag} {value}".replace("\n", "\n   ") for tag, value in extended(record, additions, "DE", "N1")]
            out.write("\n".join([*lines, "ER", "", ""]).replace("\n", newline).encode("utf-8"))
        out.write(f"EF{newline}".encode())


def _blocks(lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
    begun, tags, values, repairs = 0, list[str](), list[list[str]](), list[str]()
    loose: list[str] = []
    for number, line in lines:
        match = _TAG.match(line)
        if match is None:
            if begun and line.strip():
                values[-1].append(line)
            elif line.strip():
                loose.append(line.strip())
            continue
        tag = match[1]
        if begun and tag in ("PT", "ER", "EF"):
            if tag != "ER":
                repairs.append("no ER line at its end")
            yield _closed(begun, tags, values, repairs)
            begun = 0
        if not begun and tag not in ("FN", "VR", "ER", "EF"):
            begun, tags, values = number, [], []
            repairs, loose = ([outside(" ".join(loose))] if loose else []), []
        if begun:
            tags.append(tag)
            values.append([match[2] or ""])
    if begun:
        yield _closed(begun, tags, values, [*repairs, "no ER line: the file ends inside this record"])


def _closed(line: int, tags: list[str], values: list[list[str]], repairs: list[str]) -> Record:
    pairs = [
        (tag, ("\n" if tag in _LISTS else " ").join(part.strip("\0 \t").strip() for part in parts))
        for tag, parts in zip(tags, values, strict=True)
    ]
    return record_of(line, pairs, repairs, _LEAD, _LISTS, frozenset({"PT"}))


READER = WebOfScience()
