"""Does the heat lie on the lesion? Share of heat inside the HAM10000 masks beside the share of their area.

    python benchmarks/lesion_heat.py MODEL [MODEL ...] [--pictures 500] [--twins 20]

MODEL is a model's id in the workspace whose dataset is there too; pictures come from its test split, masks from
$MEDBENCH_SHARED. The same network with random weights must fall to chance, and that wants two cares. One random
network is one draw: it likes either the lesion's colours or the skin's, on all pictures alike; so many share the
pictures, and each explains the labels by turns. And the mean of shares is no fair judge of coin flips: maps of the
lesion alone and maps of the skin alone have a mean share of one half, whatever the lesion's area. So heat is also
pooled (all heat inside masks, divided by all heat), where chance is the area, for the trained network and its
random twins alike. Lesions lie in the middle, so a map that always points there is above chance: one column lays
each map over another picture's mask. Prints a Markdown table, a line for each model.
"""

from __future__ import annotations

import argparse
import io
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medbench import datasets, predicting
from medbench.records import part_image
from medbench.workspace import Workspace

COLUMNS = ("grad-cam", "grad-cam++", "layer-cam", "eigen-cam", "attention-rollout")
OTHER = "grad-cam on another picture's mask"
POOLED = "grad-cam, pooled"
TWIN, TWIN_POOLED = "random weights, grad-cam", "random weights, grad-cam, pooled"
PRINTED = (*COLUMNS, OTHER, TWIN, POOLED, TWIN_POOLED)
Shown = tuple[str, str, "np.ndarray"]
"""A picture's item, its true label and its mask (H, W) bool."""
Masks = Callable[[str], "np.ndarray | None"]


def inside(heat: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Return how much heat lies inside a mask (H, W) bool, and how much there is; an empty map is warm all over."""
    large = np.asarray(Image.fromarray(heat).resize(mask.shape[::-1], Image.Resampling.BILINEAR), dtype=np.float64)
    large = large if large.sum() > 0 else np.ones(mask.shape)
    return float((large * mask).mean()), float(large.mean())


def mean_share(parts: list[tuple[float, float]]) -> float:
    """Return the mean of the maps' shares of heat inside the masks."""
    return float(np.mean([within / whole for within, whole in parts]))


def pooled_share(parts: list[tuple[float, float]]) -> float:
    """Return all maps' heat inside the masks, divided by all heat."""
    within, whole = np.sum(parts, axis=0)
    return float(within / whole)


def heats_of(model: Any, shown: list[Shown]) -> tuple[dict[str, list[tuple[float, float]]], float]:
    """Return each method's heat inside the masks picture by picture, and the median ms of a Grad-CAM map."""
    heats: dict[str, list[tuple[float, float]]] = {}
    spent = []
    for at, (item, label, mask) in enumerate(shown):
        for method in model.methods():
            began = time.perf_counter()
            heat = model.heat(item, label, method).heat
            if method == "grad-cam":
                spent.append(1000 * (time.perf_counter() - began))
                heats.setdefault(OTHER, []).append(inside(heat, shown[at - 1][2]))
            heats.setdefault(method, []).append(inside(heat, mask))
    return heats, float(np.median(spent))


def twins_heats(model: Any, shown: list[Shown], labels: tuple[str, ...], twins: int) -> list[tuple[float, float]]:
    """Return Grad-CAM's heat inside the masks by random twins, which divide the pictures among them."""
    found = []
    for seed in range(twins):
        twin = model.randomised(seed)
        for at, (item, _, mask) in enumerate(shown[seed::twins]):
            # To an untrained head the true label is a row of random numbers like any other; all of them are more draws.
            label = labels[(seed + at) % len(labels)]
            found.append(inside(twin.heat(item, label, "grad-cam").heat, mask))
    return found


def measured(workspace: Workspace, name: str, masks: Masks, count: int, twins: int) -> dict[str, float]:
    """Return what stands in a model's line of the table.

    Args:
        workspace: Where the model and its dataset lie.
        name: The model's id.
        masks: Picture's name -> (H, W) bool, None where there is none.
        count: Pictures of the test split at most.
        twins: Networks with random weights.
    """
    loaded = predicting.load(workspace, name)
    examples = datasets.load(workspace, str(loaded.card["dataset"]["id"])).examples("test")
    shown: list[Shown] = []
    for item, truth in list(zip(examples.items, examples.truth, strict=True))[:count]:
        mask = masks(Path(part_image(item)[0]).stem)
        if mask is not None:
            shown.append((item, examples.labels[int(truth.argmax())], mask))
    heats, spent = heats_of(loaded.model, shown)
    blind = twins_heats(loaded.model, shown, examples.labels, twins)
    return {
        **{method: mean_share(parts) for method, parts in heats.items()},
        POOLED: pooled_share(heats["grad-cam"]),
        TWIN: mean_share(blind),
        TWIN_POOLED: pooled_share(blind),
        "area": float(np.mean([mask.mean() for *_, mask in shown])),
        "n": len(shown),
        "ms": spent,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--twins", type=int, default=20, help="networks with random weights for each model")
    args = parser.parse_args()
    shared = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/skin/ham10000_masks_200x150.zip"
    with zipfile.ZipFile(shared) as packed:
        named = {Path(name).stem.removesuffix("_segmentation"): name for name in packed.namelist()}

        def mask_of(name: str) -> np.ndarray | None:
            if name not in named:
                return None
            return np.asarray(Image.open(io.BytesIO(packed.read(named[name]))).convert("L")) > 127

        print("Share of heat inside the masks, the true label explained; chance is the masks' share of the area.\n")
        print("| model | pictures | chance | " + " | ".join(PRINTED) + " | grad-cam, median ms |")
        print("|---|" + "---:|" * (len(PRINTED) + 3))
        for model in args.models:
            found = measured(Workspace.here(), model, mask_of, args.pictures, args.twins)
            cells = [f"{found[name]:.3f}" if name in found else "-" for name in ("area", *PRINTED)]
            print(f"| {model} | {found['n']:.0f} | {' | '.join(cells)} | {found['ms']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
