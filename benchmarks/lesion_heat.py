"""Does the heat lie on the lesion? Share of heat inside the HAM10000 masks beside the share of their area.

    python benchmarks/lesion_heat.py MODEL [MODEL ...] [--pictures 500] [--twins 20]

MODEL is a model's id in the workspace whose dataset is there too; pictures come from its test split, masks from
$MEDBENCH_SHARED. The same network with random weights must fall to chance. One random network will not show it: its
few random numbers like either the lesion or the skin around it, on all pictures alike. So many of them share the
pictures, each explains the labels by turns, and the range of their means is printed too. Lesions lie in the middle of
their pictures, so a map that always points there is above chance: one column lays each Grad-CAM map over the mask of
another picture. Prints a Markdown table, a line for each model.
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
TWIN = "random weights, grad-cam (range)"
Shown = tuple[str, str, "np.ndarray"]
"""A picture's item, its true label and its mask (H, W) bool."""
Masks = Callable[[str], "np.ndarray | None"]


def inside(heat: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a map's heat inside a mask (H, W) bool; the mask's own share for an empty map."""
    large = np.asarray(Image.fromarray(heat).resize(mask.shape[::-1], Image.Resampling.BILINEAR), dtype=np.float64)
    return float((large * mask).sum() / large.sum()) if large.sum() > 0 else float(mask.mean())


def shares_of(model: Any, shown: list[Shown]) -> dict[str, list[float]]:
    """Return each method's share of heat inside the masks, picture by picture, and that of Grad-CAM's on another's."""
    shares: dict[str, list[float]] = {}
    for at, (item, label, mask) in enumerate(shown):
        for method in model.methods():
            began = time.perf_counter()
            heat = model.heat(item, label, method).heat
            if method == "grad-cam":
                shares.setdefault("ms", []).append(1000 * (time.perf_counter() - began))
                shares.setdefault(OTHER, []).append(inside(heat, shown[at - 1][2]))
            shares.setdefault(method, []).append(inside(heat, mask))
    return shares


def twins_shares(model: Any, shown: list[Shown], labels: tuple[str, ...], twins: int) -> list[float]:
    """Return the mean share of Grad-CAM's heat inside the masks of each random twin; they divide the pictures."""
    found = []
    for seed in range(min(twins, len(shown))):
        twin = model.randomised(seed)
        part = shown[seed :: min(twins, len(shown))]
        # To an untrained head the true label is a row of random numbers like any other; all of them are more draws.
        named = [(item, labels[at % len(labels)], mask) for at, (item, _, mask) in enumerate(part)]
        found.append(
            float(np.mean([inside(twin.heat(item, label, "grad-cam").heat, mask) for item, label, mask in named]))
        )
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
    shares = shares_of(loaded.model, shown)
    spent = float(np.median(shares.pop("ms")))
    found = {method: float(np.mean(values)) for method, values in shares.items()}
    blind = twins_shares(loaded.model, shown, examples.labels, twins)
    spread = {TWIN: float(np.mean(blind)), "lowest": min(blind), "highest": max(blind)}
    return {
        **found,
        **spread,
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

        print(
            "Mean share of heat inside the masks, the true label explained; chance is the masks' share of the area.\n"
        )
        print("| model | pictures | chance | " + " | ".join((*COLUMNS, OTHER, TWIN)) + " | grad-cam, median ms |")
        print("|---|" + "---:|" * (len(COLUMNS) + 5))
        for model in args.models:
            found = measured(Workspace.here(), model, mask_of, args.pictures, args.twins)
            cells = [f"{found[name]:.3f}" if name in found else "-" for name in ("area", *COLUMNS, OTHER, TWIN)]
            cells[-1] += f" ({found['lowest']:.3f}–{found['highest']:.3f})"
            print(f"| {model} | {found['n']:.0f} | {' | '.join(cells)} | {found['ms']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
