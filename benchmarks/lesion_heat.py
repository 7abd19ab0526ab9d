"""Does the heat lie on the lesion? Share of heat inside the HAM10000 masks beside the share of their area.

    python benchmarks/lesion_heat.py MODEL [--pictures 500]

MODEL is a model's id in the workspace whose dataset is there too; pictures come from its test split, masks from
$MEDBENCH_SHARED. The same network with random weights must fall to chance. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medbench import datasets, predicting
from medbench.records import part_image
from medbench.workspace import Workspace


def inside(heat: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a map's heat inside a mask (H, W) bool; the mask's own share for an empty map."""
    large = np.asarray(Image.fromarray(heat).resize(mask.shape[::-1], Image.Resampling.BILINEAR), dtype=np.float64)
    return float((large * mask).sum() / large.sum()) if large.sum() > 0 else float(mask.mean())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--pictures", type=int, default=500)
    args = parser.parse_args()
    workspace = Workspace.here()
    loaded = predicting.load(workspace, args.model)
    model: Any = loaded.model
    examples = datasets.load(workspace, str(loaded.card["dataset"]["id"])).examples("test")
    items = list(examples.items)[: args.pictures]
    packed = zipfile.ZipFile(
        Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/skin/ham10000_masks_200x150.zip"
    )
    named = {Path(name).stem.removesuffix("_segmentation"): name for name in packed.namelist()}
    twin = model.randomised()
    methods = [*model.methods(), "random weights, grad-cam"]
    shares: dict[str, list[float]] = {method: [] for method in methods}
    areas: list[float] = []
    for item, truth in zip(items, examples.truth, strict=False):
        name = named.get(Path(part_image(item)[0]).stem)
        if name is None:
            continue
        mask = np.asarray(Image.open(io.BytesIO(packed.read(name))).convert("L")) > 127
        areas.append(float(mask.mean()))
        label = examples.labels[int(truth.argmax())]
        for method in methods:
            asked = twin if method.startswith("random") else model
            heat = asked.heat(item, label, "grad-cam" if asked is twin else method).heat
            shares[method].append(inside(heat, mask))
    print(
        f"{args.model}: {len(areas)} test pictures, the true label explained; chance is the mask's share of the area\n"
    )
    print("| map | mean share of heat inside the lesion |\n|---|---:|")
    print(f"| chance (area of the masks) | {np.mean(areas):.3f} |")
    for method in methods:
        print(f"| {method} | {np.mean(shares[method]):.3f} |")


if __name__ == "__main__":
    main()
