"""The folder of a MIMIC download: which of its files are tables, what stands in their headers, whether they are whole.

Works on the layouts that PhysioNet hands out: MIMIC-III v1.4 (all tables in one folder) and MIMIC-IV v2.2 and 3.1
(`hosp/`, `icu/`, and `note/` of MIMIC-IV-Note), plain or gzipped, and on the open demos of both.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from medbench.errors import MedbenchError

Version = Literal["iii", "iv"]
TITLES: dict[Version, str] = {"iii": "MIMIC-III", "iv": "MIMIC-IV"}
NOTES: dict[Version, str] = {"iii": "noteevents", "iv": "discharge"}
"""Version -> the table that holds the discharge notes."""

_SHARED = (
    "admissions chartevents d_icd_diagnoses d_icd_procedures d_items d_labitems datetimeevents diagnoses_icd drgcodes "
    "icustays labevents microbiologyevents outputevents patients prescriptions procedures_icd services transfers"
)
_ONLY_III = "callout caregivers cptevents d_cpt inputevents_cv inputevents_mv noteevents procedureevents_mv"
_ONLY_IV = (
    "caregiver d_hcpcs discharge discharge_detail emar emar_detail hcpcsevents ingredientevents inputevents omr "
    "pharmacy poe poe_detail procedureevents provider radiology radiology_detail"
)
KNOWN: dict[Version, frozenset[str]] = {
    "iii": frozenset(f"{_SHARED} {_ONLY_III}".split()),
    "iv": frozenset(f"{_SHARED} {_ONLY_IV}".split()),
}
"""Version -> its tables, as their files are named, in lower case."""

_FOR_CODING = "patients admissions diagnoses_icd procedures_icd d_icd_diagnoses d_icd_procedures noteevents discharge"
CODING = frozenset(_FOR_CODING.split())
"""The tables that coding notes needs; the rest is for those who want to look further."""

_NEEDED: dict[Version, dict[str, tuple[str, ...]]] = {
    "iii": {
        "patients": ("subject_id", "gender", "dob"),
        "admissions": ("subject_id", "hadm_id", "admittime"),
        "diagnoses_icd": ("subject_id", "hadm_id", "seq_num", "icd9_code"),
        "procedures_icd": ("subject_id", "hadm_id", "seq_num", "icd9_code"),
    },
    "iv": {
        "patients": ("subject_id", "gender", "anchor_age", "anchor_year"),
        "admissions": ("subject_id", "hadm_id", "admittime"),
        "diagnoses_icd": ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version"),
        "procedures_icd": ("subject_id", "hadm_id", "seq_num", "icd_code", "icd_version"),
    },
}
_NEEDED_IF_THERE: dict[str, tuple[str, ...]] = {
    "noteevents": ("subject_id", "hadm_id", "row_id", "chartdate", "category", "description", "iserror", "text"),
    "discharge": ("note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "text"),
}
_NAME = re.compile(r"([a-z][a-z0-9_]*)\.csv(\.gz)?", re.IGNORECASE)
_DEPTH = 3
_ENDS = 64 * 1024
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Table:
    """One file of the download.

    Attributes:
        name: The table's name, lower case.
        path: Where the file lies.
        columns: Its columns, lower case, in file order.
        packed: True when it is gzipped, told by content: a `.csv` that somebody packed is read as well.
    """

    name: str
    path: Path
    columns: tuple[str, ...]
    packed: bool

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return self.path.stat().st_size

    def open(self, raw: BinaryIO) -> BinaryIO:
        """Return the unpacked bytes of `raw`, the open file; gzip's checksum is verified on the way."""
        return gzip.GzipFile(fileobj=raw) if self.packed else raw  # type: ignore[return-value]


@dataclass(frozen=True)
class Download:
    """What a folder holds.

    Attributes:
        version: "iii" or "iv".
        tables: Name -> table.
        unknown: CSV files that are no table of this version, as paths from the folder.
    """

    version: Version
    tables: Mapping[str, Table]
    unknown: tuple[str, ...]

    @property
    def notes(self) -> Table | None:
        """The table with the discharge notes, or None."""
        return self.tables.get(NOTES[self.version])

    def only(self, names: frozenset[str]) -> Download:
        """Return the same download without the tables that are not in `names`."""
        kept = {name: table for name, table in self.tables.items() if name in names}
        return Download(self.version, kept, self.unknown)

    def digest(self) -> str:
        """Return a sha256 that changes when a file does.

        Of names, sizes, first and last 64 KiB of each (gzip's checksum stands at the end), not of dates, so that a
        copied download is known again.
        """
        found = hashlib.sha256(self.version.encode())
        for name, table in sorted(self.tables.items()):
            found.update(f"\x1f{name}\x1f{table.bytes}\x1f".encode())
            with table.path.open("rb") as file:
                found.update(file.read(_ENDS))
                file.seek(max(0, table.bytes - _ENDS))
                found.update(file.read(_ENDS))
        return found.hexdigest()


def look(folder: Path, version: Version, notes: Path | None = None) -> Download:
    """Find the tables of a MIMIC download and check their headers. Reads no rows.

    Args:
        folder: The folder that was downloaded, or one above it.
        version: Which MIMIC it is said to be.
        notes: A second folder, for MIMIC-IV-Note, which is downloaded apart from MIMIC-IV.

    Raises:
        MedbenchError: It is no folder, holds the other version, lacks a table or a column, or a file is damaged.
    """
    files: dict[str, list[Path]] = {}
    for place in [folder, *([notes] if notes else [])]:
        for path in _csv_files(place):
            match = _NAME.fullmatch(path.name)
            files.setdefault(match[1].lower() if match else path.name.lower(), []).append(path)
    unknown = sorted(str(path.name) for name, paths in files.items() if name not in KNOWN[version] for path in paths)
    _check_version(files, folder, version)
    tables = {name: _table(name, paths) for name, paths in sorted(files.items()) if name in KNOWN[version]}
    for name, columns in {**_NEEDED_IF_THERE, **_NEEDED[version]}.items():
        if name in tables:
            _check_columns(tables[name], columns, version)
    return Download(version, tables, tuple(unknown))


def _csv_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing there"
        raise MedbenchError("the folder of a MIMIC download", f"{found}: {str(folder)!r}", "Name the folder itself.")
    patterns = ["/".join(["*"] * depth) for depth in range(1, _DEPTH + 1)]
    found_paths = [path for pattern in patterns for path in folder.glob(f"{pattern}.csv*")]
    return sorted(path for path in found_paths if _NAME.fullmatch(path.name) and path.is_file())


def _check_version(files: Mapping[str, Sequence[Path]], folder: Path, version: Version) -> None:
    """Refuse the other version and folders that are no MIMIC, before anything is said of single tables."""
    other: Version = "iv" if version == "iii" else "iii"
    missing = sorted(set(_NEEDED[version]) - files.keys())
    if len(missing) == len(_NEEDED[version]):
        found = f"none of the files {', '.join(f'{name}.csv' for name in missing)} in {str(folder)!r}"
        raise MedbenchError(f"the folder of a {TITLES[version]} download", found, "Name the folder that holds them.")
    if missing:
        found = f"no file for {' and '.join(missing)} in {str(folder)!r}"
        todo = f"Download {', '.join(f'{name}.csv.gz' for name in missing)} into that folder."
        raise MedbenchError(f"all tables of {TITLES[version]} that coding needs", found, todo)
    columns = _header(files["diagnoses_icd"][0])[1]
    here, there = (set(_NEEDED[one]["diagnoses_icd"]) <= set(columns) for one in (version, other))
    if there and not here:
        found = f"the columns of {TITLES[other]} in {files['diagnoses_icd'][0].name}"
        raise MedbenchError(f"a {TITLES[version]} download", found, f"Choose {TITLES[other]}, the version {other}.")


def _table(name: str, paths: Sequence[Path]) -> Table:
    """Take one file for a table; where a packed and an unpacked one lie side by side, the unpacked one."""
    path = min(paths, key=lambda one: (one.name.lower().endswith(".gz"), str(one)))
    packed, columns = _header(path)
    return Table(name, path, columns, packed)


def _header(path: Path) -> tuple[bool, tuple[str, ...]]:
    """Return whether a file is packed, and its columns: MIMIC-III v1.4 writes them in upper case, the demos do not."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            head = (gzip.GzipFile(fileobj=raw) if packed else raw).read(_ENDS)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, error) from error
    if b"\0" in head:
        raise damaged(path, "bytes that are no text")
    text = head.decode("utf-8-sig", "replace")
    row = next(csv.reader(io.StringIO(text)), [])
    columns = tuple(cell.strip().lower() for cell in row)
    if not any(columns):
        raise MedbenchError(f"a CSV table in {path.name}", "an empty file", "Download this file again.")
    if len(set(columns)) < len(columns):
        raise MedbenchError(
            f"different column names in {path.name}", f"{', '.join(columns)[:120]!r}", "Download again."
        )
    return packed, columns


def _check_columns(table: Table, needed: Sequence[str], version: Version) -> None:
    missing = [name for name in needed if name not in table.columns]
    if missing:
        found = f"no column {' and '.join(missing)}; its columns are {', '.join(table.columns)[:200]}"
        raise MedbenchError(
            f"the columns of {TITLES[version]} in {table.path.name}", found, "Download this file again."
        )


def damaged(path: Path, cause: object) -> MedbenchError:
    """Return the error for a file whose bytes are not what was packed."""
    found = f"a damaged or cut file ({' '.join(str(cause).split())[:120]})"
    return MedbenchError(f"a whole file {path.name}", found, "Download this file again and compare its checksum.")
