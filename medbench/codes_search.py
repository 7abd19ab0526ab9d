"""From words to codes: candidates by shared words, ranked by a few features with learnt weights.

A code is known by several texts: its own title, the inclusion terms at it, notes elsewhere that point to it ("plantar
wart (B07.0)"), the titles of the ICD-9 codes that it succeeded. The best of them speaks for the code. Context (titles
above it), specificity and "unspecified" or "other" in its title decide between codes that fit alike, and so do words
that the tables use for words of a title (`codes_translation`). The weights (`codes_ranking`) were learnt by
`benchmarks/icd_terms.py` from inclusion terms; its figure is measured with all inclusion terms taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medbench.codes_index import Floats, Index, Ints
from medbench.codes_naming import Version, undotted
from medbench.codes_ranking import shipped
from medbench.codes_references import references
from medbench.codes_store import LEVELS, Store, Strings, build_once, write_columns
from medbench.codes_titles import Titles
from medbench.codes_translation import Translation
from medbench.codes_words import words
from medbench.workspace import undamaged, write_json

SOURCES = ("title", "inclusion", "pointed", "includes", "icd9", "bare")
"""Where a text that stands for a code comes from."""
Rows = npt.NDArray[np.int64]
_FORMAT = "5"
_POINTED = re.compile(r"^(.{3,}?)\s*\(([^()]*)\)$")
# What a title says only to say that nothing more is known: "Pneumonia, unspecified organism" is pneumonia.
_BARE = re.compile(
    r", (?:unspecified|(?:site|type) not specified)(?: [a-z]+){0,3}$|(?<!with) unspecified$| of unspecified [a-z]+$"
    r"|^unspecified |, not elsewhere classified$|\([^)]*\)| without (?:mention of )?complications?$| NOS$",
    re.IGNORECASE,
)
_NOTHING_KNOWN = frozenset({"unspecified", "specified"})
_UNSPECIFIED = re.compile(r"\bunspecified\b|\bNOS\b", re.IGNORECASE)
_OTHER = re.compile(r"^other\b|\bother specified\b", re.IGNORECASE)
CANDIDATES = 150
SAID = slice(12, 15)
"""Columns of the features that a translation gives."""
FEATURES = (
    "best text", "title", "share found", "share with context", "parent", "child", "unspecified", "other", "depth",
    "has finer", "length", "same length", "said by title", "said with context", "title said",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A text that stands for the row of a code."""

    text: str
    row: int
    source: int


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row that fits a query: its score (a logit, comparable within one query) and the text that spoke for it."""

    row: int
    score: float
    text: str
    source: str
    cosine: float


def entries_of(store: Store, version: Version, inclusion: bool = True) -> Iterator[Entry]:
    """Yield the texts that stand for the categories and codes of a table; seventh characters add none.

    Args:
        store: The tables.
        version: Which table.
        inclusion: Also inclusion terms; off to measure how well codes are found without them.
    """
    begin, end = store.ranges[version]
    rows = [
        row for row in range(begin, end) if store.level[row] >= LEVELS.index("category") and not store.extended[row]
    ]
    for row in rows:
        yield Entry(store.texts[row], row, 0)
        bare = bare_of(store.texts[row])
        if bare != store.texts[row]:
            yield Entry(bare, row, 5)
    if version == "icd10cm":
        yield from _noted(store, rows, inclusion)
        yield from _succeeded(store)


def bare_of(title: str) -> str:
    """Return a title without "unspecified", "NOS" and remarks in brackets; as it is when nothing would be left."""
    bare = " ".join(_BARE.sub("", title).split())
    return bare if len(bare) > 3 else title


def key_of(found: Sequence[str]) -> str:
    """Return a text's words without order: texts with the same key say the same in other order."""
    return " ".join(sorted(set(found) - _NOTHING_KNOWN))


def _noted(store: Store, rows: Sequence[int], inclusion: bool) -> Iterator[Entry]:
    by_code = {store.codes[row]: row for row in rows}
    known = set(rows)
    for row, kind, note in store.all_notes():
        if kind == "inclusion" and inclusion and row in known:
            yield Entry(note, row, 1)
        elif kind == "includes" and row in known:
            yield Entry(note, row, 3)
        elif kind in ("excludes1", "excludes2", "code_also", "use_additional", "code_first"):
            found = _POINTED.match(note)
            named = references(found.group(2)) if found else ()
            # One code, and no range, is what the words before it mean.
            if found and len(named) == 1 and named[0][0] == named[0][1] and named[0][0] in by_code:
                yield Entry(found.group(1), by_code[named[0][0]], 2)


def _succeeded(store: Store) -> Iterator[Entry]:
    plain = {}
    for version in ("icd9cm", "icd10cm"):
        begin, end = store.ranges[version]
        plain[version] = {undotted(code): begin + at for at, code in enumerate(store.codes[begin:end])}
    targets: dict[str, list[str]] = {}
    for source, target in store.gem_pairs():
        targets.setdefault(source, []).append(target)
    for source, found in targets.items():
        title = plain["icd9cm"].get(source)
        for target in found if title is not None and len(found) <= 3 else ():
            row = plain["icd10cm"].get(target)
            if row is not None and title is not None:
                yield Entry(store.texts[title], int(store.parent[row]) if store.extended[row] else row, 4)


class Entries:
    """Many entries, sorted by row, made when they are asked for."""

    def __init__(self, texts: Sequence[str] | Strings, rows: Ints, sources: Ints) -> None:
        """Take the columns: n texts, (n,) ascending rows, (n,) sources."""
        self.texts, self.rows, self.sources = texts, rows, sources

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Entries:
        """Sort entries; equal ones count once."""
        held = sorted(set(entries), key=lambda entry: (entry.row, entry.source, entry.text))
        rows = np.array([entry.row for entry in held], dtype=np.int32)
        return cls([entry.text for entry in held], rows, np.array([entry.source for entry in held], dtype=np.int32))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.rows)

    def __getitem__(self, at: int) -> Entry:
        """Return one entry."""
        return Entry(self.texts[at], int(self.rows[at]), int(self.sources[at]))


def pairs_of(store: Store, version: Version) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yield (row, words said, words of the title) of what stands for a code in other words, to learn words from."""
    for entry in entries_of(store, version):
        if SOURCES[entry.source] in ("inclusion", "pointed", "icd9"):
            yield entry.row, words(entry.text), words(store.texts[entry.row])


def titles_of(store: Store, rows: Ints, index: Index) -> Titles:
    """Return the titles of a table's categories and codes, by their words.

    The facts are: unspecified, other, depth, has finer codes, number of words of the title.
    """
    said: dict[int, list[str]] = {}
    own, above = [], []
    has_finer = set(store.parent[rows].tolist())
    facts = np.zeros((len(rows), 5), dtype=np.float32)
    for at, row in enumerate(rows.tolist()):
        title = store.texts[row]
        own.append(words(title))
        context: list[str] = []
        over = row
        while (over := int(store.parent[over])) >= 0:
            context += said.setdefault(over, words(store.texts[over]))
        above.append(context)
        told = (_UNSPECIFIED.search(title) is not None, _OTHER.search(title) is not None)
        facts[at] = (*told, len(undotted(store.codes[row])) - 3, row in has_finer, np.log1p(len(title.split())))
    return Titles.of(own, above, facts, index)


class Searcher:
    """One table, ready to be searched by words. Read-only after it is made."""

    def __init__(
        self,
        store: Store,
        entries: Entries,
        index: Index,
        titles: Titles,
        translation: Translation,
        keys: Sequence[str] | Strings = (),
    ) -> None:
        """Take a table's parts.

        Args:
            store: The tables.
            entries: The texts that stand for the table's codes.
            index: Of their texts.
            titles: As `titles_of` gives them for the entries' distinct rows.
            translation: Which words may be said for words of the titles.
            keys: The entries' words as `key_of` gives them.
        """
        self.entries, self.index, self.titles, self.translation, self.keys = entries, index, titles, translation, keys
        self.rows, self._begins, node = np.unique(entries.rows, return_index=True, return_inverse=True)
        self._node: Ints = node.astype(np.int32)
        is_title = np.flatnonzero(entries.sources == 0)
        self._titles = np.zeros(len(self.rows), dtype=np.int32)
        self._titles[self._node[is_title]] = is_title
        above = store.parent[self.rows]
        at = np.minimum(np.searchsorted(self.rows, above), len(self.rows) - 1)
        self._above: Ints = np.where(self.rows[at] == above, at, -1).astype(np.int32)

    def features(self, query: str, limit: int = CANDIDATES) -> tuple[Rows, Floats, Ints, Floats]:
        """Return the nodes that may fit a query and what is known of each.

        Returns:
            (n,) int64 nodes (positions in `rows`), (n, len(FEATURES)) float32, (n,) int32 best text of each node,
            (n,) float32 its cosine; n is at most `limit`.
        """
        asked = words(query)
        cosine, share = self.index.match(asked)
        weak = cosine <= 0.05
        some = np.flatnonzero(~weak)
        best = np.maximum.reduceat(np.where(weak, 0, cosine), self._begins)
        found = np.maximum.reduceat(np.where(weak, 0, share), self._begins)
        above = np.where(self._above >= 0, best[self._above], 0)
        # A code whose own words are common may still be right when its heading fits well.
        prior = best + np.float32(0.3) * found + np.float32(0.2) * above
        count = min(limit, int((prior > 0).sum()))
        nodes = np.argpartition(-prior, count - 1)[:count] if count else np.zeros(0, dtype=np.int64)
        nodes = nodes[np.lexsort((nodes, -prior[nodes]))]
        child = np.zeros(len(self.rows), dtype=np.float32)
        has = (self._above >= 0) & (best > 0)
        np.maximum.at(child, self._above[has], best[has])
        texts, cosines = self._spoke(nodes, some, cosine)
        facts = self.titles.facts[nodes]
        table = np.zeros((len(nodes), len(FEATURES)), dtype=np.float32)
        table[:, 0], table[:, 1] = best[nodes], cosine[self._titles[nodes]]
        table[:, 2], table[:, 3] = found[nodes], self.titles.shared(asked, nodes, self.index)
        table[:, 4], table[:, 5] = above[nodes], child[nodes]
        table[:, 6:11] = facts
        length = np.log1p(len(query.split()))
        table[:, 11] = np.abs(facts[:, 4] - length)
        unspecified, other = _UNSPECIFIED.search(query) is not None, _OTHER.search(query) is not None
        table[:, 6] *= 1.0 + unspecified
        table[:, 7] *= 1.0 + other
        table[:, SAID] = self.titles.said(asked, nodes, self.index, self.translation)
        return nodes, table, texts, cosines

    def _spoke(self, nodes: Rows, some: Rows, cosine: Floats) -> tuple[Ints, Floats]:
        place = np.full(len(self.rows), -1, dtype=np.int32)
        place[nodes] = np.arange(len(nodes))
        held = some[place[self._node[some]] >= 0]
        order = held[np.argsort(cosine[held], kind="stable")]
        texts = self._titles[nodes].copy()
        texts[place[self._node[order]]] = order  # the last one written is the best
        return texts, cosine[texts]

    def rank(self, query: str, limit: int = 20) -> list[Ranked]:
        """Return the rows that fit a query best, the best first; none when no word is known."""
        nodes, table, texts, cosines = self.features(query)
        scores = shipped().score(table)
        order = np.lexsort((nodes, -scores))[:limit]
        out = []
        for at in order.tolist():
            entry = self.entries[int(texts[at])]
            row = int(self.rows[nodes[at]])
            out.append(Ranked(row, float(scores[at]), entry.text, SOURCES[entry.source], float(cosines[at])))
        return out


def open_searcher(store: Store, version: Version) -> Searcher:
    """Return the searcher of a table, building its index beside the tables when it is not there yet."""
    folder = store.folder / f"search-{version}-{_FORMAT}"
    build_once(folder, "search.json", lambda place: _write(store, version, place))
    with undamaged(folder, "search index"):
        name = f"{folder.name}/entries"
        numbers = (store.numbers(name, column, np.int32) for column in ("row", "source"))
        entries = Entries(store.strings(name, "text"), *numbers)
        parts = Index.load(folder), Titles.load(folder), Translation.load(folder)
        return Searcher(store, entries, *parts, store.strings(name, "key"))


def _write(store: Store, version: Version, place: Path) -> None:
    entries = Entries.of(entries_of(store, version))
    texts = entries.texts[:]
    write_columns(
        place / "entries.parquet",
        text=texts,
        row=entries.rows,
        source=entries.sources,
        key=[key_of(words(bare_of(text))) for text in texts],
    )
    index = Index.of(texts)
    index.save(place)
    titles_of(store, np.unique(entries.rows), index).save(place)
    pairs = ((said, title) for _, said, title in pairs_of(store, version))
    Translation.of(pairs, index.numbers).save(place)
    write_json(place / "search.json", {"entries": len(entries)})
