"""From words to codes: candidates by shared words, ranked by a few features with learnt weights.

A code is known by several texts: its own title, the inclusion terms at it, notes elsewhere that point to it ("plantar
wart (B07.0)"), the titles of the ICD-9 codes that it succeeded. The best of them speaks for the code. Context (titles
above it), specificity and "unspecified" or "other" in its title decide between codes that fit alike. The weights were
learnt by `benchmarks/icd_terms.py` from inclusion terms; its figure is measured with all inclusion terms taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medbench.codes_index import Floats, Index, Ints
from medbench.codes_naming import Version, undotted
from medbench.codes_references import references
from medbench.codes_store import LEVELS, Store, build_once, write_columns
from medbench.codes_words import words
from medbench.workspace import undamaged, write_json

SOURCES = ("title", "inclusion", "pointed", "includes", "icd9", "bare")
"""Where a text that stands for a code comes from."""
Rows = npt.NDArray[np.int64]
_FORMAT = "4"
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
FEATURES = (
    "best text", "title", "share found", "share with context", "parent", "child", "unspecified", "other", "depth",
    "has finer", "length", "same length",
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


class Searcher:
    """One table, ready to be searched by words. Read-only after it is made."""

    def __init__(self, store: Store, entries: Sequence[Entry], index: Index, keys: Sequence[str] = ()) -> None:
        """Take the tables, the texts that stand for its codes, their index, and their words as `key_of` gives them."""
        self._store, self.entries, self.index, self.keys = store, entries, index, keys
        self.rows = np.unique(np.array([entry.row for entry in entries], dtype=np.int32))
        self._node = np.searchsorted(self.rows, [entry.row for entry in entries]).astype(np.int32)
        self._is_title = np.array([entry.source == 0 for entry in entries])
        self._titles = np.zeros(len(self.rows), dtype=np.int32)
        self._titles[self._node[self._is_title]] = np.flatnonzero(self._is_title)
        above = store.parent[self.rows]
        at = np.minimum(np.searchsorted(self.rows, above), len(self.rows) - 1)
        self._above: Ints = np.where(self.rows[at] == above, at, -1).astype(np.int32)

    @cached_property
    def _facts(self) -> Floats:
        """(n_nodes, 5) float32: unspecified, other, depth, has finer codes, number of words of the title."""
        titles = [self.entries[at].text for at in self._titles.tolist()]
        facts = np.zeros((len(titles), 5), dtype=np.float32)
        facts[:, 0] = [_UNSPECIFIED.search(title) is not None for title in titles]
        facts[:, 1] = [_OTHER.search(title) is not None for title in titles]
        facts[:, 2] = [len(undotted(self._store.codes[row])) - 3 for row in self.rows.tolist()]
        has_finer = np.zeros(len(titles), dtype=bool)
        has_finer[self._above[self._above >= 0]] = True
        facts[:, 3] = has_finer
        facts[:, 4] = [np.log1p(len(title.split())) for title in titles]
        return facts

    def features(self, query: str, limit: int = CANDIDATES) -> tuple[Rows, Floats, Ints, Floats]:
        """Return the nodes that may fit a query and what is known of each.

        Returns:
            (n,) int64 nodes (positions in `rows`), (n, len(FEATURES)) float32, (n,) int32 best text of each node,
            (n,) float32 its cosine; n is at most `limit`.
        """
        asked = words(query)
        cosine, share = self.index.match(asked)
        some = np.flatnonzero(cosine > 0.05)
        best = np.zeros(len(self.rows), dtype=np.float32)
        np.maximum.at(best, self._node[some], cosine[some])
        found = np.zeros(len(self.rows), dtype=np.float32)
        np.maximum.at(found, self._node[some], share[some])
        above = np.where(self._above >= 0, best[self._above], 0)
        # A code whose own words are common may still be right when its heading fits well.
        prior = best + np.float32(0.3) * found + np.float32(0.2) * above
        count = min(limit, int((prior > 0).sum()))
        nodes = np.argpartition(-prior, count - 1)[:count] if count else np.zeros(0, dtype=np.int64)
        nodes = nodes[np.lexsort((nodes, -prior[nodes]))]
        child = np.zeros(len(self.rows), dtype=np.float32)
        has = self._above >= 0
        np.maximum.at(child, self._above[has], best[has])
        texts, cosines = self._spoke(nodes, some, cosine)
        table = np.zeros((len(nodes), len(FEATURES)), dtype=np.float32)
        table[:, 0], table[:, 1] = best[nodes], cosine[self._titles[nodes]]
        table[:, 2], table[:, 3] = found[nodes], self._with_context(asked, nodes)
        table[:, 4], table[:, 5] = above[nodes], child[nodes]
        table[:, 6:11] = self._facts[nodes]
        length = np.log1p(len(query.split()))
        table[:, 11] = np.abs(self._facts[nodes, 4] - length)
        unspecified, other = _UNSPECIFIED.search(query) is not None, _OTHER.search(query) is not None
        table[:, 6] *= 1.0 + unspecified
        table[:, 7] *= 1.0 + other
        return nodes, table, texts, cosines

    def _spoke(self, nodes: Rows, some: Rows, cosine: Floats) -> tuple[Ints, Floats]:
        place = np.full(len(self.rows), -1, dtype=np.int32)
        place[nodes] = np.arange(len(nodes))
        held = some[place[self._node[some]] >= 0]
        order = held[np.argsort(cosine[held], kind="stable")]
        texts = self._titles[nodes].copy()
        texts[place[self._node[order]]] = order  # the last one written is the best
        return texts, cosine[texts]

    def _with_context(self, asked: Sequence[str], nodes: Rows) -> Floats:
        """Return (n,) share of the query's rarity found in a node's texts or in the titles above it."""
        out = np.zeros(len(nodes), dtype=np.float32)
        weights = {word: self.index.weight(word) for word in dict.fromkeys(asked)}
        total = sum(weights.values()) or 1.0
        for at, node in enumerate(nodes.tolist()):
            bag = self._bag(node)
            out[at] = sum(weight for word, weight in weights.items() if word in bag) / total
        return out

    def _bag(self, node: int) -> frozenset[str]:
        bags: dict[int, frozenset[str]] = self.__dict__.setdefault("_bags", {})
        if node not in bags:
            row = int(self.rows[node])
            said = words(self._store.texts[row])
            while (row := int(self._store.parent[row])) >= 0:
                said += words(self._store.texts[row])
            bags[node] = frozenset(said)
        return bags[node]

    def rank(self, query: str, limit: int = 20) -> list[Ranked]:
        """Return the rows that fit a query best, the best first; none when no word is known."""
        nodes, table, texts, cosines = self.features(query)
        scores = table @ WEIGHTS
        order = np.lexsort((nodes, -scores))[:limit]
        out = []
        for at in order.tolist():
            entry = self.entries[int(texts[at])]
            row = int(self.rows[nodes[at]])
            out.append(Ranked(row, float(scores[at]), entry.text, SOURCES[entry.source], float(cosines[at])))
        return out


WEIGHTS: Floats = np.array(
    [4.95, -1.34, 6.96, 4.09, 2.85, 0.67, -0.13, 0.48, -0.71, -0.96, -1.22, -0.60], dtype=np.float32
)
"""(len(FEATURES),) learnt by `benchmarks/icd_terms.py --learn`."""


def open_searcher(store: Store, version: Version) -> Searcher:
    """Return the searcher of a table, building its index beside the tables when it is not there yet."""
    folder = store.folder / f"search-{version}-{_FORMAT}"
    build_once(folder, "search.json", lambda place: _write(store, version, place))
    with undamaged(folder, "search index"):
        texts, rows, sources, keys = store.columns_of(folder / "entries.parquet")
        entries = [Entry(text, row, source) for text, row, source in zip(texts, rows, sources, strict=True)]
        return Searcher(store, entries, Index.load(folder), keys)


def _write(store: Store, version: Version, place: Path) -> None:
    entries = sorted(set(entries_of(store, version)), key=lambda entry: (entry.row, entry.source, entry.text))
    write_columns(
        place / "entries.parquet",
        text=[entry.text for entry in entries],
        row=np.array([entry.row for entry in entries], dtype=np.int32),
        source=np.array([entry.source for entry in entries], dtype=np.int32),
        key=[key_of(words(bare_of(entry.text))) for entry in entries],
    )
    Index.of([entry.text for entry in entries]).save(place)
    write_json(place / "search.json", {"entries": len(entries)})
