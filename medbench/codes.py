"""The code tables: ICD-10-CM, ICD-10-PCS and ICD-9-CM with their trees, notes, mappings and groups.

No string is a code unless it stands in one of these tables. A code never travels without its version and kind: see
`codes_naming`. The tables are built once from two installed packages into Parquet files in the user's cache folder
(`codes_store`) and are read from there in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from threading import Lock

import numpy as np

from medbench import codes_store
from medbench.codes_naming import (
    CCSR_SYSTEMS,
    KINDS,
    TITLES,
    VERSIONS,
    Kind,
    Level,
    Version,
    label_of,
    parse,
    restored,
    undotted,
)
from medbench.codes_references import Conflict, Notes, conflicts
from medbench.codes_rows import Code, Equivalent, Group, Hit
from medbench.codes_search import Searcher, bare_of, open_searcher
from medbench.codes_words import words

__all__ = ["KINDS", "TITLES", "VERSIONS", "Code", "Conflict", "Equivalent", "Group", "Hit", "Kind", "Level", "Notes"]
__all__ += ["Tables", "Version", "label_of", "parse", "tables"]


class Tables:
    """All tables in memory. Made by `tables()`; read-only, so threads may share it."""

    def __init__(self, store: codes_store.Store) -> None:
        """Take the columns of a store; the indexes are made when first needed."""
        self._store = store
        self._level, self._parent, self._billable = store.level, store.parent, store.billable
        self._codes, self._texts = store.codes, store.texts
        self._lock = Lock()
        self._searchers: dict[Version, Searcher] = {}
        self._by_code: dict[Version, dict[str, int]] = {}
        self._by_plain: dict[Version, dict[str, int]] = {}

    def __len__(self) -> int:
        """Return the number of rows, headings included."""
        return len(self._parent)

    def _rows(self, version: Version) -> dict[str, int]:
        """Code as printed -> row, of one version."""
        if version not in self._by_code:
            begin, end = self._store.ranges[version]
            self._by_code[version] = dict(zip(self._codes[begin:end], range(begin, end), strict=True))
        return self._by_code[version]

    def _plain(self, version: Version) -> dict[str, int]:
        """Code without its dot -> row, of one version; chapters and blocks are no codes and not among them."""
        if version not in self._by_plain:
            begin, end = self._store.ranges[version]
            is_code = (self._level[begin:end] >= codes_store.LEVELS.index("category")).tolist()
            listed = zip(self._codes[begin:end], range(begin, end), is_code, strict=True)
            self._by_plain[version] = {code.replace(".", ""): row for code, row, kept in listed if kept}
        return self._by_plain[version]

    def release(self, version: Version) -> str:
        """Return which release of a table this is, e.g. "April 2026"."""
        return self._store.releases[version]

    def get(self, label: str) -> Code | None:
        """Return the row that a label names, None when no table has it."""
        row = self.row(label)
        return None if row is None else self.code_at(row)

    def row(self, label: str) -> int | None:
        """Return the position of a label's row in the table, None when no table has it."""
        begun, _, code = label.partition(":")
        return next((self._rows(version).get(code) for version in VERSIONS if version == begun), None)

    def code_at(self, row: int) -> Code:
        """Return the row at a position."""
        version = self._version_at(row)
        above: dict[str, str] = {}
        at = row
        while at >= 0:
            # The lowest row of a level is its own; deeper levels of "code" are not asked for.
            above.setdefault(codes_store.LEVELS[self._level[at]], label_of(version, self._codes[at]))
            at = int(self._parent[at])
        parent = int(self._parent[row])
        return Code(
            self._codes[row],
            version,
            KINDS[version],
            self._texts[row],
            bool(self._billable[row]),
            codes_store.LEVELS[self._level[row]],
            above.get("category"),
            above.get("block"),
            above["chapter"],
            label_of(version, self._codes[parent]) if parent >= 0 else None,
        )

    def _version_at(self, row: int) -> Version:
        return next(version for version, (begin, end) in self._store.ranges.items() if begin <= row < end)

    def label_at(self, row: int) -> str:
        """Return the label of the row at a position."""
        return label_of(self._version_at(row), self._codes[row])

    def printed(self, row: int) -> str:
        """Return the code of the row at a position, as printed."""
        return self._codes[row]

    def is_billable(self, row: int) -> bool:
        """Return whether the code at a position may stand on a claim."""
        return bool(self._billable[row])

    def text_at(self, row: int) -> str:
        """Return the text of the row at a position."""
        return self._texts[row]

    def find(self, text: str, version: Version | None = None) -> Code | None:
        """Return the code that a person or a file means: "e119", "E11.9", "25000", " 47.01", "icd9cm:250.00".

        Without a version ICD-10-CM is tried first, then ICD-9-CM diagnoses, ICD-10-PCS, ICD-9-CM procedures; billable
        codes before others. Leading zeros that a spreadsheet took are put back when nothing else fits.

        Args:
            text: The code with or without dot, in any case; a full label wins over `version`.
            version: Look in this table only.
        """
        given, _, rest = text.strip().partition(":")
        named = [known for known in VERSIONS if known == given.lower() and rest]
        wanted = named or ([version] if version else ["icd10cm", "icd9cm", "icd10pcs", "icd9pcs"])
        rows = [row for each in wanted if (row := self._meant(each, rest if named else text)) is not None]
        return self.code_at(min(rows, key=lambda row: not self._billable[row])) if rows else None

    def _meant(self, version: Version, typed: str) -> int | None:
        row = self._plain(version).get(undotted(typed))
        if row is not None and _dot_fits(typed, self._codes[row]):
            return row
        return self._plain(version).get(restored(version, typed) or "")

    def children(self, label: str) -> list[Code]:
        """Return the rows right below one, in table order; none for an unknown label."""
        row = self.row(label)
        return [] if row is None else [self.code_at(at) for at in self.rows_below(row) if self._parent[at] == row]

    def descendants(self, label: str) -> list[Code]:
        """Return all rows below one, in table order."""
        row = self.row(label)
        return [] if row is None else [self.code_at(at) for at in self.rows_below(row)]

    def rows_below(self, row: int) -> range:
        """Return the positions of all rows below one: rows stand in tree order."""
        return range(row + 1, int(self._store.end[row]))

    def ancestors(self, label: str) -> list[Code]:
        """Return the rows above one, the nearest first, the chapter last."""
        row = self.row(label)
        return [] if row is None else [self.code_at(at) for at in self.rows_above(row)]

    def rows_above(self, row: int) -> Iterator[int]:
        """Yield the positions of the rows above one, the nearest first."""
        at = int(self._parent[row])
        while at >= 0:
            yield at
            at = int(self._parent[at])

    def category(self, label: str) -> str | None:
        """Return the label of a code's three-character category."""
        found = self.get(label)
        return found.category if found else None

    def notes(self, label: str, inherited: bool = True) -> Notes:
        """Return the instructions at a row and, when `inherited`, at the rows above it (nearest first).

        Inclusion terms are those of the row itself: a finer code does not mean all that its category includes.
        """
        row = self.row(label)
        if row is None:
            return Notes()
        places = [row, *self.rows_above(row)] if inherited else [row]
        held: dict[str, list[str]] = {}
        for place in places:
            for kind, note in self.notes_at(place):
                if kind not in ("inclusion", "includes") or place == row:
                    held.setdefault(kind, []).append(note)
        return Notes.of(held)

    def notes_at(self, row: int) -> list[tuple[str, str]]:
        """Return (kind, note) of the notes at a position, in print order."""
        return list(self._store.notes_at(row))

    def to_icd10(self, label: str) -> list[Equivalent]:
        """Return what the general equivalence mapping offers for an ICD-9-CM diagnosis; exact matches first.

        The mapping was last made for fiscal year 2018: codes that have since been deleted are left out. There is no
        mapping for procedures.
        """
        version, code = parse(label)
        if version != "icd9cm":
            return []
        offers = []
        for target, flags in self._store.gem(undotted(code)):
            row = self._plain("icd10cm").get(target)
            if row is not None:
                offers.append(Equivalent(self.code_at(row), flags[0] == "1", int(flags[3]), int(flags[4])))
        return sorted(offers, key=lambda offer: (offer.approximate, offer.scenario, offer.choice, offer.code.code))

    def from_icd9(self, label: str) -> list[Equivalent]:
        """Return the ICD-9-CM diagnoses that the same mapping leads to an ICD-10-CM code, in table order."""
        version, code = parse(label)
        led = self._store.gem_back(undotted(code)) if version == "icd10cm" else []
        rows = self._plain("icd9cm")
        kept = sorted((rows[source], flags) for source, flags in led if source in rows)
        return [Equivalent(self.code_at(row), f[0] == "1", int(f[3]), int(f[4])) for row, f in kept]

    def ccsr(self, label: str) -> Group | None:
        """Return a diagnosis's default CCSR category for the first-listed diagnosis, None when it has none."""
        version, code = parse(label)
        category = self._store.ccsr(undotted(code)) if version == "icd10cm" else None
        return Group(category, CCSR_SYSTEMS[category[:3]]) if category else None

    def labels(self, version: Version, billable_only: bool = False) -> list[str]:
        """Return the labels of a table's categories and codes in table order, or of the billable ones."""
        begin, end = self._store.ranges[version]
        kept = self._billable if billable_only else self._level >= codes_store.LEVELS.index("category")
        return [label_of(version, self._codes[row]) for row in (begin + np.flatnonzero(kept[begin:end])).tolist()]

    def search(self, query: str, version: Version = "icd10cm", limit: int = 20) -> list[Hit]:
        """Return the categories and codes that fit some words, or that begin like a code, the best first.

        Args:
            query: Words in any order, typos and abbreviations included, or the beginning of a code.
            version: The table to search.
            limit: How many to return at most.
        """
        typed = undotted(query)
        if " " not in query.strip() and len(typed) > 1 and any(letter.isdigit() for letter in typed):
            begun = [row for plain, row in self._plain(version).items() if plain.startswith(typed)]
            if begun:
                return [Hit(self.code_at(row), 1.0, self._texts[row], "code", 1.0) for row in begun[:limit]]
        found = self.searcher(version).rank(query, max(limit, 50))
        powers = np.exp(np.array([each.score for each in found]) - (found[0].score if found else 0.0))
        shares = (powers / powers.sum()).tolist() if found else []
        return [
            Hit(self.code_at(each.row), share, each.text, each.source, each.cosine)
            for each, share in zip(found[:limit], shares, strict=False)
        ]

    def searcher(self, version: Version) -> Searcher:
        """Return the index of a table, made when it is first asked for."""
        with self._lock:
            if version not in self._searchers:
                self._searchers[version] = open_searcher(self._store, version)
            return self._searchers[version]

    def usual(self, label: str) -> Code | None:
        """Return the billable code for something that is told no finer than a row: the row itself when it is billable.

        Else the code below it that claims least beyond its heading ("unspecified", "without complications", the initial
        encounter), the first of equals.
        """
        row = self.row(label)
        while row is not None and not self._billable[row]:
            below = [at for at in self.rows_below(row) if self._parent[at] == row]
            heading = self._texts[row]
            # Of seventh characters the first: the initial encounter, a stage or fetus not specified.
            details = {at: 0 if self._store.extended[at] else _detail(self._texts[at], heading) for at in below}
            row = min(below, key=lambda at: (details[at], at)) if below else None
        return None if row is None else self.code_at(row)

    def conflicts(self, labels: Sequence[str]) -> list[Conflict]:
        """Return what the tabular list holds against a chosen set: Excludes1 pairs, missing or late "code first"."""
        return conflicts(self, labels)

    def span(self, version: Version) -> range:
        """Return the positions of a table's rows."""
        return range(*self._store.ranges[version])

    def noted(self, kinds: Iterable[str]) -> Iterator[tuple[int, str, str]]:
        """Yield (row, kind, note) of every note of these kinds, in table order."""
        wanted = set(kinds)
        return ((row, kind, note) for row, kind, note in self._store.all_notes() if kind in wanted)


def _detail(text: str, heading: str) -> float:
    """Return how many words a title claims beyond its heading: none in "Pneumonia, unspecified organism".

    What a title says is absent claims nothing, and "other" little: it is the rest.
    """
    claimed = set(words(bare_of(text.partition(" without ")[0]))) - set(words(heading))
    return len(claimed) - 0.5 * ("other" in claimed)


def _dot_fits(typed: str, printed: str) -> bool:
    """Return whether a dot, if one was typed, stands where the printed code has it (E1.19 is no code)."""
    typed = typed.strip().upper()
    return "." not in typed or typed.rstrip(".") == printed


@cache
def tables() -> Tables:
    """Return the tables, building them in the cache folder when they are not there yet (some seconds, once).

    Raises:
        MedbenchError: When a package that carries them is missing.
    """
    return Tables(codes_store.open_store())
