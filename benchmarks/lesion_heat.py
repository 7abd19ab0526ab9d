"""Does the heat lie on the lesion? Share of heat inside the HAM10000 masks beside the share of their area.

    python benchmarks/lesion_heat.py MODEL [MODEL ...] [--pictures 500]

MODEL is a model's id in the workspace whose dataset is there too; pictures come from its test split, masks from
$MEDBENCH_SHARED. The same network with random weights must fall to chance. Prints a Markdown table, a line for each.
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
TWIN = "random weights, grad-cam"
Masks = Callable[[str], "np.ndarray | None"]


def inside(heat: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a map's heat inside a mask (H, W) bool; the mask's own share for an empty map."""
    large = np.asarray(Image.fromarray(heat).resize(mask.shape[::-1], Image.Resampling.BILINEAR), dtype=np.float64)
    return float((large * mask).sum() / large.sum()) if large.sum() > 0 else float(mask.mean())


def measured(workspace: Workspace, name: str, masks: Masks, count: int) -> dict[str, float]:
    """Return what stands in a model's line of the table.

    Args:
        workspace: Where the model and its dataset lie.
        name: The model's id.
        masks: Picture's name -> (H, W) bool, None where there is none.
        count: Pictures of the test split at most.
    """
    loaded = predicting.load(workspace, name)
    model: Any = loaded.model
    examples = datasets.load(workspace, str(loaded.card["dataset"]["id"])).examples("test")
    twin = model.randomised()
    shares: dict[str, list[float]] = {"area": []}
    spent = []
    for item, truth in list(zip(examples.items, examples.truth, strict=True))[:count]:
        mask = masks(Path(part_image(item)[0]).stem)
        if mask is None:
            continue
        shares["area"].append(float(mask.mean()))
        label = examples.labels[int(truth.argmax())]
        for method in model.methods():
            at = time.perf_counter()
            shares.setdefault(method, []).append(inside(model.heat(item, label, method).heat, mask))
            if method == "grad-cam":
                spent.append(1000 * (time.perf_counter() - at))
        shares.setdefault(TWIN, []).append(inside(twin.heat(item, label, "grad-cam").heat, mask))
    found = {method: float(np.mean(values)) for method, values in shares.items()}
    return {**found, "n": len(shares["area"]), "ms": float(np.median(spent))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--pictures", type=int, default=500)
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
        print("| model | pictures | chance | " + " | ".join((*COLUMNS, TWIN)) + " | grad-cam, median ms |")
        print("|---|" + "---:|" * (len(COLUMNS) + 4))
        for model in args.models:
            found = measured(Workspace.here(), model, mask_of, args.pictures)
            cells = [f"{found[name]:.3f}" if name in found else "-" for name in ("area", *COLUMNS, TWIN)]
            print(f"| {model} | {found['n']:.0f} | {' | '.join(cells)} | {found['ms']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
