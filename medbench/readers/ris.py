"""RIS, as Zotero, EndNote, Embase, Scopus, Ovid, Cochrane and others write it.

A reader of our own, not rispy (which the tests hold it against): it must stream, know its line numbers, keep unknown
and repeated tags in their order, and live with missing ER lines, missing spaces and text between records.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar

from medbench.readers import Reader, Source
from medbench.readers._tagged import Pair, extended, newline_of, numbered, outside, record_of
from medbench.records import Record, Role

# Two characters, two spaces, a hyphen, a space. Real files have tabs, a missing space behind the hyphen or one space
# before it; the last only for tags that exist, or "UK - based" in an abstract would pass for one.
_KNOWN = (
    "A[1-4DUBNV]|B[LTP]|C[1-8APTRNY]|D[ABOIPS]|E[DPTR]|H[12]|I[DSP]|J[1F2OA]|K[W]|L[1-4ABCDKM]|M[1-3D]|N[12VLO]|"
    "O[PA]|P[BDMPTUYZ]|R[DIKNPT]|S[EFLNOPRTU]|T[1-6AITYS]|U[1-5RT]|V[LO1-3]|W[PTV]|Y[12]|Z[ZB]|A[ISH]"
)
_TAG = re.compile(rf"\s*(?:([A-Z][A-Z0-9])(?:[ \t]{{2}}-|\t-(?=[ \t]|$))|({_KNOWN})[ \t]-(?=[ \t]|$))(.*)", re.DOTALL)
_LOWER = re.compile(r"\s*([A-Za-z][A-Za-z0-9])  -(?=[ \t]|$)(.*)", re.DOTALL)
_START = re.compile(r"\s*(?:TY|ty|Ty)(?:[ \t]+-|-(?=[ \t]*[A-Z]{2,6}\s*$))\s*(.*)", re.DOTALL)
_COMPACT = re.compile(r"\s*([A-Z][A-Z0-9])[ \t]*-(.*)", re.DOTALL)
_SNIFF = re.compile(rb"^\xef?\xbb?\xbf?\s{0,3}[Tt][Yy]\s*-(?:[ \t]|[A-Z]|\r|\n|$)", re.MULTILINE)
_SNIFF_ANY = re.compile(rb"^\s{0,3}(?:A[1-4BDU]|T[1-3I]|N[12]|JO|JF|PY|Y1|KW|ER|SN|DO|UR)  -", re.MULTILINE)
# What databases put between records; not worth a word to the user.
_ROUTINE = re.compile(r"\d+\s*\.?|Record #\d+ of \d+|(?:Provider|Content|Database|Link to [^:]{0,40}|Search)\s*:.*")
_LEAD = {"title": ("TI", "T1", "CT", "BT"), "abstract": ("AB", "N2")}
_MAIN = frozenset({"TI", "T1", "AU", "A1", "AB", "N2", "ID", "PY", "Y1"})
_LISTS = frozenset({"KW"})
_SILENT = frozenset({"TY"})


class Ris(Reader):
    """RIS files: `TY  - JOUR` ... `ER  -`."""

    name = "ris"
    title = "RIS"
    extensions = (".ris", ".txt")
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = {
        "title": ("title", "ti", "t1"),
        "text": ("abstract", "ab", "n2"),
        "id": ("pmid", "do", "an", "id", "ut", "u2", "l2"),
        "labels": ("labels",),
        "group": (),
        "split": (),
    }

    def sniff(self, head: bytes, name: str) -> float:
        """Look for TY lines; without one, for several lines with known tags."""
        if _SNIFF.search(head):
            return 0.95
        return 0.6 if len(_SNIFF_ANY.findall(head)) > 2 else 0.0

    def records(self, source: Source) -> Iterator[Record]:
        """Yield one record per TY block, streaming; see `Reader.read`."""
        with source.open_text() as file:
            yield from _blocks(numbered(file))

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write labels as KW lines and every other addition as a line `N1  - medbench <key>: <value>`."""
        newline = newline_of(source)
        for record, additions in rows:
            lines = [f"{tag}  - {value}" for tag, value in extended(record, additions, "KW", "N1")]
            block = "\n".join([*lines, "ER  - ", "", ""])
            out.write((block if newline == "\n" else block.replace("\n", newline)).encode("utf-8"))


def _blocks(lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
    """Cut the lines into records. A record is open from its TY (or first tag) to its ER or the next TY."""
    block = _Block()
    for number, line in lines:
        if (start := _START.match(line)) is not None:
            if block.begun:
                if not block.ended:
                    block.repairs.append(f"no ER line: the next record begins at line {number}")
                yield block.close()
            block.open(number, start[1])
            block.compact = not re.match(r"\s{0,3}\w\w[ \t]", line)
            continue
        tagged = block.tag(line)
        if block.ended and (tagged is None or block.has_begun_again(tagged[0])):
            yield block.close()
        if tagged is None:
            block.loose(line)
        elif tagged[0] == "ER":
            block.ended = block.begun
        else:
            if block.ended:
                block.repairs.append("tags behind the ER line were kept")
            elif not block.begun:
                block.open(number, None)
                block.repairs.append("no TY line at the beginning")
            block.add(*tagged)
    if block.begun:
        if not block.ended:
            block.repairs.append("no ER line: the file ends inside this record")
        yield block.close()


class _Block:
    """The record that is being read. It has ended at its ER line, but Ovid puts tags of the same record behind that."""

    def __init__(self) -> None:
        self.begun = False
        self.ended = False
        self.compact = False
        self.repairs: list[str] = []
        self._line = 0
        self._tags: list[str] = []
        self._values: list[list[str]] = []
        self._outside: list[str] = []

    def open(self, line: int, kind: str | None) -> None:
        """Begin a record at a line; `kind` is the value of its TY line, if it has one."""
        self.begun, self._line = True, line
        self.repairs = [outside(" ".join(self._outside))] if self._outside else []
        self._outside = []
        self._tags, self._values = (["TY"], [[kind]]) if kind is not None else ([], [])

    def tag(self, line: str) -> Pair | None:
        """Return the tag and value of a line, or None when it has no tag."""
        match = _TAG.match(line) or (_COMPACT.match(line) if self.compact else None)
        if match is None:
            match = _LOWER.match(line)
            if match is not None and self.begun:
                self.repairs.append("lower-case tags were read as upper-case")
        if match is None:
            return None
        return next(part for part in match.groups() if part).upper(), match[match.re.groups]

    def has_begun_again(self, tag: str) -> bool:
        """Return True when a tag behind the ER line can only be the next record's, whose TY line is missing."""
        return tag in _MAIN and tag in self._tags

    def add(self, tag: str, value: str) -> None:
        """Add a tagged line."""
        self._tags.append(tag)
        self._values.append([value])

    def loose(self, line: str) -> None:
        """Take a line without a tag: more of the last value, or text outside the records."""
        if self.begun:
            self._values[-1].append(line)
        elif (text := line.strip("\ufeff \t\f\v\0")) and not _ROUTINE.fullmatch(text):
            self._outside.append(text)

    def close(self) -> Record:
        """End the record and return it."""
        self.begun = self.ended = self.compact = False
        pairs: list[Pair] = [
            (tag, value[0] if len(value) == 1 else "\n".join(part.strip("\0 \t").strip() for part in value))
            for tag, value in zip(self._tags, self._values, strict=True)
        ]
        return record_of(self._line, pairs, self.repairs, _LEAD, _LISTS, _SILENT)


READER = Ris()
