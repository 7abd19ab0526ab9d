"""What a starter may tell of the lesions it learnt from: facts and a small vector of each, but no picture.

    lesions.npz    picture ids, lesion ids, diagnoses and how they were confirmed; each picture's vector in 128 bytes

Pictures of most collections may not be passed on; which lesion looks alike, and what it turned out to be, may. Where a
dataset with the same pictures has been imported, they are shown from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import datasets
from medbench.picture_facts import confirmation
from medbench.workspace import Workspace, replacing, undamaged

FILE = "lesions.npz"
SIZE = 128
"""Principal components kept of a vector, one byte each. They all have one step, so that components which vary little
take few different values: compressed, they cost next to nothing."""
MOST = 9_000
"""Pictures told of; so the file stays under a megabyte."""
_TOP = 127  # the largest signed byte
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ShippedLesions:
    """Training pictures as facts.

    Attributes:
        ids: n picture ids.
        lesions: n lesion ids, "" where unknown.
        labels: n diagnoses.
        mean: (d,) float32, mean of the vectors.
        axes: (k, d) float32, their principal axes.
        step: What one unit of a code stands for.
        codes: (n, k) int8.
        confirmed: n words on how the diagnosis was confirmed (`picture_facts.confirmation`); empty when none is known.
    """

    ids: tuple[str, ...]
    lesions: tuple[str, ...]
    labels: tuple[str, ...]
    mean: Floats
    axes: Floats
    step: float
    codes: npt.NDArray[np.int8]
    confirmed: tuple[str, ...] = ()

    def similarity(self, vector: Floats) -> Floats:
        """Return (n,) cosine similarities of a (d,) vector of length 1 to the pictures, as far as the codes tell.

        The vector asked about is not coded itself: its product with a coded one is exact but for the axes left out.
        """
        near = (self.axes @ vector) * np.float32(self.step)
        found = self.codes.astype(np.float32) @ near + np.float32(self.mean @ vector)
        return np.asarray(found.clip(-1, 1), dtype=np.float32)

    def nearest(self, vector: Floats, count: int) -> list[tuple[int, float]]:
        """Return (position, similarity) of the most similar pictures, one of each lesion, most similar first."""
        similarity = self.similarity(vector)
        found: list[tuple[int, float]] = []
        seen: set[str] = set()
        for at in np.argsort(-similarity, kind="stable").tolist():
            lesion = self.lesions[at] or self.ids[at]
            if lesion not in seen:
                seen.add(lesion)
                found.append((at, float(similarity[at])))
            if len(found) == count:
                break
        return found


def coded(ids: Sequence[str], lesions: Sequence[str], labels: Sequence[str], vectors: Floats) -> ShippedLesions:
    """Return pictures as facts, their vectors reduced to 128 principal components of a byte each.

    Args:
        ids: n picture ids.
        lesions: n lesion ids.
        labels: n diagnoses.
        vectors: (n, d) float32 of length 1.
    """
    mean = vectors.mean(axis=0)
    centred = (vectors - mean).astype(np.float64)
    _, columns = np.linalg.eigh(centred.T @ centred)  # ascending: the last columns carry the most variance
    # What lies on disk is what is used: the mean in half precision, the axes in bytes.
    axes = _bytes_of(columns[:, ::-1][:, :SIZE].T)[1]
    reduced = centred @ axes.T.astype(np.float64)
    step = max(float(np.abs(reduced).max(initial=0)), 1e-12) / _TOP
    codes = np.round(reduced / step).astype(np.int8)
    mean = mean.astype(np.float16).astype(np.float32)
    return ShippedLesions(tuple(ids), tuple(lesions), tuple(labels), mean, axes, step, codes)


def _bytes_of(axes: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int8], Floats, Floats]:
    """Return (k, d) axes as bytes, as what these stand for, and the (k, 1) value of a byte's unit."""
    unit = np.maximum(np.abs(axes).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / _TOP
    codes = np.round(axes / unit).astype(np.int8)
    return codes, (codes * unit).astype(np.float32), unit


def save(folder: Path, lesions: ShippedLesions) -> None:
    """Write lesions.npz."""
    words = {name: _packed(getattr(lesions, name)) for name in ("ids", "lesions", "labels", "confirmed")}
    codes, _, unit = _bytes_of(lesions.axes)
    with replacing(folder / FILE) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            mean=lesions.mean.astype(np.float16),
            axes=codes,
            unit=unit,
            step=np.float64(lesions.step),
            codes=np.ascontiguousarray(lesions.codes.T),  # one axis after the other compresses better
            **words,
        )


def load(folder: Path) -> ShippedLesions | None:
    """Return what `save` wrote; None when the model tells nothing of its pictures.

    Raises:
        MedbenchError: The file is damaged.
    """
    path = folder / FILE
    return _loaded(path, path.stat().st_mtime_ns) if path.exists() else None


@lru_cache(maxsize=2)
def _loaded(path: Path, changed: int) -> ShippedLesions:
    with undamaged(path.parent, "model"), np.load(path, allow_pickle=False) as stored:
        ids, lesions, labels = (_unpacked(stored[name]) for name in ("ids", "lesions", "labels"))
        axes, codes = stored["axes"] * stored["unit"], np.ascontiguousarray(stored["codes"].T)
        mean = stored["mean"].astype(np.float32)
        confirmed = _unpacked(stored["confirmed"]) if "confirmed" in stored.files else ()
        whole = confirmed if len(confirmed) == len(ids) else ()
        return ShippedLesions(ids, lesions, labels, mean, axes.astype(np.float32), float(stored["step"]), codes, whole)


def _packed(words: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return words as bytes of lines: a tenth of what an array of strings takes."""
    return np.frombuffer("\n".join(word.replace("\n", " ") for word in words).encode(), dtype=np.uint8)


def _unpacked(stored: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(stored.tobytes().decode().split("\n"))


def of_training(workspace: Workspace, card: Mapping[str, Any], model: Any) -> ShippedLesions | None:
    """Return the pictures a model learnt from as facts; None when their dataset is not here or names no diagnosis.

    Args:
        workspace: Where the dataset lies.
        card: The model's card.
        model: The model, which is asked for the vectors.
    """
    known = {str(found["id"]) for found in datasets.list_datasets(workspace)}
    if card["dataset"]["id"] not in known:
        return None
    dataset = datasets.load(workspace, str(card["dataset"]["id"]))
    splits = card["learnt_from"]["splits"]
    examples, positions = dataset.examples(*splits), dataset.positions(*splits)
    every = np.unique(np.linspace(0, len(positions) - 1, min(MOST, len(positions))).round().astype(int))
    rows = dataset.rows(positions[every].tolist())
    vectors = model.embed([examples.items[at] for at in every])
    lesions, labels = [str(row["group"] or "") for row in rows], ["; ".join(row["labels"]) for row in rows]
    if not rows:
        return None
    told = tuple(confirmation(row) for row in rows)
    found = coded([str(row["id"]) for row in rows], lesions, labels, vectors)
    return replace(found, confirmed=told if any(told) else ())


def pictures_here(workspace: Workspace, asked: Mapping[str, str]) -> dict[str, Path]:
    """Return picture id -> where it lies, for those that a dataset of this workspace holds with the same diagnosis.

    Args:
        workspace: Whose datasets are searched.
        asked: Picture id -> diagnosis.
    """
    found: dict[str, Path] = {}
    for card in datasets.list_datasets(workspace):
        missing = [name for name in asked if name not in found]
        if not missing or card.get("item") != "image":
            continue
        dataset = datasets.load(workspace, str(card["id"]))
        for row in dataset.with_ids(missing):
            place = dataset.folder / str(row["image"])
            if "; ".join(row["labels"]) == asked[str(row["id"])] and place.is_file():
                found[str(row["id"])] = place
    return found
