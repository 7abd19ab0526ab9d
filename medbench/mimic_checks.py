"""What can be wrong with a MIMIC download beyond its headers: codes that lost their zeros, and DuckDB's troubles."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from medbench.errors import MedbenchError
from medbench.mimic_files import Table, Version, damaged
from medbench.mimic_schema import CLEAN_CODE, CODE_COLUMN, ICD_VERSION, rows_of

if TYPE_CHECKING:
    import duckdb

CODE_TABLES = ("d_icd_diagnoses", "d_icd_procedures", "diagnoses_icd", "procedures_icd")
_ENOUGH_CODES = 1_000
_ENOUGH_ROWS = 300
_ENOUGH_MISSED = 3
_AGAIN = "Take the original files: a spreadsheet or data frame has read the codes as numbers (read them as text)."


def used(table: Table, pipe: str, version: Version) -> str:
    """Return the statement that counts the ICD-9 codes of a file into `used_<table>` (code, n)."""
    code = CLEAN_CODE.format(code=CODE_COLUMN[version])
    return f"""CREATE TEMP TABLE used_{table.name} AS SELECT {code} AS code, count(*) AS n
        FROM {rows_of(table, pipe)} WHERE {ICD_VERSION[version]} = '9' AND {CODE_COLUMN[version]} <> '' GROUP BY 1"""


def check_zeros(con: duckdb.DuckDBPyConnection, tables: Collection[str]) -> None:
    """Refuse codes that a tool has read as numbers: "0389" became "389", another disease, or "389.0".

    ICD-9 codes of digits have at least three, no dot in MIMIC, and one in twenty begins with a zero. So codes were
    numbers once if some are shorter, if some have a dot, if none of many begins with a zero, or if none begins with one
    and several are in no dictionary but would be with zeros before them.

    Raises:
        MedbenchError: They did.
    """
    for table in CODE_TABLES:
        if table not in tables:
            continue
        n, rows, zeros, short, dotted = _facts(con, table)
        enough = n >= _ENOUGH_CODES if table.startswith("d_") else rows >= _ENOUGH_ROWS
        dictionary = f"d_icd_{table.removesuffix('_icd')}"
        missed = _missed(con, table, dictionary) if not table.startswith("d_") and dictionary in tables else []
        cause = ""
        if dotted:
            cause = f"{dotted!r}"
        elif short:
            cause = f"{short!r}, too short for a code"
        elif enough and not zeros:
            cause = f"{rows:,} codes and not one that begins with 0"
        elif not zeros and len(missed) >= _ENOUGH_MISSED:
            cause = f"codes that exist only with zeros before them ({', '.join(missed[:3])})"
        if cause:
            raise MedbenchError(f"ICD-9 codes as MIMIC writes them, zeros first, in {table}", cause, _AGAIN)


def _facts(con: duckdb.DuckDBPyConnection, table: str) -> tuple[int, int, int, str | None, str | None]:
    row = con.execute(
        f"""SELECT count(*), coalesce(sum(n), 0)::BIGINT, count(*) FILTER (starts_with(code, '0')),
            min(code) FILTER (length(code) < 3 AND regexp_full_match(code, '[0-9]+')),
            min(code) FILTER (contains(code, '.'))
        FROM used_{table} WHERE regexp_full_match(code, '[0-9.]+')"""
    ).fetchone()
    if row is None:
        return 0, 0, 0, None, None
    return row[0], row[1], row[2], row[3], row[4]


def _missed(con: duckdb.DuckDBPyConnection, table: str, dictionary: str) -> list[str]:
    """Return used codes that the dictionary does not know but knows with one or two zeros before them."""
    rows = con.execute(
        f"""SELECT code FROM used_{table} WHERE length(code) < 5 AND regexp_full_match(code, '[0-9]+')
            AND code NOT IN (SELECT code FROM used_{dictionary})
            AND ('0' || code IN (SELECT code FROM used_{dictionary})
                OR '00' || code IN (SELECT code FROM used_{dictionary})) ORDER BY n DESC, code"""
    ).fetchall()
    return [str(row[0]) for row in rows]


def told(error: duckdb.Error, table: Table | None = None) -> MedbenchError:
    """Return what DuckDB met in a user's words."""
    import duckdb

    cause = " ".join(str(error).split())
    where = f" while {table.path.name} was read" if table else ""
    if any(word in cause for word in ("No space left", "ENOSPC", "File too large", "Disk quota", "not enough disk")):
        return MedbenchError("room on the disk", f"a full one{where}", "Free some space and start again.")
    if isinstance(error, duckdb.OutOfMemoryException):
        return MedbenchError(
            "enough memory, or disk space to spill to",
            f"neither{where} ({cause[:160]})",
            "Free some disk space, or take fewer patients.",
        )
    if isinstance(error, duckdb.ConversionException) and table:
        return MedbenchError(f"whole numbers as keys in {table.path.name}", f"{cause[:200]}", "Download it again.")
    if table is not None:
        return damaged(table.path, cause[:160])
    return MedbenchError("a database that can be built", cause[:200], "Look at the file that is named, and try again.")
