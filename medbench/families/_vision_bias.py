"""What rounding its weights does to the mean of every channel of a network, put right in its biases."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from medbench.families._vision_weights import Format, packed, unpacked

if TYPE_CHECKING:
    import torch

PICTURES = 64
"""Pictures that the means are taken over, a count."""
See = Callable[[str, "torch.Tensor"], "torch.Tensor"]
"""A layer's name and the means (channels,) of what it gives -> what to take off them."""


def packed_network(
    network: Any, kind: Format, pixels: torch.Tensor | None = None, facts: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Return a network's tensors in the format they are kept in; int8 with biases corrected for the rounding.

    Inputs of a layer are mostly positive, so rounding errors do not cancel: every channel is off by a constant. It is
    measured on pictures and taken into the running mean of the batch norm behind the layer, or into the layer's own
    bias, from the first layer to the last, each behind corrected ones (empirical bias correction, Nagel et al. 2019).

    Args:
        network: A picture network in evaluation mode; it is not changed.
        kind: The format.
        pixels: (n, 3, H, W) float32 in [0, 1]; None corrects nothing.
        facts: (n, n_facts) float32, or None when the network reads none.
    """
    import torch

    kept = packed(network.state_dict(), kind)
    if kind != "int8" or pixels is None:
        return kept
    device = next(network.parameters()).device
    given = pixels.to(device), None if facts is None else facts.to(device)
    means: dict[str, torch.Tensor] = {}
    rounded = copy.deepcopy(network)
    rounded.load_state_dict(unpacked(kept))

    def note(name: str, found: torch.Tensor) -> torch.Tensor:
        means[name] = found
        return torch.zeros_like(found)

    with torch.no_grad():
        _run(network, given, note)
        _run(rounded, given, lambda name, found: found - means[name])
    corrected = rounded.state_dict()
    return {
        name: corrected[name].cpu().contiguous() if name.endswith((".running_mean", ".bias")) else value
        for name, value in kept.items()
    }


def _run(network: Any, given: tuple[Any, Any], see: See) -> None:
    """Run a network once; what `see` says of a layer is taken off what it gives, then and for good."""
    from torch import nn

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(_before_norm(name, see)))
        elif isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            hooks.append(module.register_forward_hook(_behind_layer(name, see)))
    try:
        network(*given)
    finally:
        for hook in hooks:
            hook.remove()


def _before_norm(name: str, see: See) -> Callable[..., None]:
    def hook(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        found = inputs[0].transpose(0, 1).flatten(1).mean(1)
        module.running_mean += see(name, found)

    return hook


def _behind_layer(name: str, see: See) -> Callable[..., Any]:
    def hook(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        import torch

        at = 1 if output.ndim == 4 and not isinstance(module, torch.nn.Linear) else output.ndim - 1
        found = output.transpose(0, at).flatten(1).mean(1)
        shift = see(name, found)
        module.bias -= shift
        return output - shift.view([-1 if dim == at else 1 for dim in range(output.ndim)])

    return hook
