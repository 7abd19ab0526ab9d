"""How well the words of a query and the words of a code's title agree, in place and with the titles above it.

All words are numbers of a `codes_index.Index`; rows are padded with the number one past its last word. The file,
`titles.npz`, is written by `Titles.save`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.codes_index import Floats, Index
from medbench.codes_translation import Translation

OWN, ABOVE = 24, 48
"""Words kept of a title and of all titles above it: more than all but a handful have."""


@dataclass(frozen=True)
class Titles:
    """The titles of a table's n categories and codes. Read-only.

    Attributes:
        own: (n, OWN) words of the title.
        above: (n, ABOVE) words of the titles above it, the nearest first.
        facts: (n, n_facts) float32, what the search wants to know of a title whatever the query.
    """

    own: npt.NDArray[Any]
    above: npt.NDArray[Any]
    facts: Floats

    @classmethod
    def of(cls, own: Sequence[Sequence[str]], above: Sequence[Sequence[str]], facts: Floats, index: Index) -> Titles:
        """Take the words of the titles, and of those above them, as `codes_words.words` gives them."""
        return cls(_padded(own, OWN, index), _padded(above, ABOVE, index), facts)

    def save(self, folder: Path) -> None:
        """Write the file into an existing folder."""
        np.savez(folder / "titles.npz", allow_pickle=False, own=self.own, above=self.above, facts=self.facts)

    @classmethod
    def load(cls, folder: Path) -> Titles:
        """Read what `save` wrote."""
        with np.load(folder / "titles.npz", allow_pickle=False) as file:
            return cls(file["own"], file["above"], file["facts"])

    def shared(self, asked: Sequence[str], nodes: npt.NDArray[np.int64], index: Index) -> Floats:
        """Return (n_nodes,) the share of the query's rarity that stands in the title or above it, word for word."""
        distinct = list(dict.fromkeys(asked))
        rarity = np.array([index.weight(word) for word in distinct], dtype=np.float32)
        same = np.zeros((len(distinct), len(index.terms) + 1), dtype=np.float32)
        for at, word in enumerate(distinct):
            if (known := index.numbers.get(word)) is not None:
                same[at, known] = 1
        found = np.maximum(_best(same, self.own[nodes]), _best(same, self.above[nodes]))
        return _share(rarity, found)

    def said(
        self, asked: Sequence[str], nodes: npt.NDArray[np.int64], index: Index, translation: Translation
    ) -> Floats:
        """Return (n_nodes, 3) float32 how well query and title agree when words may stand for others.

        The columns, all in [0, 1]: the share of the query's rarity that the title says; the same with the titles above
        it; the share of the title's rarity that the query says.
        """
        distinct = list(dict.fromkeys(asked))
        rarity = np.array([index.weight(word) for word in distinct], dtype=np.float32)
        meant = np.zeros((len(distinct), len(index.terms) + 1), dtype=np.float32)
        for at, word in enumerate(distinct):
            targets, likeness = translation.meanings(word)
            meant[at, targets] = likeness
            if (known := index.numbers.get(word)) is not None:
                meant[at, known] = 1
        own = self.own[nodes]
        found = _best(meant, own)
        around = np.maximum(found, _best(meant, self.above[nodes]))
        title = np.append(index.rarity, np.float32(0))[own]
        covered = (meant.max(axis=0, initial=0)[own] * title).sum(axis=1) / np.maximum(title.sum(axis=1), 1e-6)
        return np.stack([_share(rarity, found), _share(rarity, around), covered], axis=1).astype(np.float32)


def _best(meant: Floats, rows: npt.NDArray[Any]) -> Floats:
    """Return (n_asked, n_rows): how well each asked word is met by the best word of each row."""
    out = np.zeros((len(meant), len(rows)), dtype=np.float32)
    for at, likeness in enumerate(meant):
        out[at] = likeness[rows].max(axis=1, initial=0)
    return out


def _share(rarity: Floats, found: Floats) -> Floats:
    out: Floats = (rarity @ found / max(float(rarity.sum()), 1e-6)).astype(np.float32)
    return out


def _padded(texts: Sequence[Sequence[str]], width: int, index: Index) -> npt.NDArray[Any]:
    empty = len(index.terms)
    out = np.full((len(texts), width), empty, dtype=np.min_scalar_type(empty))
    for at, text in enumerate(texts):
        known = [found for word in dict.fromkeys(text) if (found := index.numbers.get(word)) is not None][:width]
        out[at, : len(known)] = known
    return out
