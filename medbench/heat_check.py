"""Does a heat map depend on what the network learnt? The same maps drawn with random weights, compared once a model.

The parameter-randomisation check of Adebayo et al. (2018): a map that stays nearly the same when every weight is drawn
anew shows edges and brightness of the picture, whatever the network knows. The worker makes the check at the end of a
training, `ensure` for older models; either leaves `heat_check.json` in the model's folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from medbench import datasets
from medbench.lesion_heat import Heat, heat_of
from medbench.lesion_photo import stretched
from medbench.predicting import Loaded
from medbench.records import Examples, Explanation, Scores
from medbench.workspace import Workspace, read_json, write_json

FILE = "heat_check.json"
VERSION = 1
PICTURES, NETWORKS = 20, 3
CHANGED, ALIKE = 0.3, 0.6
"""Rank correlations below which a map changes, and from which on it hardly does."""
_SIDE = 64  # pixels at which the structural similarity is measured
_WINDOW, _K1, _K2 = 1.5, 0.01, 0.03  # Wang et al. 2004
Tell = Callable[[float], None]
_log = logging.getLogger("medbench.heat_check")
_unwritten: dict[Path, dict[str, HeatCheck]] = {}  # checks of models whose folder may not be written


@runtime_checkable
class Checkable(Protocol):
    """A model of pictures whose weights can be drawn anew."""

    def scores(self, items: Sequence[str]) -> Scores:
        """Return (n, L) scores."""

    def heat(self, item: str, label: str, method: str = ...) -> Explanation:
        """Return a heat map stretched over the whole picture."""

    def methods(self) -> tuple[str, ...]:
        """Return the heat-map methods that fit."""

    def randomised(self, seed: int = ...) -> Checkable:
        """Return the same network with random weights."""


@dataclass(frozen=True, slots=True)
class HeatCheck:
    """How much a method's maps keep of themselves when the weights are random.

    Attributes:
        method: The heat-map method.
        correlation: Spearman's rank correlation of the cells of both maps, mean over pictures and random networks.
        ssim: Structural similarity of both maps (Wang et al. 2004), likewise; 1 for equal maps.
        pictures: Pictures it was measured on, a count.
        networks: Random networks, a count.
    """

    method: str
    correlation: float
    ssim: float
    pictures: int
    networks: int

    @property
    def sentence(self) -> str:
        """What it means, in one plain sentence."""
        figure = f"(rank correlation {self.correlation:.2f} over {self.pictures} pictures)"
        if self.correlation < CHANGED:
            return f"With random weights the map changes {figure}: it depends on what the network learnt."
        if self.correlation < ALIKE:
            return f"With random weights the map changes only in part {figure}: it also shows plain edges and blobs."
        return (
            f"With random weights the map hardly changes {figure}: it shows the picture, not what the network learnt."
        )

    def as_json(self) -> dict[str, Any]:
        """Return the figures with their sentence; JSON-ready."""
        return {**asdict(self), "sentence": self.sentence}


def measure(model: Checkable, items: Sequence[str], labels: Sequence[str], tell: Tell | None = None) -> list[HeatCheck]:
    """Compare a model's maps of its own answers with those of random networks; one check for each method.

    Args:
        model: The trained model.
        items: Pictures (`records.join_image`) it did not learn from, some twenty.
        labels: Its labels.
        tell: Told the share done, 0-1.
    """
    twins = [model.randomised(seed) for seed in range(NETWORKS)]
    said = [labels[int(column)] for column in model.scores(items).argmax(axis=1)]
    methods = model.methods()
    found: dict[str, list[tuple[float, float]]] = {method: [] for method in methods}
    for at, (item, label) in enumerate(zip(items, said, strict=True)):
        for method in methods:
            own = heat_of(model.heat(item, label, method))
            for twin in twins if own.max() > own.min() else []:  # an empty map has nothing to keep
                other = heat_of(twin.heat(item, label, method))
                found[method].append((rank_correlation(own, other), structural_similarity(own, other)))
        if tell is not None:
            tell((at + 1) / len(items))
    return [_summed(method, pairs) for method, pairs in found.items() if pairs]


def _summed(method: str, pairs: Sequence[tuple[float, float]]) -> HeatCheck:
    correlation, ssim = (round(float(value), 4) for value in np.mean(pairs, axis=0))
    return HeatCheck(method, correlation, ssim, len(pairs) // NETWORKS, NETWORKS)


def rank_correlation(one: Heat, other: Heat) -> float:
    """Return Spearman's rank correlation of two (h, w) maps' cells; 0 when one of them is flat."""
    from scipy.stats import rankdata

    ranks = [rankdata(part).astype(np.float64) for part in (one, other)]
    ranks = [part - part.mean() for part in ranks]
    length = float(np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1]))
    return float(ranks[0].ravel() @ ranks[1].ravel()) / length if length > 0 else 0.0


def structural_similarity(one: Heat, other: Heat) -> float:
    """Return the mean structural similarity (Wang et al. 2004) of two maps in [0, 1], stretched to 64 x 64."""
    from scipy.ndimage import gaussian_filter

    def smooth(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(gaussian_filter(values, _WINDOW), dtype=np.float64)

    a, b = (stretched(part, (_SIDE, _SIDE)).astype(np.float64) for part in (one, other))
    mean_a, mean_b = smooth(a), smooth(b)
    spread_a, spread_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    together = smooth(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + _K1**2) / (mean_a**2 + mean_b**2 + _K1**2)
    form = (2 * together + _K2**2) / (spread_a + spread_b + _K2**2)
    return float((light * form).mean())


# --- kept with the model ---------------------------------------------------------------------------------------


def save(folder: Path, checks: Sequence[HeatCheck]) -> None:
    """Write heat_check.json."""
    write_json(folder / FILE, {"version": VERSION, "methods": [asdict(check) for check in checks]})


def load(folder: Path) -> dict[str, HeatCheck]:
    """Return method -> check of a model; empty when none was made.

    Raises:
        MedbenchError: The file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return _unwritten.get(folder, {})
    known = HeatCheck.__dataclass_fields__
    rows = [{key: value for key, value in row.items() if key in known} for row in read_json(path)["methods"]]
    return {str(row["method"]): HeatCheck(**row) for row in rows}


def told(loaded: Loaded, method: str) -> HeatCheck | None:
    """Return the check of one of a model's methods, None when it has not been made."""
    return load(loaded.folder).get(method)


def ensure(workspace: Workspace, loaded: Loaded, tell: Tell | None = None) -> dict[str, HeatCheck]:
    """Return method -> check, made now when the model has none and its dataset is here; else empty.

    Args:
        workspace: Where the dataset lies.
        loaded: A model of pictures.
        tell: Told the share done, 0-1.
    """
    known = load(loaded.folder)
    if known or not isinstance(loaded.model, Checkable):
        return known
    items = _pictures(workspace, loaded.card)
    if not items:
        return {}
    checks = measure(loaded.model, items, loaded.labels, tell)
    try:
        save(loaded.folder, checks)
    except OSError as error:
        _log.warning("The check of %s is kept in memory only: %s", loaded.id, error)
        _unwritten[loaded.folder] = {check.method: check for check in checks}
    return {check.method: check for check in checks}


def _pictures(workspace: Workspace, card: Mapping[str, Any]) -> list[str]:
    wanted = card["dataset"]["id"]
    if wanted not in {found["id"] for found in datasets.list_datasets(workspace)}:
        return []
    dataset = datasets.load(workspace, str(wanted))
    return chosen({name: dataset.examples(name) for name in ("test", "validation", "train")})


def chosen(parts: Mapping[str, Examples]) -> list[str]:
    """Return some twenty pictures, evenly spread over the first of test, validation and train that has any."""
    split = next((parts[name] for name in ("test", "validation", "train") if len(parts[name])), None)
    if split is None:
        return []
    every = np.unique(np.linspace(0, len(split) - 1, min(PICTURES, len(split))).round().astype(int))
    return [split.items[at] for at in every]
