"""The "unlike the training data" detector: where an item lies in a model's own space, and how a text is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from medbench import manner
from medbench.manner import Manner, manner_from

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32] | None
RATE: Final = 0.01
"""Share of items like the training items that may be called unlike them."""
PLACE, MANNER = 0.2, 0.8
"""What of the rate is given to where a text lies and to how it is written; the second notices more."""
_CENTROIDS = 64
_NEAREST = 5
_SAMPLE = 20_000


@dataclass(frozen=True)
class Stranger:
    """Tells how far an item lies from the training data.

    Attributes:
        centroids: (k, d) float32, k <= 64, row-normalised centres of the training items' vectors; none (k = 0) where
            a model has no vectors.
        reference: (101,) float64, percentiles of the validation items' distances.
        limit: Distance above which an item is called unlike the training data.
        manner: How the training texts are written; None for pictures, of few texts, and in models from before it.
    """

    centroids: npt.NDArray[np.float32]
    reference: Floats
    limit: float
    manner: Manner | None = None

    def distance(self, embeddings: npt.NDArray[np.float32]) -> Floats:
        """Return (n,) float64 in [0, 2]: 1 minus the mean cosine with the 5 nearest centroids."""
        near = min(_NEAREST, len(self.centroids))
        cosine = np.asarray(embeddings, dtype=np.float32) @ self.centroids.T
        return np.asarray(1 - np.partition(cosine, -near, axis=1)[:, -near:].mean(axis=1, dtype=np.float64))

    def look(self, embeddings: npt.NDArray[np.float32], texts: Sequence[str] = ()) -> Sight:
        """Return what is strange about items.

        Args:
            embeddings: (n, d) vectors of the items.
            texts: The n items, where they are texts; else nothing is said of their manner.
        """
        place = _sight(self.distance(embeddings), self.reference, self.limit) if len(self.centroids) else None
        if self.manner is None or not len(texts):
            nothing = np.zeros(len(embeddings))
            return place or Sight(nothing, nothing, nothing > 0)
        written = _sight(self.manner.unusual(texts), self.manner.reference, self.manner.limit)
        if place is None:
            return written
        unlike = place.unlike | written.unlike
        beyond = np.minimum((1 - place.unlikeness) / PLACE, (1 - written.unlikeness) / MANNER)
        unlikeness = 1 - np.minimum(beyond, 1)
        unlikeness = np.where(unlike, np.maximum(unlikeness, 1 - RATE), np.minimum(unlikeness, 1 - RATE))
        return Sight(np.maximum(place.strangeness, written.strangeness), unlikeness, unlike)

    def why(self, embeddings: npt.NDArray[np.float32], text: str) -> str:
        """Return in words why one text is called unlike the training data; "" where it is not.

        Args:
            embeddings: (1, d) its vector.
            text: The text.
        """
        told = []
        if self.manner is not None and self.manner.unusual([text])[0] > self.manner.limit:
            differs = self.manner.differs(text)
            told.append("It is written otherwise than the training texts" + (f": {differs}." if differs else "."))
        if len(self.centroids) and self.distance(embeddings)[0] > self.limit:
            told.append("It is about something else than the training texts.")
        return " ".join(told)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `stranger_from` needs beside the limit."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        if len(self.centroids):
            arrays = {"centroids": self.centroids.astype(np.float16), "reference": self.reference}
        if self.manner is not None:
            arrays |= {f"manner.{name}": value for name, value in self.manner.arrays().items()}
        return arrays


@dataclass(frozen=True, slots=True)
class Sight:
    """What is strange about n items.

    Two things may be strange: where an item lies and how it is written. Their limits are passed by the shares `PLACE`
    and `MANNER` of `RATE`, so that both together keep to it (weighted Bonferroni).

    Attributes:
        strangeness: (n,) float64, the larger of the two, each from its median over training-like items (0) to its
            limit (1): what items are ranked by.
        unlikeness: (n,) float64, 0 (typical) to 1 (stranger than all items it was checked on).
        unlike: (n,) bool: beyond a limit in one of the two.
    """

    strangeness: Floats
    unlikeness: Floats
    unlike: npt.NDArray[np.bool_]


def _sight(found: Floats, reference: Floats, limit: float) -> Sight:
    middle = float(np.median(reference))
    share = np.interp(found, reference, np.linspace(0, 1, len(reference)))
    return Sight(np.asarray((found - middle) / max(limit - middle, 1e-9)), share, found > limit)


def stranger_from(arrays: Mapping[str, npt.NDArray[Any]], limit: float | None) -> Stranger | None:
    """Return what `Stranger.arrays` wrote; None when there was none. Raises KeyError or ValueError when damaged."""
    head = "manner."
    written = {name.removeprefix(head): value for name, value in arrays.items() if name.startswith(head)}
    found = manner_from(written) if written else None
    if "centroids" in arrays and limit is not None:
        return Stranger(arrays["centroids"].astype(np.float32), arrays["reference"], float(limit), found)
    return None if found is None else replace(NOWHERE, manner=found)


NOWHERE: Final = Stranger(np.zeros((0, 0), dtype=np.float32), np.zeros(2), 0.0)
"""Finds nothing strange."""


def fit_stranger(train: Vectors, validation: Vectors, rng: np.random.Generator, rate: float = RATE) -> Stranger | None:
    """Fit where training items lie.

    Args:
        train: (m, d) row-normalised vectors of training items.
        validation: (v, d) vectors of other items from the same model: vectors of two fits do not live in one space.
        rng: Draws the first centres.
        rate: Share of the other items that may lie beyond the limit, 0-1.

    Returns:
        The detector, or None when either side has no vectors.
    """
    if train is None or validation is None or not len(train) or not len(validation) or not train.shape[1]:
        return None
    stranger = Stranger(_centroids(train, rng), np.zeros(2), 0.0)
    distance = stranger.distance(validation)
    reference = np.quantile(distance, np.linspace(0, 1, 101))
    return Stranger(stranger.centroids, reference, float(np.quantile(distance, 1 - rate, method="higher")))


def with_manner(place: Stranger | None, texts: Sequence[str], groups: Sequence[str] = ()) -> Stranger | None:
    """Return the detector of texts: where they lie and how they are written.

    Args:
        place: Where they lie, its limit passed by `PLACE` of `RATE`; None where a model has no vectors.
        texts: What the model learnt from.
        groups: One key for each text: those of one group are not independent.
    """
    found = manner.fit(texts, RATE if place is None else MANNER * RATE, groups)
    return place if found is None else replace(place or NOWHERE, manner=found)


def _centroids(vectors: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return at most 64 row-normalised centres: spherical k-means (Dhillon & Modha 2001) on at most 20,000 items."""
    vectors = vectors[np.linalg.norm(vectors, axis=1) > 0]  # items without a known word have no direction
    if not len(vectors):
        return np.zeros((1, vectors.shape[1]), dtype=np.float32)
    if len(vectors) > _SAMPLE:
        vectors = vectors[rng.choice(len(vectors), _SAMPLE, replace=False)]
    number = max(1, min(_CENTROIDS, len(vectors) // 5))
    centres = vectors[rng.choice(len(vectors), number, replace=False)].astype(np.float32)
    for _ in range(20):
        nearest = (vectors @ centres.T).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, vectors)
        norm = np.linalg.norm(sums, axis=1, keepdims=True)
        moved = np.where(norm > 0, sums / np.maximum(norm, 1e-12), centres).astype(np.float32)
        settled = np.allclose(moved, centres, atol=1e-4)
        centres = moved
        if settled:
            break
    # What is on disk is what is used: half precision, here and after loading.
    return np.asarray(centres.astype(np.float16).astype(np.float32))
