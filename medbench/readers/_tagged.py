"""What the line-tagged formats (RIS, MEDLINE, Web of Science, refer) share: lines in, pairs in order, pairs out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TextIO

from medbench.readers._source import Source
from medbench.records import Record

Pair = tuple[str, str]
NOTE = "medbench "
UNDECODED = "characters that could not be decoded were replaced"
NULS = "NUL bytes were left out"
_SHOWN = 60


def numbered(file: TextIO) -> Iterator[tuple[int, str]]:
    r"""Yield (1-based line number, line without its ending); \n, \r\n and \r all end a line."""
    for number, line in enumerate(file, 1):
        yield number, line.rstrip("\r\n")


def record_of(
    line: int,
    pairs: Iterable[Pair],
    repairs: Iterable[str],
    lead: Mapping[str, tuple[str, ...]],
    split: frozenset[str] = frozenset(),
    silent: frozenset[str] = frozenset(),
) -> Record:
    """Make a record of (tag, value) pairs.

    Args:
        line: Where the record begins.
        pairs: Tags and values in file order.
        repairs: What was mended so far.
        lead: Fields of ours put first, each with the tags it is taken from, best first ("title" from TI, T1, ...).
        split: Tags whose value may hold one entry per line; their entries become values of their own.
        silent: Tags that alone make no record (the type).

    Returns:
        The record; refused when nothing but silent tags carries a value.
    """
    notes = list(repairs)
    order = [(tag, value.replace("\0", "").strip()) for tag, value in pairs]
    if any("\0" in value for _, value in pairs):
        notes.append(NULS)
    if any("\ufffd" in value for _, value in order):
        notes.append(UNDECODED)
    values: dict[str, list[str]] = {}
    for tag, value in order:
        if value:
            entries = value.split("\n") if tag in split and "\n" in value else [value]
            values.setdefault(tag, []).extend(entry for entry in entries if entry)
    fields: dict[str, tuple[str, ...]] = {}
    for name, tags in lead.items():
        found = next((tag for tag in tags if tag in values), None)
        if found is not None:
            fields[name] = (_lead_text(name, values[found]),)
    fields.update((tag, tuple(entries)) for tag, entries in values.items())
    refused = None if values.keys() - silent else "the record is empty: it has a type or nothing, and no text"
    return Record(line, fields, tuple(dict.fromkeys(notes)), refused, tuple(order))


def _lead_text(name: str, values: list[str]) -> str:
    return " ".join(values[0].split()) if name == "title" else "\n".join(values)


def outside(text: str) -> str:
    """Return the repair that tells of text outside any record."""
    return f"text outside the records was left out: {text[:_SHOWN]!r}"


def newline_of(source: Source) -> str:
    """Return the line ending of the source's first line."""
    with source.open_text() as file:
        first = file.readline(1 << 16)
    return "\r\n" if first.endswith("\r\n") else "\n"


def labels_of(additions: Mapping[str, str]) -> list[str]:
    """Return the labels among the additions."""
    return [label for part in additions.get("medbench_labels", "").split(";") if (label := part.strip())]


def notes_of(additions: Mapping[str, str]) -> list[str]:
    """Return the additions that are no labels, as "medbench <key>: <value>" on one line each."""
    return [
        f"{NOTE}{key.removeprefix('medbench_')}: {' '.join(value.split())}"
        for key, value in additions.items()
        if key != "medbench_labels" and value.strip()
    ]


def extended(
    record: Record, additions: Mapping[str, str], label_tag: str, note_tag: str, before_labels: tuple[Pair, ...] = ()
) -> list[Pair]:
    """Return a record's pairs with the additions behind them; notes of an earlier export give way to the new ones."""
    if record.refused is not None or not additions:
        return list(record.order)
    kept = [pair for pair in record.order if not (pair[0] == note_tag and pair[1].startswith(NOTE))]
    present = {value for tag, value in kept if tag == label_tag} | set(record.fields.get(label_tag, ()))
    labels = [(label_tag, label) for label in labels_of(additions) if label not in present]
    return [
        *kept,
        *(before_labels if labels else ()),
        *labels,
        *((note_tag, note) for note in notes_of(additions)),
    ]
