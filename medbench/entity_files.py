"""The entities of every record of a file: the file back with columns added, or a line for every mention."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from medbench import entities, mapping
from medbench.entities import Entity
from medbench.errors import MedbenchError
from medbench.readers import Reader, Source, open_source
from medbench.records import Item, Record
from medbench.workspace import replacing

SAMPLE = 200
Find = Callable[[str], list[Entity]]
Tell = Callable[[int], None]


def annotate(path: Path, out: Path, find: Find, *, name: str = "", tell: Tell = lambda _: None) -> int:
    """Write a file back in its own format with the entities of each record added; return how many records there were.

    A format that cannot be written, such as PDF, and a name that ends in .csv give a table: id, title, the columns.

    Args:
        path: The file.
        out: Where to.
        find: Finds the entities of a text.
        name: What the user calls it.
        tell: Told how many records are done.

    Raises:
        MedbenchError: The file cannot be read, or has no text.
    """
    reader, source, mapped = _opened(path, name)
    done = 0

    def added() -> Iterator[tuple[Record, dict[str, str]]]:
        nonlocal done
        for record in reader.read(source):
            item = _item(record, mapped, reader, done + 1)
            if item is None:
                yield record, {}
                continue
            yield record, entities.columns(find(item.joined))
            done += 1
            tell(done)

    as_table = not reader.writes or (out.suffix.lower() == ".csv" and reader.name != "tables")
    with replacing(out) as temporary:
        if as_table:
            with temporary.open("w", encoding="utf-8-sig", newline="") as file:
                _table(file, _items(reader, source, mapped), find, tell)
        else:
            with temporary.open("wb") as raw:
                reader.write(added(), raw, source)
    return done


def _table(file: TextIO, items: Iterator[Item], find: Find, tell: Tell) -> None:
    writer = csv.DictWriter(file, ("id", "title", *entities.COLUMNS), lineterminator="\n")
    writer.writeheader()
    for done, item in enumerate(items, start=1):
        found = {"id": item.id, "title": item.title, **entities.columns(find(item.joined))}
        writer.writerow({key: harmless(value) for key, value in found.items()})
        tell(done)


def mentions(path: Path, find: Find, *, name: str = "") -> Iterator[tuple[Item, list[Entity]]]:
    """Yield every record of a file with its entities. Raises MedbenchError as `annotate`."""
    reader, source, mapped = _opened(path, name)
    for item in _items(reader, source, mapped):
        yield item, find(item.joined)


def write_mentions(file: TextIO, found: Iterator[tuple[Item, list[Entity]]]) -> int:
    """Write a line for every concept of every mention as CSV; return how many records there were."""
    writer = csv.DictWriter(file, ("record", *entities.ROWS), lineterminator="\n")
    writer.writeheader()
    count = 0
    for item, mentioned in found:
        count += 1
        for row in entities.rows(mentioned):
            told = {"record": item.id, **row}
            writer.writerow({key: harmless(value) if isinstance(value, str) else value for key, value in told.items()})
    return count


def harmless(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if str(value).startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _opened(path: Path, name: str) -> tuple[Reader, Source, Any]:
    reader, source = open_source(path, name or None)
    mapped = mapping.guess(reader.roles, list(itertools.islice(reader.read(source), SAMPLE)), None)
    if mapped.title is None and mapped.text is None:
        raise MedbenchError("a column with a title or a text", f"none in {source.name!r}", "Name it title or text.")
    return reader, source, mapped


def _items(reader: Reader, source: Source, mapped: Any) -> Iterator[Item]:
    for number, record in enumerate(reader.read(source), start=1):
        item = _item(record, mapped, reader, number)
        if item is not None:
            yield item


def _item(record: Record, mapped: Any, reader: Reader, number: int) -> Item | None:
    row = next(mapping.apply(mapped, [record], str, reader.roles), None)
    return None if row is None else Item(row.id or str(number), row.title, row.text)
