"""Where a picture network looked: class activation maps on the last map of any base, and attention rollout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError

if TYPE_CHECKING:
    import torch

Heat = npt.NDArray[np.float32]
MAPS = ("grad-cam", "grad-cam++", "layer-cam", "eigen-cam")
ROLLOUT = "attention-rollout"
Seen = list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
"""The last map (C, h, w) and the gradient on it, once known."""


def methods_of(network: Any) -> tuple[str, ...]:
    """Return the methods that fit a network: the maps fit all, rollout needs attention between all patches."""
    return (*MAPS, ROLLOUT) if _layers_of(network.base) else MAPS


def heat_of(
    network: Any, pixels: torch.Tensor, facts: torch.Tensor | None, column: int, method: str, seen: Seen | None = None
) -> Heat:
    """Return (h, w) float32 in [0, 1], stretched over the picture: where the evidence for a label lies.

    Args:
        network: A picture network in evaluation mode.
        pixels: (1, 3, H, W) float32 in [0, 1].
        facts: (1, n_facts) float32 or None.
        column: The label's column.
        method: One of `methods_of`: Grad-CAM (Selvaraju 2017), Grad-CAM++ (Chattopadhay 2018), Layer-CAM (Jiang 2021),
            Eigen-CAM (Muhammad 2020; the same for every label), attention rollout (Abnar & Zuidema 2020; likewise).
        seen: What another method has already found for this picture and label, filled here when it is empty.

    Raises:
        MedbenchError: The method does not fit this network.
    """
    fitting = methods_of(network)
    if method not in fitting:
        raise MedbenchError(f"one of the methods {', '.join(fitting)}", repr(method), "Choose one of these.")
    if method == ROLLOUT:
        return _rollout(network, pixels, facts)
    seen = [] if seen is None else seen
    if not seen:
        seen.append(_map_and_gradient(network, pixels, facts, column))
    return _scaled(_weighed(*seen[0], method))


def _map_and_gradient(
    network: Any, pixels: torch.Tensor, facts: torch.Tensor | None, column: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the last map (C, h, w) and the label's logit's gradient on it; the base itself runs without gradients."""
    import torch

    kept: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_(True))
        return kept[0]

    hook = network.map.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = network(pixels, facts)["logits"]
            (gradient,) = torch.autograd.grad(logits[0, column], kept[0])
    finally:
        hook.remove()
    return kept[0][0].detach().cpu().double().numpy(), gradient[0].detach().cpu().double().numpy()


def _weighed(maps: npt.NDArray[np.float64], gradient: npt.NDArray[np.float64], method: str) -> npt.NDArray[np.float64]:
    if method == "grad-cam":
        found = (gradient.mean((1, 2))[:, None, None] * maps).sum(0)
    elif method == "grad-cam++":
        square, cube = gradient**2, gradient**3
        below = 2 * square + (maps.sum((1, 2))[:, None, None] * cube)
        share = np.where(square > 0, square / np.where(np.abs(below) > 1e-12, below, 1.0), 0.0)
        found = ((share * np.maximum(gradient, 0)).sum((1, 2))[:, None, None] * maps).sum(0)
    elif method == "layer-cam":
        found = (np.maximum(gradient, 0) * maps).sum(0)
    else:
        flat = maps.reshape(len(maps), -1)
        flat = flat - flat.mean(1, keepdims=True)
        _, _, rows = np.linalg.svd(flat, full_matrices=False)
        # The first component has no sign of its own: it points to where the map is strong.
        strength = np.abs(maps).mean(0).ravel()
        sign = 1.0 if float(rows[0] @ (strength - strength.mean())) >= 0 else -1.0
        found = sign * rows[0].reshape(maps.shape[1:])
    positive: npt.NDArray[np.float64] = np.maximum(found, 0)
    return positive


def _scaled(found: npt.NDArray[np.float64]) -> Heat:
    """Return the map with its lowest value at 0 and its highest at 1; an empty map stays empty."""
    span = float(found.max() - found.min())
    return ((found - found.min()) / span if span > 1e-12 else np.zeros_like(found)).astype(np.float32)


def _layers_of(base: Any) -> list[Any]:
    """Return the attention layers of a plain vision transformer; none for other bases."""
    blocks = list(getattr(base, "blocks", []))
    layers = [getattr(block, "attn", None) for block in blocks]
    plain = bool(layers) and all(hasattr(layer, "attn_drop") and hasattr(layer, "fused_attn") for layer in layers)
    return layers if plain and getattr(base, "num_prefix_tokens", None) is not None else []


@contextmanager
def _attention_seen(layers: list[Any]) -> Iterator[list[torch.Tensor]]:
    """Let attention layers show their (n, heads, t, t) weights, which the fused kernel never writes down."""
    seen: list[torch.Tensor] = []
    fused = [layer.fused_attn for layer in layers]
    hooks = [layer.attn_drop.register_forward_hook(lambda *given: seen.append(given[2].detach())) for layer in layers]
    for layer in layers:
        layer.fused_attn = False
    try:
        yield seen
    finally:
        for layer, value, hook in zip(layers, fused, hooks, strict=True):
            layer.fused_attn = value
            hook.remove()


def _rollout(network: Any, pixels: torch.Tensor, facts: torch.Tensor | None) -> Heat:
    """Multiply the layers' mean attention, half of it kept as the identity for the residual path."""
    import torch

    with torch.no_grad(), _attention_seen(_layers_of(network.base)) as seen:
        network(pixels, facts)
    flow = torch.eye(seen[0].shape[-1])
    for weights in seen:
        mean = 0.5 * weights[0].float().cpu().mean(0) + 0.5 * torch.eye(weights.shape[-1])
        flow = (mean / mean.sum(-1, keepdim=True)) @ flow
    # The head reads the mean of the patches; what the class token has gathered has no part in the answer.
    first = int(network.base.num_prefix_tokens)
    patches = flow[first:, first:].mean(0)
    side = round(len(patches) ** 0.5)
    return _scaled(patches.reshape(side, -1).double().numpy())
