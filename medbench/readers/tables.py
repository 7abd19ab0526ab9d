"""Delimited tables: CSV, TSV, semicolon- and bar-separated."""

from __future__ import annotations

import codecs
import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, ClassVar

from medbench.readers import Reader, Source
from medbench.readers._tables import (
    ROLES,
    Layout,
    added_columns,
    column_names,
    fitted,
    is_blank,
    layout_of,
    neutral,
    refused,
    unguarded,
)
from medbench.readers._tagged import NULS, UNDECODED, newline_of
from medbench.records import Record, Role

_DELIMITERS = (",", ";", "\t", "|")
_HEAD = 1 << 19
_ROWS = 400
_ROW_LINES = 5_000  # a "row" of more physical lines has a stray quotation mark
_MARKDOWN = re.compile(r"^\|?[ \t]*:?-{3,}:?[ \t]*\|", re.MULTILINE)
_TORN = "the file breaks off inside this row"
_STRAY = "stray quotation marks were taken as text"


class Tables(Reader):
    """Delimited text with a row of column names."""

    name = "tables"
    title = "CSV or TSV"
    extensions = (".csv", ".tsv", ".tab", ".txt")
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = ROLES

    def sniff(self, head: bytes, name: str) -> float:
        """Cut the first rows at each delimiter and see whether they have the same number of cells."""
        text = head.decode("utf-8", "replace")
        found = _best(text, len(head) >= _HEAD)
        if found is not None:
            _, layout, rows = found
            known = 0.15 if layout.header and _known(rows[layout.skip]) else 0.0
            few = 0.25 if len(rows) - layout.skip < 3 else 0.0
            sure = 0.35 * layout.regular + known + 0.05 * min(layout.width, 5)
            return max(0.0, sure - few) if layout.regular >= 0.5 or known else 0.0
        return 0.3 if _one_column(text, name) else 0.0

    def prepare(self, source: Source) -> Source:
        """Settle delimiter, rows before the column names, and whether there are column names."""
        head = source.head(_HEAD)
        text = head.decode(source.encoding, "replace")
        found = _best(text, len(head) >= _HEAD)
        if found is None:
            return replace(source, delimiter=",")
        delimiter, layout, rows = found
        lines = _lines_before(text, delimiter, layout.skip)
        notices = source.notices
        if lines:
            notices += (f"What stands before the column names in line {lines + 1} was left out.",)
        notices += column_names(rows[layout.skip], layout.width, layout.header)[1]
        return replace(source, delimiter=delimiter, skip=lines, header=layout.header, notices=notices)

    def records(self, source: Source) -> Iterator[Record]:
        """Yield one record per row, streaming; see `Reader.read`."""
        csv.field_size_limit(sys.maxsize)
        with source.open_text() as file:
            yield from _Rows(file, source).records()

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write the table with the source's delimiter and one more column per addition, in UTF-8.

        The byte order mark is kept if there was one. Cells beginning with = + - @, tab or carriage return get an
        apostrophe in front, unless they are plain numbers, so that no spreadsheet runs them. The first row that has
        additions says which columns are added.
        """
        names = _names_of(source)
        newline = newline_of(source)
        # The writer always ends rows with CR LF, because it puts quotes only around line ends that it uses itself.
        line = io.StringIO(newline="")
        writer = csv.writer(line, delimiter=source.delimiter or ",", lineterminator="\r\n")

        def put(cells: Iterable[str]) -> None:
            writer.writerow([neutral(cell) for cell in cells])
            out.write((line.getvalue()[:-2] + newline).encode("utf-8", "replace"))
            line.seek(0)
            line.truncate()

        extra, rows = added_columns(rows, names)
        columns = (*names, *extra)
        out.write(codecs.BOM_UTF8 if source.bom else b"")
        put(columns)
        for record, additions in rows:
            if record.refused is not None and record.order:
                put(cell for _, cell in record.order)
            else:
                put(additions.get(name) or record.first(name) for name in columns)


def _best(text: str, cut: bool) -> tuple[str, Layout, list[list[str]]] | None:
    """Return the delimiter under which the first rows look most like a table, their layout and the rows."""
    best: tuple[float, str, Layout, list[list[str]]] | None = None
    for delimiter in _DELIMITERS:
        if delimiter not in text or (delimiter == "|" and _MARKDOWN.search(text)):
            continue
        rows = _cells(text, delimiter, cut)
        layout = layout_of(rows) if rows else None
        if layout is None:
            continue
        names = rows[layout.skip]
        sentences = sum(len(name) > 60 for name in names) / len(names) if layout.header else 0.0
        score = layout.regular + 0.03 * min(layout.width, 20) + 0.5 * _known(names) - sentences
        if best is None or score > best[0]:
            best = (score, delimiter, layout, rows)
    return best[1:] if best is not None else None


def _known(names: Sequence[str]) -> bool:
    return any(name.strip().lower() in known for name in names for known in ROLES.values())


def _cells(text: str, delimiter: str, cut: bool) -> list[list[str]]:
    csv.field_size_limit(sys.maxsize)
    lines = io.StringIO(text.replace("\0", ""), newline="")
    rows = [row for row, _ in zip(csv.reader(lines, delimiter=delimiter), range(_ROWS + 1), strict=False)]
    # The last row may have been cut by the end of the sample.
    return rows[:-1] if len(rows) > _ROWS or (cut and len(rows) > 1) else rows


def _lines_before(text: str, delimiter: str, rows: int) -> int:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for _ in range(rows):
        next(reader)
    return reader.line_num


def _one_column(text: str, name: str) -> bool:
    first = text.lstrip("\ufeff").split("\n", 1)[0].strip().strip('"').lower()
    return Path(name.lower().removesuffix(".gz")).suffix in (".csv", ".tsv", ".tab") and any(
        first in known for known in ROLES.values()
    )


def _names_of(source: Source) -> tuple[str, ...]:
    with source.open_text() as file:
        return _Rows(file, source).names


class _Rows:
    """The rows of one file, with the physical line at which each begins."""

    def __init__(self, file: Iterable[str], source: Source) -> None:
        self._delimiter = source.delimiter or ","
        self._lines = iter(file)
        self._again: list[str] = []  # lines to be read once more, last first
        self._row: list[str] = []  # physical lines of the row being read
        self._line = 0
        self._ended = False
        for _ in range(source.skip):
            next(self._lines, None)
            self._line += 1
        self._reader = self._fresh()
        self._mending = False
        self.names: tuple[str, ...] = ()
        first = self._next()
        cells = first[1] if first is not None else []
        self.names, _ = column_names(cells, len(cells), source.header)
        self._held = first if not source.header else None

    def _fresh(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self._delimiter, strict=True)

    def _feed(self) -> Iterator[str]:
        while len(self._row) < _ROW_LINES:
            line = self._again.pop() if self._again else next(self._lines, "")
            if not line:
                self._ended = True
                return
            self._line += 1
            self._row.append(line)
            yield line.replace("\0", "") if "\0" in line else line

    def records(self) -> Iterator[Record]:
        """Yield a record per row that holds anything."""
        while True:
            row, self._held = (self._held, None) if self._held is not None else (self._next(), None)
            if row is None:
                return
            line, cells, repairs, reason = row
            if reason is not None:
                yield refused(line, cells, reason)
            elif not is_blank(cells):
                yield self._record(line, cells, repairs)

    def _record(self, line: int, cells: list[str], repairs: tuple[str, ...]) -> Record:
        if any('="' in cell for cell in cells):
            cells = [unguarded(cell) for cell in cells]
        if self._mending and len(cells) < len(self.names):
            return refused(line, cells, "a piece of a row that a stray quotation mark tore apart")
        if len(cells) == len(self.names):
            self._mending = False
        if any("\0" in part for part in self._row):
            repairs = (*repairs, NULS)
        if any("\ufffd" in part for part in self._row):
            repairs = (*repairs, UNDECODED)
        return fitted(line, self.names, cells, repairs)

    def _next(self) -> tuple[int, list[str], tuple[str, ...], str | None] | None:
        """Return line, cells, repairs and reason of refusal of the next row; None at the end."""
        self._row = []
        try:
            cells = next(self._reader, None)
        except csv.Error:
            return self._mended()
        if cells is None:
            return None
        return self._line - len(self._row) + 1, cells, (), None

    def _mended(self) -> tuple[int, list[str], tuple[str, ...], str | None]:
        """Read a row whose quotation marks do not match; give back the lines that it wrongly swallowed."""
        taken, self._reader = self._row, self._fresh()
        line = self._line - len(taken) + 1
        width = len(self.names)
        loose = list(csv.reader(taken, delimiter=self._delimiter))
        if len(loose) == 1 and not any(self._whole(part, width) for part in taken[1:]):
            if self._ended and len(taken) > 1:
                return line, loose[0], (_TORN,), None
            if len(loose[0]) == width:
                return line, loose[0], (_TORN if self._ended else _STRAY,), None
        self._again.extend(reversed(taken[1:]))
        self._line -= len(taken) - 1
        self._row, self._ended = taken[:1], False
        self._mending = len(taken) > 1
        plain = next(csv.reader(taken[:1], delimiter=self._delimiter, quoting=csv.QUOTE_NONE), [])
        if len(plain) == width:
            return line, plain, (_STRAY,), None
        return line, plain, (), "the quotation marks of this row do not match"

    def _whole(self, line: str, width: int) -> bool:
        try:
            return len(next(csv.reader([line], delimiter=self._delimiter, strict=True), [])) == width > 1
        except csv.Error:
            return False


READER = Tables()
