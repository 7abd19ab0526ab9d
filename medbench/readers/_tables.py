"""What tables of every kind share: where the column names are, how rows fit them, which cells would run as formulas."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from medbench.records import Record, Role

ROLES: Mapping[Role, tuple[str, ...]] = {
    "title": (
        "title", "article title", "article_title", "articletitle", "document title", "title primary", "ti",
        "display_name", "titre", "titel", "titulo", "título",
    ),
    "text": (
        "abstract", "text", "abstract note", "abstract_note", "abstracttext", "abstract_text", "ab", "description",
        "transcription", "note_text", "body", "content", "full_text", "fulltext", "document", "sentence",
        "medical_abstract", "report", "findings", "summary", "zusammenfassung", "résumé", "resumen",
    ),
    "labels": (
        "labels", "label", "class", "classes", "category", "categories", "label_names", "specialty", "specialties",
        "medical_specialty", "domain", "domains", "group", "target", "condition_label", "condition", "topic", "topics",
        "codes", "icd_codes", "dx", "included", "label_included", "final_included",
    ),
    "id": (
        "pmid", "pubmed id", "pubmed_id", "doi", "id", "record_id", "item_id", "note_id", "accession number", "pmcid",
        "ut", "eid", "lens id", "key", "central id", "covidence #", "uid",
    ),
    "group": (
        "patient_id", "subject_id", "patient", "patientid", "hadm_id", "case_id", "text_id", "group_id", "article",
        "article_id", "document_id", "doc_id", "lesion_id",
    ),
    "split": ("split", "fold", "subset", "set", "partition"),
}  # fmt: skip
_NAMES = frozenset(name for names in ROLES.values() for name in names) | {
    "authors", "author", "year", "journal", "keywords", "url", "volume", "issue", "pages", "source",
}  # fmt: skip
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d+)*|\.\d+)(?:[eE][-+]?\d+)?%?")
_GUARDED = re.compile(r'="((?:[^"]|"")*)"')
_RUNS = ("=", "+", "-", "@", "\t", "\r")
_LOOK_AHEAD = 60
_PREAMBLE = 20  # rows among which the column names must be


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a table's column names are.

    Attributes:
        skip: How many rows stand before them.
        header: False when there are none.
        width: Number of columns.
        regular: Share of the rows looked at that have this many cells, 0-1.
    """

    skip: int
    header: bool
    width: int
    regular: float


def layout_of(rows: Sequence[Sequence[str]]) -> Layout | None:
    """Find the column names among the first rows; None when the rows make no table of two columns or more."""
    widths = [_reach(row) for row in rows]
    filled = [width for width in widths if width]
    if len(filled) < 1 or max(filled) < 2:
        return None
    columns = Counter(len(row) for row, width in zip(rows, widths, strict=True) if width > 1)
    width = max(columns, key=lambda cells: (columns[cells], cells))
    top = max(reach for row, reach in zip(rows, widths, strict=True) if len(row) == width)
    skip = next(
        (
            number
            for number, (row, reach) in enumerate(zip(rows[:_PREAMBLE], widths[:_PREAMBLE], strict=True))
            if len(row) == width and reach >= 0.6 * top and sum(map(bool, map(str.strip, row))) >= 0.5 * reach
        ),
        None,
    )
    if skip is None:
        return None
    body = [(row, reach) for row, reach in zip(rows[skip:], widths[skip:], strict=True) if reach]
    regular = sum(len(row) == width for row, _ in body) / len(body)
    header = is_header(rows[skip], [row for row in rows[skip + 1 : skip + _LOOK_AHEAD] if len(row) == width])
    return Layout(skip, header, width, regular)


def _reach(row: Sequence[str]) -> int:
    return max((number for number, cell in enumerate(row, 1) if cell.strip()), default=0)


def is_header(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Tell column names from data: known names win; long, numeric or repeated-below cells speak against."""
    cells = [cell.strip() for cell in first]
    if any(cell.lower() in _NAMES for cell in cells):
        return True
    if any(len(cell) > 120 for cell in cells):
        return False
    numeric = [number for number, cell in enumerate(cells) if _NUMBER.fullmatch(cell)]
    if numeric and [cells[number] for number in numeric] != [str(value) for value in range(len(numeric))]:
        return any(
            len(row) > n and row[n].strip() and not _NUMBER.fullmatch(row[n].strip()) for row in below for n in numeric
        )
    return not any(cell and cell == row[number].strip() for row in below for number, cell in enumerate(cells))


def column_names(cells: Iterable[str], width: int, header: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return unique column names and notices on what was done to make them so."""
    if not header:
        names = tuple(f"column_{number}" for number in range(1, width + 1))
        return names, (f"The first row holds data, so the columns are called {names[0]} to {names[-1]}.",)
    result: list[str] = []
    notices: list[str] = []
    taken: set[str] = set()
    for number, cell in enumerate(cells, 1):
        plain = " ".join(cell.replace("\0", "").split()) or f"column_{number}"
        name, again = plain, 2
        while name in taken:
            name, again = f"{plain}_{again}", again + 1
        if name != plain:
            notices.append(f"A second column called {plain!r} is now {name!r}.")
        taken.add(name)
        result.append(name)
    return tuple(result), tuple(notices)


def fitted(line: int, names: tuple[str, ...], cells: Sequence[str], repairs: tuple[str, ...] = ()) -> Record:
    """Make a record of a row: missing cells are blank, surplus blank cells go, surplus text refuses the row.

    A refused row keeps its cells in `order`, so that it can be written back.
    """
    width = len(names)
    if len(cells) != width:
        if len(cells) == 1 and width > 2:
            return refused(line, cells, f"a line of text where {width} cells are expected", repairs)
        if len(cells) < width:
            repairs = (*repairs, f"{width - len(cells)} cells missing, left blank")
            cells = [*cells, *[""] * (width - len(cells))]
        elif not any(cell.strip() for cell in cells[width:]):
            repairs = (*repairs, f"{len(cells) - width} surplus blank cells left out")
            cells = cells[:width]
        else:
            return refused(line, cells, f"the row has {len(cells)} cells, but there are {width} columns", repairs)
    return Record(line, dict(zip(names, zip(cells), strict=True)), repairs)


def refused(line: int, cells: Iterable[str], reason: str, repairs: tuple[str, ...] = ()) -> Record:
    """Make a refused record that keeps its cells."""
    return Record(line, {}, repairs, reason, tuple(("", cell) for cell in cells))


def unguarded(cell: str) -> str:
    """Return the text of a cell written as ="..." to keep a spreadsheet from changing it."""
    match = _GUARDED.fullmatch(cell)
    return match[1].replace('""', '"') if match is not None else cell


def neutral(cell: str) -> str:
    """Return a cell that no spreadsheet runs: an apostrophe goes before = + - @ tab CR, unless it is a number."""
    if cell.startswith(_RUNS) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def added_columns(
    rows: Iterable[tuple[Record, Mapping[str, str]]], names: tuple[str, ...]
) -> tuple[tuple[str, ...], Iterator[tuple[Record, Mapping[str, str]]]]:
    """Return the columns to add (the keys of the first additions that come) and the rows, none of them lost."""
    rest = iter(rows)
    held: list[tuple[Record, Mapping[str, str]]] = []
    for row in rest:
        held.append(row)
        if row[1] or row[0].refused is None:
            break
    extra = tuple(name for name in (held[-1][1] if held else ()) if name not in names)
    return extra, chain(held, rest)


def is_blank(cells: Iterable[str]) -> bool:
    """Return True when no cell holds anything but white space."""
    return not any(cell and not cell.isspace() for cell in cells)
