"""The texts of a file of records, for whoever needs nothing but its texts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

from medbench import mapping
from medbench.readers import open_source
from medbench.records import Item

_SAMPLE = 200  # records that columns are guessed from


def items_of(path: Path, chosen: Mapping[str, str] | None = None, most: int = 0) -> list[Item]:
    """Return the texts of a file in any format that is read, with their ids or numbers.

    Args:
        path: The file.
        chosen: Columns that the user named, by the part they play.
        most: Read at most so many records; 0 reads all.

    Raises:
        MedbenchError: The file cannot be read, or has no such column.
    """
    reader, source = open_source(path)
    columns = mapping.guess(reader.roles, list(itertools.islice(reader.read(source), _SAMPLE)), dict(chosen or {}))
    rows = mapping.apply(columns, reader.read(source), str, reader.roles)
    records = (Item(row.id or str(at), row.title, row.text) for at, row in enumerate(rows, start=1))
    return list(itertools.islice(records, most or None))
