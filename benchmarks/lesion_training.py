"""How fast does a picture network learn, beside timm's own train.py on the same pictures, in the same process and run?

    python benchmarks/lesion_training.py DATASET [--steps 60] [--size 128] [--batch 32] [--threads 2] [--rounds 3]

DATASET is HAM10000's id in the workspace. medbench is driven through `Vision.fit` (its own augmentation, running mean
of the weights, progress); reading once is told apart. timm runs the steps of its train.py: create_dataset,
create_loader with worker processes that decode each picture every epoch, create_optimizer_v2, channels_last and, on a
GPU, bfloat16; with the same augmentation, and with what its own options can do of it (no turning). They take turns,
first on the CPU, then on CUDA where there is one. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medbench import datasets
from medbench.events import Say
from medbench.families import Fitting
from medbench.families._vision_pictures import read_squares
from medbench.families.vision import FAMILY, VisionOptions
from medbench.records import Device, Examples, part_image
from medbench.workspace import Workspace

BASE = "tf_efficientnet_lite0"
WARM = 5
Rate = tuple[float, float]
"""Pictures per second, and processor milliseconds per picture over all processes."""


def spent() -> float:
    """Return the processor seconds of this process and its workers so far."""
    import psutil

    here = psutil.Process()
    return float(sum(sum(one.cpu_times()[:2]) for one in (here, *here.children(recursive=True))))


@dataclass
class Timed(Say):
    """Hears a fit's progress and notes when each step was told: (step, seconds, processor seconds)."""

    steps: list[tuple[int, float, float]] = field(default_factory=list)

    def __call__(self, kind: str, **fields: Any) -> None:
        """Note a training step."""
        if kind == "progress" and "loss" in fields and fields["step"] >= WARM:
            self.steps.append((fields["step"], time.perf_counter(), spent()))


def rate_between(first: tuple[int, float, float], last: tuple[int, float, float], batch: int) -> Rate:
    """Return what lies between two moments of a training; each is (step, seconds, processor seconds)."""
    pictures = (last[0] - first[0]) * batch
    return pictures / (last[1] - first[1]), 1000 * (last[2] - first[2]) / pictures


def medbench_rate(examples: Examples, options: VisionOptions, device: str, folder: Path) -> Rate:
    """Train one epoch on `examples` through the family's door."""
    say = Timed()
    fitting = Fitting(np.random.default_rng(0), Device(device), say, folder / "checkpoints")
    FAMILY.fit(examples, examples.take([]), options, fitting)
    return rate_between(say.steps[0], say.steps[-1], options.batch)


def timm_batches(
    folder: Path, options: VisionOptions, device: str, workers: int, turning: bool
) -> Iterator[tuple[Any, Any]]:
    """Yield one epoch of batches the way timm's train.py makes them."""
    import torch
    from timm.data import create_dataset, create_loader
    from torchvision.transforms import InterpolationMode, v2

    dataset = create_dataset("", root=str(folder), is_training=True)
    loader = create_loader(
        dataset,
        input_size=(3, options.size, options.size),
        batch_size=options.batch,
        is_training=True,
        scale=((1 - options.zoom) ** 2, 1.0),
        ratio=(1 / (1 + options.stretch), 1 + options.stretch),
        vflip=0.5,
        color_jitter=options.colour,
        interpolation="bilinear",
        num_workers=workers,
        device=torch.device(device),
    )
    if turning:
        dataset.transform.transforms.insert(0, v2.RandomRotation(options.rotation, InterpolationMode.BILINEAR))
    return iter(loader)


def timm_rate(folder: Path, options: VisionOptions, device: str, workers: int, turning: bool, classes: int) -> Rate:
    """Train one epoch on the pictures in `folder` (a folder per class) by the steps of timm's train.py."""
    import timm
    import torch
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2

    network = timm.create_model(BASE, num_classes=classes, drop_rate=options.dropout)
    network = network.to(device, memory_format=torch.channels_last).train()
    optimizer = create_optimizer_v2(network, opt="adamw", lr=1e-3, weight_decay=options.weight_decay)
    criterion = LabelSmoothingCrossEntropy(0.1)
    moments = []
    for step, (pictures, classes_of) in enumerate(timm_batches(folder, options, device, workers, turning), start=1):
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = criterion(network(pictures), classes_of)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # train.py reads it for its log, and so waits for the device
        if step >= WARM:
            moments.append((step, time.perf_counter(), spent()))
    return rate_between(moments[0], moments[-1], options.batch)


def by_class(examples: Examples, folder: Path) -> Path:
    """Link pictures into one folder per class, the layout that timm reads."""
    for item, truth in zip(examples.items, examples.truth, strict=True):
        path = Path(part_image(item)[0])
        place = folder / examples.labels[int(truth.argmax())]
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).symlink_to(path.resolve())
    return folder


def cache_seconds(examples: Examples, side: int, batch: int, keep: Path) -> tuple[float, float, int]:
    """Return the seconds of decoding all pictures, those of a shuffled epoch from the cache, and the cache's bytes."""
    at = time.perf_counter()
    pixels = read_squares(examples.items, side, keep)
    decoded = time.perf_counter() - at
    order = np.random.default_rng(0).permutation(len(pixels))
    at = time.perf_counter()
    for row in range(0, len(order), batch):
        np.ascontiguousarray(pixels[order[row : row + batch]])
    return decoded, time.perf_counter() - at, pixels.nbytes


def compared(ways: dict[str, Callable[[], Rate]], rounds: int) -> None:
    """Let the ways take turns and print a line for each: medians over the rounds."""
    found: dict[str, list[Rate]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    pictures, processor = ([{n: statistics.median(r[at] for r in v) for n, v in found.items()}][0] for at in (0, 1))
    first = next(iter(ways))
    print("| training | pictures/s | medbench's rate over it | processor ms a picture |\n|---|---:|---:|---:|")
    for name in ways:
        ratio = f"{pictures[first] / pictures[name]:.2f}"
        print(f"| {name} | {pictures[name]:.1f} | {ratio} | {processor[name]:.1f} |", flush=True)
    print()


def main() -> None:
    """Measure by turns and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=4, help="timm's worker processes; 4 is train.py's default")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import torch

    torch.set_num_threads(args.threads)
    everything = datasets.load(Workspace.here(), args.dataset).examples("train")
    examples = everything.take(list(range(min(args.steps * args.batch, len(everything)))))
    options = VisionOptions(base=BASE, size=args.size, batch=args.batch, epochs=1)
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        with tempfile.TemporaryDirectory() as work:
            folder, classes = by_class(examples, Path(work) / "classes"), len(examples.labels)

            def timm_way(turning: bool) -> Rate:
                return timm_rate(folder, options, device, args.workers, turning, classes)  # noqa: B023

            print(f"{BASE}, {args.size} pixels, batch {args.batch}, {device}, {args.threads} threads, ", end="")
            print(f"{len(examples)} pictures, {args.workers} workers for timm, median of {args.rounds} rounds\n")
            ways = {
                "medbench": lambda: medbench_rate(examples, options, device, Path(work)),  # noqa: B023
                "timm's train.py, the same augmentation": lambda: timm_way(True),
                "timm's train.py, without turning": lambda: timm_way(False),
            }
            compared(ways, args.rounds)
    with tempfile.TemporaryDirectory() as work:
        side = round(args.size * 1.25)
        decoded, cached, size = cache_seconds(examples, side, args.batch, Path(work) / "pixels.npy")
        share = len(everything) / len(examples)
        print(f"An epoch of {len(everything):,} pictures at {side} pixels: decoding {decoded * share:.1f} s, ", end="")
        print(f"from the cache {cached * share:.2f} s ({size * share / 1e6:.0f} MB). Measured on {len(examples):,}.")


if __name__ == "__main__":
    main()
