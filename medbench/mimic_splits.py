"""Published splits: files of admission, patient or note ids that others have trained, tuned and tested on.

Read are CSV and TSV, Feather and Parquet: a column of ids and a column of splits (Edin et al. 2023: `_id`, `split`),
or one file per split with nothing but ids, the split in its name (CAML, Mullenbach et al. 2018:
`train_full_hadm_ids.csv`). Whether ids are admissions, patients or notes is told by what is in the database.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medbench.errors import MedbenchError
from medbench.mimic_files import NOTES, Version
from medbench.records import SplitName
from medbench.splits import split_name

if TYPE_CHECKING:
    import duckdb

_ID = re.compile(r"\d+(\.0)?|\d+-[A-Z]{2}-\d+")
_PREFERRED = ("note_id", "hadm_id", "_id", "id", "subject_id")
_COLUMNAR = (".feather", ".parquet")
NOTE_KEY: dict[Version, str] = {"iii": "row_id", "iv": "note_id"}


@dataclass(frozen=True)
class Published:
    """Published splits.

    Attributes:
        names: Names of the files.
        splits: Id, as text -> its split.
    """

    names: tuple[str, ...]
    splits: dict[str, SplitName]


def read(files: Sequence[Path]) -> Published | None:
    """Read published splits; None when there are no files.

    Raises:
        MedbenchError: A file is not there, holds no ids or no splits, or an id stands in two splits.
    """
    found: dict[str, SplitName] = {}
    for path in files:
        for one, split in _pairs(path):
            if found.setdefault(one, split) != split:
                raise MedbenchError(
                    f"every id in one split in {path.name}",
                    f"{one} in {found[one]} and in {split}",
                    "Correct the file, or leave it out to draw splits by patient.",
                )
    return Published(tuple(path.name for path in files), found) if files else None


def _pairs(path: Path) -> list[tuple[str, SplitName]]:
    rows = _rows(path)
    header, body = (rows[0], rows[1:]) if rows and not any(_ID.fullmatch(cell) for cell in rows[0]) else ([], rows)
    width = max(map(len, body), default=0)
    body = [row for row in body if len(row) == width and any(row)]
    splits = [place for place in range(width) if all(split_name(row[place]) for row in body)]
    ids = [place for place in range(width) if all(_ID.fullmatch(row[place]) for row in body)]
    own = next((name for word in re.split(r"[^a-z]+", path.stem.lower()) if (name := split_name(word))), None)
    if not body or not ids or not (splits or own):
        lacks = "no row" if not body else "no column of ids" if not ids else "no column of splits and none in its name"
        raise MedbenchError(
            f"ids and their splits (train, validation or dev, test) in {path.name}",
            lacks,
            "Give a CSV file with the columns hadm_id and split.",
        )
    names = {header[place].lower(): place for place in ids if place < len(header)}
    place = next((names[name] for name in _PREFERRED if name in names), ids[0])
    pairs = []
    for row in body:
        split = split_name(row[splits[0]]) if splits else own
        if split is not None:
            pairs.append((row[place].removesuffix(".0"), split))
    return pairs


def _rows(path: Path) -> list[list[str]]:
    """Return all cells of a file as text."""
    if not path.is_file():
        raise MedbenchError("a file with published splits", f"no file {str(path)!r}", "Check the path.")
    try:
        if path.suffix.lower() in _COLUMNAR:
            return _columnar(path)
        text = path.read_text(encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        cause = " ".join(str(error).split())[:120]
        raise MedbenchError(f"ids and their splits in {path.name}", f"a file of another kind ({cause})", "") from error
    delimiter = "\t" if "\t" in text[:1000] else ","
    return [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]


def _columnar(path: Path) -> list[list[str]]:
    import pyarrow.feather as feather
    import pyarrow.parquet as parquet

    table = parquet.read_table(path) if path.suffix.lower() == ".parquet" else feather.read_table(path)
    columns = [[str(cell) for cell in table.column(name).to_pylist()] for name in table.column_names]
    return [list(table.column_names), *map(list, zip(*columns, strict=True))]


def apply(con: duckdb.DuckDBPyConnection, wanted: Published, version: Version, notes: bool) -> None:
    """Write the table `splits`; admissions that the files do not name get none.

    Raises:
        MedbenchError: No id is in the database.
    """
    import pyarrow as arrow

    given = arrow.table({"id": list(wanted.splits), "split": list(wanted.splits.values())})
    con.register("given", given)
    con.execute("CREATE TEMP TABLE published AS SELECT id, split FROM given")
    con.unregister("given")
    who = {
        "admissions": "SELECT DISTINCT hadm_id::VARCHAR AS id, subject_id, hadm_id FROM admissions",
        "patients": "SELECT DISTINCT subject_id::VARCHAR AS id, subject_id, hadm_id FROM admissions",
    }
    if notes:
        table, key = NOTES[version], NOTE_KEY[version]
        who["notes"] = (
            f"SELECT n.{key}::VARCHAR AS id, p.subject_id, p.hadm_id FROM note_parts p"
            f" JOIN {table} n ON n.rowid = p.source_row"
        )
    matches = {kind: _matches(con, query) for kind, query in who.items()}
    best = max(matches, key=lambda kind: matches[kind])
    if not matches[best]:
        example = next(iter(wanted.splits))
        raise MedbenchError(
            "ids of admissions, patients or notes of this download in the split file",
            f"none that is there, for example {example}",
            "Check that the splits belong to this version of MIMIC.",
        )
    con.execute(
        f"CREATE TABLE splits AS SELECT subject_id, hadm_id, min(split) AS split FROM ({who[best]})"
        " JOIN published USING (id) GROUP BY subject_id, hadm_id"
    )
    con.execute("DROP TABLE published")


def _matches(con: duckdb.DuckDBPyConnection, query: str) -> int:
    row = con.execute(f"SELECT count(*) FROM published WHERE id IN (SELECT id FROM ({query}))").fetchone()
    return int(row[0]) if row else 0
