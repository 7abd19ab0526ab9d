"""How fast is one lesion photograph answered, beside plain timm in PyTorch in the same process and run?

    python benchmarks/lesion_speed.py [MODEL] [--pictures 100] [--threads 2]

MODEL is a model's id in the workspace (starter-lesion by default). Both sides begin with the file: decode, resize,
answer. medbench answers whole (all views, calibrated, conformal set, "unlike"); timm only runs its network once. The
other architectures of the form have random weights, which take the same time; their third column is the network as
`medbench export --to openvino-int8` writes it (needs the extra `int8`). Prints Markdown tables.
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
from medbench.families._vision_engine import Engine, onnx_bytes, write_int8
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


def bare(network: Any, size: int) -> Callable[[Path], Any]:
    """Return medbench's reading and engine around a network."""
    engine = Engine(network, size, "cpu")
    return lambda path: engine.run(read_squares([str(path)], size), None, 1)


def exported(network: Any, size: int, shown: list[Path], folder: Path) -> Callable[[Path], Any]:
    """Return the same around the network written with weights and activations in 8 bits."""
    import openvino

    write_int8(onnx_bytes(network, size), read_squares([str(path) for path in shown], size), None, folder)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": int(os.environ["OMP_NUM_THREADS"])}
    small = openvino.Core().compile_model(str(folder / "model.xml"), "CPU", settings)
    return lambda path: small([read_squares([str(path)], size)])


def whole_answers(model: str, paths: list[Path], threads: int) -> None:
    """Print how long whole answers of a kept model take, beside timm."""
    loaded = predicting.load(Workspace.here(), model)
    card = loaded.model._card  # type: ignore[attr-defined]  # the benchmark looks at the size it reads
    size, base, views = int(card["read_size"]), str(card["shape"]["base"]), int(card["views"])

    def whole(path: Path) -> Any:
        return predicting.predict(loaded, [Item(path.name, "", str(path))])

    own = dict(FORM).get(base, 224)
    ours, theirs, usual = (median_ms(side, paths) for side in (whole, plain_timm(base, size), plain_timm(base, own)))
    card["views"] = 1
    alone = median_ms(whole, paths)
    card["views"] = views
    heat: Any = loaded.model
    explained = median_ms(lambda path: (whole(path), heat.heat(str(path), loaded.labels[0])), paths[:40])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{model}: {base}, {size} pixels, {views} views, {threads} threads, {len(paths)} files, {memory:.0f} MB\n")
    print("| what | median ms | times as fast as timm, same pixels | than timm, its own pixels |\n|---|---:|---:|---:|")
    for name, spent in ((f"medbench, decode to whole answer, {views} views", ours), ("the same, one view", alone)):
        print(f"| {name} | {spent:.1f} | {theirs / spent:.1f} | {usual / spent:.1f} |")
    print(f"| {views} views and a Grad-CAM map | {explained:.1f} | | |")
    print(f"| plain timm, one view, no calibration, {size} pixels | {theirs:.1f} | | |")
    print(f"| the same at {own} pixels, what its ImageNet weights were made for | {usual:.1f} | | |\n")


def architectures(paths: list[Path], folder: Path, names: list[str]) -> None:
    """Print how long every architecture of the form takes, as medbench runs it and as it exports it, beside timm."""
    print("| architecture, one view | pixels | medbench ms | exported, 8 bits, ms | plain timm ms | ratios |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, side in FORM:
        if names and name not in names:
            continue
        network = picture_network(Shape(name, side, 7), timm_base(name, side)).eval().requires_grad_(False)
        mine, other = median_ms(bare(network, side), paths[:40]), median_ms(plain_timm(name, side), paths[:40])
        (written := folder / name).mkdir()
        small = median_ms(exported(network, side, paths[:32], written), paths[:40])
        ratios = f"{other / mine:.1f}, {other / small:.1f}"
        print(f"| {name} | {side} | {mine:.1f} | {small:.1f} | {other:.1f} | {ratios} |", flush=True)


def main() -> None:
    """Measure by turns and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="starter-lesion")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[], help="architectures; all when empty")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)

    import torch

    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as work:
        paths = pictures(args.pictures, Path(work))
        whole_answers(args.model, paths, args.threads)
        architectures(paths, Path(work), args.only)


if __name__ == "__main__":
    main()
