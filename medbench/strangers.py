"""Measuring anew how well a model tells foreign items, on items that are at hand: see `foreign`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medbench import datasets, foreign, predicting
from medbench.datasets import Dataset
from medbench.errors import MedbenchError
from medbench.foreign import Material
from medbench.pictures import ENDINGS
from medbench.predicting import Loaded
from medbench.record_files import items_of
from medbench.records import Item, ItemKind, join_image
from medbench.workspace import Workspace, write_json

_DRAWN = 4 * foreign.MOST  # items of another dataset that are looked at for some that the model does not know
_SECONDS = 600.0


def measure(
    workspace: Workspace,
    model: str,
    own: str = "",
    against: Sequence[Path] = (),
    columns: Mapping[str, str] | None = None,
    *,
    keep: bool = False,
) -> dict[str, Any]:
    """Measure how well a model tells items from elsewhere.

    Args:
        workspace: Where it lies.
        model: Its id, or `@job`.
        own: Dataset of items like those it is made for; the one it learnt from when empty. What it has learnt from is
            left out.
        against: Files of records, or folders of pictures, from elsewhere.
        columns: Columns of these files by the part they play.
        keep: Write the figures on the model's card.

    Returns:
        As `foreign.measured`.

    Raises:
        MedbenchError: The model or the dataset is not there, the model has no detector, or there are too few items
            that it has not learnt from.
    """
    if missing := [path for path in against if not path.exists()]:
        raise MedbenchError("files and folders that are there", f"no {str(missing[0])!r}", "Check the path.")
    loaded = predicting.load(workspace, model)
    if loaded.trust.stranger is None:
        raise MedbenchError("a model that tells foreign items", f"{loaded.id!r}, which does not", "Choose another.")
    items = _own(loaded, datasets.load(workspace, own or str(loaded.card["dataset"]["id"])))
    others = [_material(path, loaded, columns) for path in against]
    kind: ItemKind = "image" if loaded.card.get("item") == "image" else "text"
    with loaded.lock:
        found = foreign.measured(loaded.model, loaded.trust.stranger, items, kind, others, seconds=_SECONDS)
    if not found:
        raise MedbenchError("a model that reads a text in seconds", f"{loaded.id!r}", "Give it a faster machine.")
    if keep:
        loaded.card["promises"] = {**loaded.card.get("promises", {}), "strangers": found}
        write_json(loaded.folder / "model.json", loaded.card)
    return found


def _own(loaded: Loaded, dataset: Dataset) -> list[str]:
    """Return items of a dataset that the model has not learnt from: its test split, or what it does not know."""
    if dataset.id == loaded.card["dataset"]["id"] and "test" not in loaded.card["learnt_from"]["splits"]:
        items = list(dataset.examples("test").items)
    else:
        drawn = dataset.examples("train", "validation", "test").items
        rows = np.random.default_rng(0).permutation(len(drawn))[:_DRAWN]
        some = [drawn[row] for row in np.sort(rows)]
        known = predicting.seen_in_training(loaded, [Item("", "", item) for item in some])
        items = [item for item, old in zip(some, known.tolist(), strict=True) if not old]
    if len(items) < foreign.LEAST:
        raise MedbenchError(
            f"{foreign.LEAST} items that the model has not learnt from",
            f"{len(items)} in {dataset.name!r}",
            "Name another dataset of such items with --own, or train again: a run measures before its last fit.",
        )
    return items


def _material(path: Path, loaded: Loaded, columns: Mapping[str, str] | None) -> Material:
    if loaded.card.get("item") == "image":
        if not path.is_dir():
            raise MedbenchError("a folder of pictures", f"{str(path)!r}", "Name one with --against.")
        found = sorted(one for one in path.rglob("*") if one.suffix.lower() in ENDINGS)
        return Material(f"pictures of {path.name}", [join_image(str(one.resolve())) for one in found])
    return Material(f"texts of {path.name}", [item.joined for item in items_of(path, columns) if item.joined])
