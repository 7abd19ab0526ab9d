"""What the tables themselves teach about words: "panacinar" at a code titled "panlobular" means it may be said for it.

Inclusion terms say in other words what their code's title says, and so do titles of ICD-9 codes and notes that point
to a code. From such pairs the chance that a word of a title is said as another word is learnt by the first of the
translation models of Brown et al. (1993, Computational Linguistics 19:2): expectation and maximisation over which
title word stands behind each said word, a word that stands for none included. Files, written by `Translation.save`:

    translation.npz    sources → title words with likeness, all numbers
    said.txt           the words said, one a line, in the order of their numbers
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
_ROUNDS = 8
_SAME = 1.0  # imagined sightings of every word said as itself
_OTHER = 1.0  # and of every title word said as something not seen
_BY_CHANCE = 3.0  # how much more often than seen a word is taken to come up whatever the title
_RARE = 1e-3
_LEAST = 0.02  # likeness under which a pair is forgotten


class Translation:
    """How likely a word that was said stands for a word of a title. Read-only, so threads may share it.

    Attributes:
        said: The words that may be said.
        starts: (n + 1,) int32, where a said word's pairs begin.
        targets: (n_pairs,) int32, numbers of title words.
        likeness: (n_pairs,) float32 in (0, 1): the chance that the word was said for the title word, not at random.
    """

    def __init__(self, said: Sequence[str], starts: Ints, targets: Ints, likeness: Floats) -> None:
        """Take the arrays; see the class."""
        self.said, self.starts, self.targets, self.likeness = list(said), starts, targets, likeness
        self._place = {word: at for at, word in enumerate(self.said)}

    @classmethod
    def of(cls, pairs: Iterable[tuple[Sequence[str], Sequence[str]]], number: Mapping[str, int]) -> Translation:
        """Learn from pairs of (words said, words of the title).

        Args:
            pairs: Both sides as `codes_words.words` gives them; title words without a number are left out.
            number: Numbers of the title words, 0 and up.
        """
        nothing = max(number.values(), default=-1) + 1  # the title word behind words that no title word explains
        place: dict[str, int] = {}
        links: list[tuple[int, int, int]] = []
        sayings = 0
        for said, title in pairs:
            known = [number[word] for word in dict.fromkeys(title) if word in number]
            for word in dict.fromkeys(said):
                at = place.setdefault(word, len(place))
                links += [(target, at, sayings) for target in (*known, nothing)]
                sayings += 1
        if not links:
            return cls([], np.zeros(1, dtype=np.int32), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32))
        target, source, saying = np.array(links, dtype=np.int64).T
        words = list(place)
        keys, link = np.unique(source * (nothing + 1) + target, return_inverse=True)
        sources, targets = keys // (nothing + 1), keys % (nothing + 1)
        numbers = np.array([number.get(word, -1) for word in words])
        chance = _chances(link, saying, targets, numbers[sources] == targets)
        by_chance = np.zeros(len(words))
        alone = targets == nothing
        by_chance[sources[alone]] = chance[alone]
        likeness = chance / (chance + _BY_CHANCE * by_chance[sources] + _RARE)
        kept = ~alone & (likeness >= _LEAST)
        starts = np.searchsorted(sources[kept], np.arange(len(words) + 1)).astype(np.int32)
        return cls(words, starts, targets[kept].astype(np.int32), likeness[kept].astype(np.float32))

    def meanings(self, word: str) -> tuple[Ints, Floats]:
        """Return (n,) numbers of the title words that a word may be said for, and (n,) how likely each is, 0-1."""
        at = self._place.get(word)
        begin, end = (0, 0) if at is None else (self.starts[at], self.starts[at + 1])
        return self.targets[begin:end], self.likeness[begin:end]

    def save(self, folder: Path) -> None:
        """Write the files into an existing folder."""
        arrays = {name: getattr(self, name) for name in ("starts", "targets", "likeness")}
        np.savez(folder / "translation.npz", allow_pickle=False, **arrays)
        (folder / "said.txt").write_text("\n".join(self.said), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Translation:
        """Read what `save` wrote."""
        with np.load(folder / "translation.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("starts", "targets", "likeness")}
        return cls((folder / "said.txt").read_text(encoding="utf-8").split("\n"), **arrays)


def _chances(
    link: npt.NDArray[np.int64],
    saying: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    same: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Return the chance of every pair: that its title word, when it stands in a title, is said as its said word.

    Args:
        link: (n_links,) the pair that each link between a said and a title word is one of.
        saying: (n_links,) number of the said word's place; its links share it.
        targets: (n_pairs,) the pair's title word.
        same: (n_pairs,) whether both are the same word: they begin as likely to be meant.
    """
    chance = np.where(same, 1.0, 0.05)
    for _ in range(_ROUNDS):
        weight = chance[link]
        shares = weight / np.bincount(saying, weight)[saying]
        count = np.bincount(link, shares, len(chance)) + _SAME * same
        chance = count / (np.bincount(targets, count) + _OTHER)[targets]
    return chance
