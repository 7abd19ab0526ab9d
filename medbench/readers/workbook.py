"""Excel workbooks (.xlsx): values only, formulas are not run, codes keep their leading zeros."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, time
from itertools import islice
from typing import Any, BinaryIO, ClassVar
from xml.etree.ElementTree import ParseError

from medbench.errors import MedbenchError
from medbench.readers import Reader, Source
from medbench.readers._tables import ROLES, added_columns, column_names, fitted, is_blank, layout_of, neutral
from medbench.records import Record, Role

_HEAD_ROWS = 400
_PLAIN = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,10})?")
_ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_BROKEN = (
    zipfile.BadZipFile,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    ParseError,
    EOFError,
    OSError,
)


class Workbook(Reader):
    """Excel files; the first sheet that holds a table is read."""

    name = "workbook"
    title = "Excel"
    extensions = (".xlsx", ".xlsm")
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = ROLES

    def sniff(self, head: bytes, name: str) -> float:
        """A zip gets here only when it holds a workbook."""
        return 1.0 if head.startswith(b"PK\x03\x04") else 0.0

    def prepare(self, source: Source) -> Source:
        """Choose the sheet (unless the source names one) and find its column names.

        Raises:
            MedbenchError: There is no such sheet, or none holds a table.
        """
        with _opened(source) as book:
            titles = [source.sheet] if source.sheet else book.sheetnames
            if source.sheet and source.sheet not in book.sheetnames:
                raise MedbenchError(
                    f"one of the sheets {', '.join(book.sheetnames)}", repr(source.sheet), "Choose one of these."
                )
            for title in titles:
                found = _layout(book[title])
                if found is None:
                    continue
                skip, header, notices = found
                if skip:
                    notices = (f"What stands before the column names in row {skip + 1} was left out.", *notices)
                if len(book.sheetnames) > 1:
                    notices = (f"Only the sheet {title!r} of {len(book.sheetnames)} is read.", *notices)
                notices = (*source.notices, *notices)
                return replace(source, sheet=title, skip=skip, header=header, notices=notices)
        raise MedbenchError(
            "a sheet with column names and rows", f"none in {source.name!r}", "Look at it in Excel and save it again."
        )

    def records(self, source: Source) -> Iterator[Record]:
        """Yield one record per row, streaming; `line` is the row of the sheet. See `Reader.read`."""
        with _opened(source) as book:
            rows = _numbered(book[source.sheet])
            names = _names(rows, source)
            for number, cells in rows:
                if number <= source.skip + source.header or is_blank(cells):
                    continue
                while len(cells) > len(names) and not cells[-1].strip():
                    cells.pop()
                cells += [""] * (len(names) - len(cells))
                yield fitted(number, names, cells)

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write one sheet with the source's name and one more column per addition.

        Plain numbers are numbers, everything else is text; text beginning with = + - @, tab or carriage return gets an
        apostrophe in front. Excel cuts cells at 32,767 characters. Other sheets and all formatting are not kept.
        """
        from openpyxl import Workbook as Book

        with _opened(source) as original:
            names = _names(_numbered(original[source.sheet]), source)
        extra, rows = added_columns(rows, names)
        book = Book(write_only=True)
        sheet = book.create_sheet(source.sheet)
        columns = (*names, *extra)
        sheet.append([_value(name) for name in columns])
        for record, additions in rows:
            if record.refused is not None and record.order:
                sheet.append([_value(cell) for _, cell in record.order])
            else:
                sheet.append([_value(additions.get(name) or record.first(name)) for name in columns])
        book.save(out)


@contextmanager
def _opened(source: Source) -> Iterator[Any]:
    """Open a workbook for reading; whatever is broken in it becomes one sentence."""
    from defusedxml.common import DefusedXmlException
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    raw = source.open_bytes()
    try:
        stream = io.BytesIO(raw.read()) if source.zipped else raw
        book = load_workbook(stream, read_only=True, data_only=True, keep_links=False)
        try:
            yield book
        finally:
            book.close()
    except DefusedXmlException as error:
        raise MedbenchError(
            "a workbook without entity declarations",
            f"{source.name!r}, which declares them as an attack would",
            "Save the sheet as CSV in a spreadsheet program you trust.",
        ) from error
    except (*_BROKEN, InvalidFileException) as error:
        raise MedbenchError(
            "a whole Excel workbook",
            f"the damaged file {source.name!r} ({error})",
            "Open it in Excel and save it again, or save the sheet as CSV.",
        ) from error
    finally:
        raw.close()


def _numbered(sheet: Any) -> Iterator[tuple[int, list[str]]]:
    if not hasattr(sheet, "reset_dimensions"):  # a chart sheet
        return
    sheet.reset_dimensions()
    for number, row in enumerate(sheet.iter_rows(), 1):
        yield number, [_text(cell) for cell in row]


def _text(cell: Any) -> str:
    """Return a cell as it looks: 389 shown as 0389 stays 0389, 5.0 is 5, dates are ISO dates."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("_x000D_", "")
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        whole = int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
        shape = cell.number_format or ""
        if isinstance(whole, int) and whole >= 0 and len(shape) > 1 and set(shape) == {"0"}:
            return str(whole).zfill(len(shape))
        return str(whole)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _layout(sheet: Any) -> tuple[int, bool, tuple[str, ...]] | None:
    rows = [cells for _, cells in islice(_numbered(sheet), _HEAD_ROWS)]
    width = max((len(row) for row in rows), default=0)
    rows = [row + [""] * (width - len(row)) for row in rows]
    found = layout_of(rows)
    if found is not None:
        used = [name for name in rows[found.skip] if name.strip()]
        return found.skip, found.header, column_names(used, len(used), found.header)[1]
    known = {name for names in ROLES.values() for name in names}
    for skip, row in enumerate(rows[:-1]):
        if row and row[0].strip().lower() in known:
            return skip, True, ()
    return None


def _names(rows: Iterator[tuple[int, list[str]]], source: Source) -> tuple[str, ...]:
    """Read up to the column names. Columns to the right that have neither a name nor a cell do not count."""
    cells: Sequence[str] = next((cells for number, cells in rows if number > source.skip), [])
    width = max((number for number, cell in enumerate(cells, 1) if cell.strip()), default=0)
    return column_names(cells[:width], width, source.header)[0]


def _value(cell: str) -> str | int | float:
    if _PLAIN.fullmatch(cell):
        number = float(cell) if "." in cell else int(cell)
        if str(number) == cell:
            return number
    return neutral(_ILLEGAL.sub("", cell))


READER = Workbook()
