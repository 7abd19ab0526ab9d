"""EndNote's tagged export ("refer" format): `%0 Journal Article`, `%T title`, `%X abstract`, blank lines between."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar

from medbench.readers import Reader, Source
from medbench.readers._tagged import extended, newline_of, numbered, outside, record_of
from medbench.records import Record, Role

_TAG = re.compile(r"%([0-9A-Za-z@!>\[\]^&?*+~$(){}#=<|:])(?:[ \t](.*)|$)", re.DOTALL)
_SNIFF = re.compile(rb"^%([0ATXDJ]) \S", re.MULTILINE)
_LEAD = {"title": ("%T",), "abstract": ("%X",)}


class Refer(Reader):
    """EndNote tagged files."""

    name = "refer"
    title = "EndNote tagged text"
    extensions = (".enw", ".txt")
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = {
        "title": ("title", "%t"),
        "text": ("abstract", "%x"),
        "id": ("%m", "%r", "%f", "%@"),
        "labels": (),
        "group": (),
        "split": (),
    }

    def sniff(self, head: bytes, name: str) -> float:
        """Look for %0 and %T lines."""
        found = set(_SNIFF.findall(head))
        return 0.95 if {b"0", b"T"} <= found else 0.75 if b"T" in found and len(found) > 2 else 0.0

    def records(self, source: Source) -> Iterator[Record]:
        """Yield one record per %0 block, streaming; see `Reader.read`."""
        with source.open_text() as file:
            yield from _blocks(numbered(file))

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write labels as %K lines (keywords) and other additions as `%Z medbench <key>: <value>` (notes)."""
        newline = newline_of(source)
        for record, additions in rows:
            lines = [f"{tag} {value}" for tag, value in extended(record, additions, "%K", "%Z")]
            out.write("\n".join([*lines, "", ""]).replace("\n", newline).encode("utf-8"))


def _blocks(lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
    begun, tags, values, repairs = 0, list[str](), list[list[str]](), list[str]()
    loose, blank = list[str](), False
    for number, line in lines:
        match = _TAG.match(line)
        if match is None:
            blank = blank or not line.strip()
            if begun:
                values[-1].append(line)
            elif line.strip():
                loose.append(line.strip())
            continue
        tag = f"%{match[1]}"
        if begun and (tag == "%0" or (blank and tag == "%T" and "%T" in tags)):
            yield _closed(begun, tags, values, repairs)
            begun = 0
        if not begun:
            begun, tags, values = number, [], []
            repairs, loose = ([outside(" ".join(loose))] if loose else []), []
        blank = False
        tags.append(tag)
        values.append([match[2] or ""])
    if begun:
        yield _closed(begun, tags, values, repairs)


def _closed(line: int, tags: list[str], values: list[list[str]], repairs: list[str]) -> Record:
    pairs = [
        (tag, "\n".join(part.strip("\0 \t").strip() for part in parts)) for tag, parts in zip(tags, values, strict=True)
    ]
    return record_of(line, pairs, repairs, _LEAD, frozenset({"%K"}), frozenset({"%0"}))


READER = Refer()
