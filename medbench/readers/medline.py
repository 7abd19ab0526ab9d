"""MEDLINE display format: PubMed's `.nbib` and "PubMed" text exports. A tolerant, streaming reader of our own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar

from medbench.readers import Reader, Source
from medbench.readers._tagged import Pair, extended, newline_of, numbered, outside, record_of
from medbench.records import Record, Role

# A tag fills four columns, then a hyphen and a space; a value goes on in lines that begin with white space.
_TAG = re.compile(r"([A-Z][A-Z0-9]{1,3}) {0,2}(?<=^.{4})(?:(?<= )-|-(?= |$)) ?(.*)|(PMID|PMC)\s*-\s*(\w.*)", re.DOTALL)
_SNIFF_ID = re.compile(rb"^\s{0,3}(?:PMID|PMC ) ?- ?\w", re.MULTILINE)
_SNIFF_TAGS = re.compile(rb"^(?:OWN |STAT|FAU |DP  |TI  |AB  |MH  |JT  |TA  |SO  |PHST|IS  |PT  )-", re.MULTILINE)
# Tags that stand once in a record: meeting one again behind a blank line means that a new record has begun.
_ONCE = frozenset({"PMID", "OWN", "STAT", "TI", "DP", "TA", "JT", "SO"})
_LEAD = {"title": ("TI", "BTI", "CTI", "TT"), "abstract": ("AB",)}
_WIDTH = 88
_INDENT = "      "


class Medline(Reader):
    """MEDLINE files: `PMID- 123`, `TI  - ...`, blank lines between records."""

    name = "medline"
    title = "PubMed (MEDLINE)"
    extensions = (".nbib", ".txt")
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = {
        "title": ("title", "ti", "bti", "tt"),
        "text": ("abstract", "ab"),
        "id": ("pmid", "pmc", "lid", "aid"),
        "labels": (),
        "group": (),
        "split": (),
    }

    def sniff(self, head: bytes, name: str) -> float:
        """Look for a PMID line together with other MEDLINE tags."""
        tags = len(_SNIFF_TAGS.findall(head))
        if _SNIFF_ID.search(head):
            return 0.97 if tags else 0.7
        return 0.65 if tags > 4 and b"TY  -" not in head else 0.0

    def records(self, source: Source) -> Iterator[Record]:
        """Yield one record per PMID, streaming; see `Reader.read`."""
        with source.open_text() as file:
            yield from _blocks(numbered(file))

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write labels as OT lines owned by medbench and other additions as `GN  - medbench <key>: <value>`."""
        newline = newline_of(source)
        for record, additions in rows:
            pairs = extended(_without_labels(record, additions), additions, "OT", "GN", (("OTO", "medbench"),))
            block = "\n".join([*(f"{tag:<4}- {_wrapped(value)}" for tag, value in pairs), "", ""])
            out.write((block if newline == "\n" else block.replace("\n", newline)).encode("utf-8"))


def _without_labels(record: Record, additions: Mapping[str, str]) -> Record:
    """Drop the OT lines of an earlier export of ours (those behind `OTO - medbench`) when new labels come."""
    if record.refused is not None or "medbench_labels" not in additions or ("OTO", "medbench") not in record.order:
        return record
    kept: list[Pair] = []
    ours = False
    for tag, value in record.order:
        if tag == "OTO":
            ours = value == "medbench"
        if not (ours and tag in ("OTO", "OT")):
            kept.append((tag, value))
    theirs = tuple(value for tag, value in kept if tag == "OT")
    return Record(record.line, {**record.fields, "OT": theirs}, record.repairs, None, tuple(kept))


def _wrapped(value: str) -> str:
    """Break a value into indented lines at single spaces, so that joining them with one space gives it back."""
    lines: list[str] = []
    while len(value) > _WIDTH:
        cut = value.rfind(" ", 1, _WIDTH + 1)
        while cut > 0 and (value[cut - 1].isspace() or value[cut + 1 : cut + 2].isspace()):
            cut = value.rfind(" ", 1, cut)
        if cut <= 0:
            cut = next((m.start() + 1 for m in re.finditer(r"\S (?=\S)", value[_WIDTH:])), 0) + _WIDTH
            if cut == _WIDTH:
                break
        lines.append(value[:cut])
        value = value[cut + 1 :]
    return f"\n{_INDENT}".join([*lines, value])


def _blocks(lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
    """Cut the lines into records: at a second PMID, or at a tag that stands once and comes again after a blank line."""
    begun, tags, values = 0, list[str](), list[list[str]]()
    repairs, loose, blank = list[str](), list[str](), False
    for number, line in lines:
        if not line.strip("\ufeff\0 \t\f\v"):
            blank = True
            continue
        match = _TAG.match(line.lstrip("\ufeff"))
        if match is None:
            if begun and (not blank or line[0].isspace()):
                values[-1].append(line)
            else:
                loose.append(line.strip())
            continue
        tag, value = (match[1], match[2]) if match[1] else (match[3], match[4])
        if begun and _begins(tag, tags, blank):
            yield _closed(begun, tags, values, repairs)
            begun = 0
        if not begun:
            begun, tags, values, repairs = number, [], [], []
        if loose:
            repairs.append(outside(" ".join(loose)))
            loose = []
        tags.append(tag)
        values.append([value])
        blank = False
    if begun:
        if loose:
            repairs.append(outside(" ".join(loose)))
        yield _closed(begun, tags, values, repairs)


def _begins(tag: str, tags: list[str], blank: bool) -> bool:
    """Return True when this tag begins the next record."""
    if tag == "PMID":
        return "PMID" in tags or (blank and tags != ["PMC"])
    if tag == "PMC":
        return blank
    return blank and tag in _ONCE and tag in tags


def _closed(line: int, tags: list[str], values: list[list[str]], repairs: list[str]) -> Record:
    pairs = [
        (tag, parts[0] if len(parts) == 1 else " ".join(part for raw in parts if (part := raw.strip("\0 \t").strip())))
        for tag, parts in zip(tags, values, strict=True)
    ]
    if "PMID" not in tags and "PMC" not in tags:
        repairs = [*repairs, "no PMID line"]
    return record_of(line, pairs, repairs, _LEAD, silent=frozenset({"OWN", "STAT", "PMID", "PMC"}))


READER = Medline()
