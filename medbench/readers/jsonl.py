"""JSON Lines: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, ClassVar

from medbench.readers import Reader, Source
from medbench.readers._objects import DECODER, record_of_object, with_additions
from medbench.readers._tables import ROLES
from medbench.readers._tagged import UNDECODED, numbered
from medbench.records import Record, Role


class JsonLines(Reader):
    """JSON Lines files."""

    name = "jsonl"
    title = "JSON Lines"
    extensions = (".jsonl", ".ndjson")
    roles: ClassVar[Mapping[Role, tuple[str, ...]]] = ROLES

    def sniff(self, head: bytes, name: str) -> float:
        """Look whether lines are whole JSON objects."""
        if not head.lstrip().startswith(b"{"):
            return 0.0
        lines = [line for line in head.splitlines()[:20] if line.strip()]
        whole = sum(_is_object(line) for line in lines)
        if len(lines) > 1:
            return 0.96 if whole >= 0.5 * (len(lines) - 1) and whole else 0.0
        return 0.5 if whole else 0.0

    def records(self, source: Source) -> Iterator[Record]:
        """Yield one record per line, streaming; see `Reader.read`."""
        with source.open_text() as file:
            for number, line in numbered(file):
                if text := line.strip("\ufeff \t\0"):
                    yield _record(number, text)

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write every object on a line with the additions as further keys; refused lines pass as they were."""
        for record, additions in rows:
            out.write(with_additions(record, additions).encode("utf-8", "replace") + b"\n")


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _record(number: int, text: str) -> Record:
    try:
        value = DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply or too long a number"
        return Record(number, {}, refused=f"not valid JSON ({reason})", order=(("line", text),))
    return record_of_object(number, value, text, (UNDECODED,) if "\ufffd" in text else ())


READER = JsonLines()
