"""What the tabular list says beside its codes: notes, the codes that they name, and conflicts in a chosen set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Literal, Protocol

_CODE = r"[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?"
# "E13.-", "O10-O11", "T36.0X1-T36.0X4", "S02.-"; a dash without a second code stands for everything finer.
_REFERENCE = re.compile(rf"\b({_CODE})\.?(?:-({_CODE})|-)?(?![0-9A-Za-z])")


@dataclass(frozen=True, slots=True)
class Notes:
    """The instructions that hold for a row, in the tabular list's words.

    Attributes:
        inclusion: Terms that mean this row.
        includes: What a category or block is said to include.
        excludes1: Not coded here: never together with this code, because the two cannot both be.
        excludes2: Not included here; both may be coded when the patient has both.
        code_first: The underlying disease that has to stand before this code.
        use_additional: What to code beside it.
        code_also: What may have to be coded beside it, in either order.
        note: Other remarks.
        seventh_note: How the seventh character is chosen.
        seventh: Seventh character -> meaning; empty when codes here take none.
    """

    inclusion: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    excludes1: tuple[str, ...] = ()
    excludes2: tuple[str, ...] = ()
    code_first: tuple[str, ...] = ()
    use_additional: tuple[str, ...] = ()
    code_also: tuple[str, ...] = ()
    note: tuple[str, ...] = ()
    seventh_note: tuple[str, ...] = ()
    seventh: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, held: Mapping[str, Sequence[str]]) -> Notes:
        """Make the record from kind -> notes; the nearest definition of a seventh character counts."""
        plain = {each.name: tuple(held.get(each.name, ())) for each in fields(cls) if each.name != "seventh"}
        seventh: dict[str, str] = {}
        for note in held.get("seventh", ()):
            char, _, meaning = note.partition("=")
            seventh.setdefault(char, meaning)
        return cls(**plain, seventh=tuple(seventh.items()))


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something the tabular list holds against a chosen set of codes.

    Attributes:
        kind: "excludes1": the two may not stand together; "code_first": another code has to stand before this one;
            "finer": the code is not billable.
        labels: The chosen codes concerned; the one that carries the note first.
        sentence: What is wrong, for the user.
        note: The tabular list's words.
    """

    kind: Literal["excludes1", "code_first", "finer"]
    labels: tuple[str, ...]
    sentence: str
    note: str


class Listed(Protocol):
    """What finding conflicts needs of the tables; see `medbench.codes.Tables`."""

    def row(self, label: str) -> int | None: ...  # noqa: D102
    def printed(self, row: int) -> str: ...  # noqa: D102
    def is_billable(self, row: int) -> bool: ...  # noqa: D102
    def rows_above(self, row: int) -> Iterator[int]: ...  # noqa: D102
    def rows_below(self, row: int) -> range: ...  # noqa: D102
    def notes_at(self, row: int) -> Sequence[tuple[str, str]]: ...  # noqa: D102


@lru_cache(maxsize=20_000)
def references(note: str) -> tuple[tuple[str, str], ...]:
    """Return the (first, last) codes that a note names, as printed; equal for a single code and what is finer."""
    return tuple((first, last or first) for first, last in _REFERENCE.findall(note))


def named(note: str, code: str) -> bool:
    """Return whether a note names a code: itself, a heading of it, or a range that holds it."""
    return any(first <= code and (code[: len(last)] <= last) for first, last in references(note))


def conflicts(tables: Listed, labels: Sequence[str]) -> list[Conflict]:
    """Return what speaks against a chosen set, in the order of the codes; labels of other versions are passed over.

    Args:
        tables: The code tables.
        labels: Chosen codes, the first-listed first; the order matters for "code first".
    """
    rows = [(label, row) for label in dict.fromkeys(labels) if (row := tables.row(label)) is not None]
    chosen = [(label, row) for label, row in rows if label.startswith("icd10cm:")]
    return [
        *_not_billable(tables, rows),
        *_excluded(tables, chosen),
        *_out_of_order(tables, chosen),
    ]


def _not_billable(tables: Listed, rows: Sequence[tuple[str, int]]) -> Iterator[Conflict]:
    for label, row in rows:
        if not tables.is_billable(row):
            told = f"{tables.printed(row)} is not billable: choose a finer code below it."
            yield Conflict("finer", (label,), told, "")


def _excluded(tables: Listed, chosen: Sequence[tuple[str, int]]) -> Iterator[Conflict]:
    seen: set[frozenset[str]] = set()
    for label, row in chosen:
        for other, other_row in chosen:
            if other == label or frozenset((label, other)) in seen:
                continue
            note = _note_against(tables, row, other_row)
            if note is not None:
                seen.add(frozenset((label, other)))
                one, two = label.partition(":")[2], other.partition(":")[2]
                told = f"{one} and {two} may not be coded together (Excludes1 at {note[0]}: {note[1]})."
                yield Conflict("excludes1", (label, other), told, note[1])


def _note_against(tables: Listed, row: int, other: int) -> tuple[str, str] | None:
    """Return (code, note) of the Excludes1 note at a row or above it that names another row."""
    code = tables.printed(other)
    for place in (row, *tables.rows_above(row)):
        if other in range(place, tables.rows_below(place).stop):
            return None  # from here on up, notes stand above both codes and part them from others
        for kind, note in tables.notes_at(place):
            if kind == "excludes1" and named(note, code):
                return tables.printed(place), note
    return None


def _out_of_order(tables: Listed, chosen: Sequence[tuple[str, int]]) -> Iterator[Conflict]:
    place = {label: at for at, (label, _) in enumerate(chosen)}
    for label, row in chosen:
        for at in (row, *tables.rows_above(row)):
            notes = [note for kind, note in tables.notes_at(at) if kind == "code_first" and references(note)]
            if not notes:
                continue
            code, said = label.partition(":")[2], "; ".join(notes)
            fitting = [other for other, _ in chosen if other != label and named(said, other.partition(":")[2])]
            if not fitting and not any(note.lower().startswith("if ") or "if applicable" in note for note in notes):
                told = f"{code} needs its underlying condition before it (code first at {tables.printed(at)})."
                yield Conflict("code_first", (label,), told, said)
            elif fitting and all(place[other] > place[label] for other in fitting):
                first = fitting[0].partition(":")[2]
                told = f"{first} has to stand before {code} (code first at {tables.printed(at)})."
                yield Conflict("code_first", (label, fitting[0]), told, said)
            break
