"""How fast is one lesion photograph answered, beside plain timm in PyTorch in the same process and run?

    python benchmarks/lesion_speed.py [MODEL] [--pictures 100] [--threads 2]

MODEL is a model's id in the workspace (starter-lesion by default). Both sides begin with the file: decode, resize,
answer. medbench answers whole (all views, calibrated, conformal set, "unlike"); timm only runs its network once. The
other architectures of the form have random weights, which take the same time. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medbench import predicting
from medbench.families._vision_engine import Engine
from medbench.families._vision_networks import Shape, picture_network, timm_base
from medbench.families._vision_pictures import read_squares
from medbench.records import Item
from medbench.workspace import Workspace

FORM = (
    ("tf_efficientnet_lite0", 224),
    ("efficientnet_b0", 224),
    ("efficientnet_b1", 240),
    ("resnet50", 224),
    ("resnet101", 224),
    ("vit_small_patch16_224", 224),
    ("swin_tiny_patch4_window7_224", 224),
)


def pictures(count: int, folder: Path) -> list[Path]:
    """Unpack HAM10000 originals (600 x 450) and small ones from $MEDBENCH_SHARED until there are `count`."""
    shared = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/skin"
    found: list[Path] = []
    for name in ("ham10000_originals_600x450.zip", "ham10000_200x150.zip"):
        with zipfile.ZipFile(shared / name) as packed:
            for member in packed.namelist():
                if member.lower().endswith(".jpg") and len(found) < count:
                    found.append(folder / f"{len(found)}.jpg")
                    found[-1].write_bytes(packed.read(member))
    return found


def median_ms(answer: Callable[[Path], Any], paths: list[Path], skip: int = 5) -> float:
    """Return the median milliseconds of answering a path, after `skip` for warming up."""
    spent = []
    for path in paths:
        at = time.perf_counter()
        answer(path)
        spent.append(1000 * (time.perf_counter() - at))
    return statistics.median(spent[skip:])


def plain_timm(base: str, size: int) -> Callable[[Path], Any]:
    """Return what a user of timm would write: open, resize, normalise, run."""
    import timm
    import torch
    from PIL import Image
    from torchvision.transforms import v2

    network = timm.create_model(base, num_classes=7, **({"img_size": size} if "swin" in base or "vit" in base else {}))
    network = network.eval()
    prepare = v2.Compose(
        [
            v2.Resize((size, size)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )

    def answer(path: Path) -> Any:
        with torch.inference_mode():
            return network(prepare(Image.open(path).convert("RGB"))[None]).softmax(1).numpy()

    return answer


def bare(base: str, size: int) -> Callable[[Path], Any]:
    """Return medbench's reading and engine around a network with random weights."""
    network = picture_network(Shape(base, size, 7), timm_base(base, size)).eval().requires_grad_(False)
    engine = Engine(network, size, "cpu")
    return lambda path: engine.run(read_squares([str(path)], size), None, 1)


def main() -> None:
    """Measure by turns and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="starter-lesion")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)

    import torch

    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as work:
        paths = pictures(args.pictures, Path(work))
        loaded = predicting.load(Workspace.here(), args.model)
        card = loaded.model._card  # type: ignore[attr-defined]  # the benchmark looks at the size it reads
        size, base = int(card["read_size"]), str(card["shape"]["base"])

        def whole(path: Path) -> Any:
            return predicting.predict(loaded, [Item(path.name, "", str(path))])

        ours, theirs = median_ms(whole, paths), median_ms(plain_timm(base, size), paths)
        views, card["views"] = card["views"], 1
        alone = median_ms(whole, paths)
        card["views"] = views
        heat: Any = loaded.model
        explained = median_ms(lambda path: (whole(path), heat.heat(str(path), loaded.labels[0])), paths[:40])
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{args.model}: {base}, {size} pixels, {card['views']} views, {args.threads} threads, {len(paths)} files\n"
        )
        print("| what | median ms |\n|---|---:|")
        print(f"| medbench, decode to whole answer, {views} views | {ours:.1f} |")
        print(f"| the same with one view, as timm has it | {alone:.1f} |")
        print(f"| {views} views and a Grad-CAM map | {explained:.1f} |")
        print(f"| plain timm, one view, no calibration | {theirs:.1f} |\n")
        print(f"{theirs / ours:.1f} times as fast, {theirs / alone:.1f} times with one view; {memory:.0f} MB\n")
        print("| architecture, one view | pixels | medbench ms | plain timm ms | ratio |\n|---|---:|---:|---:|---:|")
        for name, side in FORM:
            mine, other = median_ms(bare(name, side), paths[:40]), median_ms(plain_timm(name, side), paths[:40])
            print(f"| {name} | {side} | {mine:.1f} | {other:.1f} | {other / mine:.1f} |", flush=True)


if __name__ == "__main__":
    main()
