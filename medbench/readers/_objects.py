"""What the two JSON readers share: an object becomes a record that keeps its own JSON, and takes more keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from medbench.records import Record

# Numbers stay as they are written: 1.10 is not 1.1, and an id of twenty digits is not a float.
DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def record_of_object(line: int, value: Any, raw: str, repairs: tuple[str, ...] = ()) -> Record:
    """Make a record of a JSON object. Lists and objects inside stay JSON in their cell; `order` keeps the text."""
    if not isinstance(value, dict):
        return Record(line, {}, repairs, f"not a JSON object but {_kind(value)}", (("json", raw),))
    fields: dict[str, tuple[str, ...]] = {}
    for key, entry in value.items():
        text, mended = _sound(_cell(entry))
        fields[_sound(key)[0]] = (text,)
        if mended and mended not in repairs:
            repairs = (*repairs, mended)
    refused = None if any(cell[0] for cell in fields.values()) else "the object is empty"
    return Record(line, fields, repairs, refused, (("json", raw),))


def with_additions(record: Record, additions: Mapping[str, str]) -> str:
    """Return the record's own JSON text with the additions as further keys; its numbers keep their look."""
    raw = record.order[0][1]
    if record.refused is not None or not additions:
        return raw
    if any(name in record.fields for name in additions):  # an earlier export of ours: the new values replace the old
        return json.dumps({**json.loads(raw), **additions}, ensure_ascii=False)
    more = json.dumps(dict(additions), ensure_ascii=False)[1:-1]
    return f"{raw.rstrip().removesuffix('}').rstrip()}, {more}}}"


def _cell(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    if entry is None:
        return ""
    return json.dumps(entry, ensure_ascii=False)


def _sound(text: str) -> tuple[str, str]:
    """Return text without lone surrogates and NUL, which no file can hold, and the repair."""
    if "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)):
        return text, ""
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace"), "broken characters"


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "a plain value", bool: "true or false"}
    return "nothing (null)" if value is None else kinds.get(type(value), "a plain value")
