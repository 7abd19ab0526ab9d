"""JSON files that are one value: a list of objects, an object that holds such a list, or an object of columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, ClassVar

from medbench.errors import MedbenchError
from medbench.readers import Reader, Source
from medbench.readers._objects import DECODER, record_of_object, with_additions
from medbench.readers._tables import ROLES
from medbench.records import Record, Role

_BLANK = re.compile(r"[\s,]*")
_NEXT = re.compile(r"\}\s*,\s*(?=\{)")
_INNER = re.compile(r'"[^"\\]{1,80}"\s*:\s*(?=\[\s*\{)')


class JsonList(Reader):
    """JSON files."""

    name = "json_list"
    title = "JSON"
    extensions = (".json",)
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = ROLES

    def sniff(self, head: bytes, name: str) -> float:
        """Look for a list or an object at the beginning."""
        text = head.lstrip()
        if re.match(rb"\[\s*[{\[\"]", text):
            return 0.9
        return 0.7 if re.match(rb'\{\s*"(?:[^"\\]|\\.)*"\s*:', text) else 0.0

    def records(self, source: Source) -> Iterator[Record]:
        """Yield one record per object; the text is held in memory, the objects are not. See `Reader.read`."""
        with source.open_text() as file:
            text = file.read().lstrip("\ufeff")
        start = len(text) - len(text.lstrip())
        if text.startswith("{", start):
            yield from _from_object(text, source)
        else:
            yield from _items(text, start + 1)

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write a list of objects with the additions as further keys; what was no JSON is left out."""
        separator = b"[\n"
        for record, additions in rows:
            if not record.order or record.order[0][0] != "json":
                continue
            out.write(separator + with_additions(record, additions).encode("utf-8", "replace"))
            separator = b",\n"
        out.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def _items(text: str, position: int) -> Iterator[Record]:
    """Yield the items of a list whose first item begins at or behind `position`, and go on after a broken one."""
    line, counted = 1, 0
    known: set[str] = set()
    while True:
        position = _after(_BLANK, text, position)
        line, counted = line + text.count("\n", counted, position), position
        if text.startswith("]", position):
            return
        try:
            value, end = DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply or too long a number"
            torn = position >= len(text)
            yield Record(line, {}, refused="the file breaks off here" if torn else f"not valid JSON ({reason})")
            resumed = _resume(text, position, known)
            if resumed is None:
                return
            position = resumed
            continue
        if isinstance(value, dict):
            known = known or set(value)
        yield record_of_object(line, value, text[position:end])
        position = end


def _resume(text: str, position: int, known: set[str]) -> int | None:
    """Find where the next object like the first one begins."""
    for match in _NEXT.finditer(text, position):
        try:
            value, _ = DECODER.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and len(known & set(value)) * 2 >= len(known) > 0:
            return match.end()
    return None


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match is not None else position


def _from_object(text: str, source: Source) -> Iterator[Record]:
    try:
        value = DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        inner = _INNER.search(text)
        if inner is None:
            raise MedbenchError(
                "valid JSON", f"{source.name!r} with {error}", "Export it again or mend it in a text editor."
            ) from error
        yield from _items(text, inner.end() + 1)
        return
    for number, row in enumerate(_rows(value), 1):
        yield record_of_object(number, row, json.dumps(row, ensure_ascii=False))


def _rows(value: dict[str, Any]) -> list[Any]:
    """Return the rows of an object: of the list it holds, of its columns, of its entries, or itself."""
    lists = [
        entry for entry in value.values() if isinstance(entry, list) and any(isinstance(row, dict) for row in entry)
    ]
    if lists:
        return max(lists, key=len)
    columns = list(value.values())
    if len(value) > 1 and all(isinstance(entry, list) for entry in columns) and len({len(c) for c in columns}) == 1:
        return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    if value and all(isinstance(entry, dict) for entry in columns):
        same = all(entry.keys() == columns[0].keys() for entry in columns)
        scalars = not any(isinstance(cell, dict) for entry in columns for cell in entry.values())
        numbered = all(key.isdigit() for key in columns[0])
        if same and scalars and numbered:
            return [{name: entry[key] for name, entry in value.items()} for key in columns[0]]
        return [{"id": key, **entry} for key, entry in value.items()]
    return [value]


READER = JsonList()
