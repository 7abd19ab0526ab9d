"""What fine-tuning a picture network will cost, and what to do when it failed. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medbench.families import Estimate
from medbench.families._encoder_cost import GPU_FASTER, PROCESS_BYTES, device_problems, known_failure, out_of_memory
from medbench.records import Device, Examples

if TYPE_CHECKING:
    from medbench.families._vision_options import VisionOptions

CARD = "vision.json"
# Parameters in millions and work in billions of multiplications for a picture of 224 pixels, as their papers state.
_KNOWN = {
    "tf_efficientnet_lite0": (3.4, 0.4),
    "efficientnet_b0": (4.0, 0.4),
    "efficientnet_b1": (6.5, 0.6),
    "resnet50": (23.5, 4.1),
    "resnet101": (42.5, 7.9),
    "vit_small_patch16_224": (21.7, 4.3),
    "swin_tiny_patch4_window7_224": (27.5, 4.5),
}
_UNKNOWN = (25.0, 4.0)
# Seconds of a step of EfficientNet-Lite0 per picture of 128 x 128 on two cores, and how much of it reading takes.
_SECONDS, _READ_SHARE, _DECODE = 1.1 / 32, 0.3, 0.002
START_PICTURES = 2000
"""Pictures at most that the base before tuning learns an output layer from: more would cost without telling more."""
_KEPT_BYTES = 95_000_000 / 224**2


def read_size_of(options: VisionOptions) -> int:
    """Return the side in pixels that is read when answering.

    Objects look larger in random crops than in whole pictures; reading a quarter larger makes up for it (Touvron 2019).
    Transformers keep the size they were trained at.
    """
    if options.read_size is not None:
        return options.read_size
    fixed = any(part in options.base for part in ("vit", "swin", "deit", "eva", "beit"))
    return options.size if fixed else round(options.size * 1.25 / 32) * 32


def estimate(train: Examples, options: VisionOptions, device: Device) -> Estimate:
    """Estimate seconds, memory and disk; name what stands against a start."""
    millions, work = _KNOWN.get(options.base, _UNKNOWN)
    faster = 1.0 if device.name == "cpu" else GPU_FASTER
    step = _SECONDS * (work / 0.4) ** 0.5 * (options.size / 128) ** 2 / faster
    looks = 0.2 * options.evals_per_epoch * (read_size_of(options) / options.size) ** 2 * _READ_SHARE
    seconds = len(train) * (options.epochs * step * (1 + looks) + 1.4 * _DECODE) + 30
    if options.max_minutes is not None:
        seconds = min(seconds, options.max_minutes * 60 + 60)
    if options.epochs and (options.weights == "imagenet" or options.start_from):
        # The network before tuning learns from some pictures and answers validation and test, nearly half as many.
        read = (min(len(train), START_PICTURES), 0.45 * len(train))
        once = step * (read_size_of(options) / options.size) ** 2 * _READ_SHARE
        seconds += once * (read[0] + options.views * read[1]) + _DECODE * sum(read)
    kept = _KEPT_BYTES * (work / 0.4) ** 0.5 * options.size**2 * options.batch
    cached = 3 * (round(options.size * 1.25) ** 2) * len(train)
    return Estimate(
        seconds=round(seconds, 1),
        memory=int(PROCESS_BYTES + 16e6 * millions + kept),
        disk=int(3 * 12e6 * millions + cached),
        problems=tuple(_problems(options, device)),
        notes=tuple(_notes(options)),
    )


def _problems(options: VisionOptions, device: Device) -> list[str]:
    from medbench.families._vision_weights import obtainable

    problems = []
    if options.weights == "imagenet" and not options.start_from and not obtainable(options.base):
        problems.append(
            f"The ImageNet weights of {options.base!r} are not on this machine and the model hub cannot be reached: "
            "choose tf_efficientnet_lite0, or set weights to random."
        )
    if device.name == "cpu" and options.precision in ("bf16", "fp16"):
        problems.append(f"Precision {options.precision} needs a GPU; set precision to auto or fp32.")
    return problems + device_problems(device)


def _notes(options: VisionOptions) -> list[str]:
    if options.weights == "random" and not options.start_from:
        return ["Random weights need tens of thousands of pictures; expect much less than from ImageNet weights."]
    return []


def remedy(error: BaseException, options: VisionOptions) -> tuple[str, dict[str, Any]] | None:
    """Return (a sentence, the options to change) for a failed fine-tuning that is known, else None."""
    if not out_of_memory(error):
        return known_failure(error, "minilm")
    if options.batch > 2:
        sentence = f"There was not enough memory for batches of {options.batch}; try half of that, added up twice."
        return sentence, {"batch": options.batch // 2, "accumulation": options.accumulation * 2}
    smaller = max(options.size // 2, 32)
    return f"There was not enough memory; try pictures of {smaller} pixels.", {"size": smaller}
