"""Attention rollout: it sees every layer's weights, follows them to the patches, and leaves the network as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from medbench.families._vision_heat import ROLLOUT, _attention_seen, _layers_of, heat_of
from medbench.families._vision_networks import Shape, picture_network, timm_base


@pytest.fixture(scope="module", params=["test_vit", "vit_small_patch14_dinov2"])
def network(request: pytest.FixtureRequest) -> Any:
    """A transformer with random weights at a small size."""
    torch.manual_seed(0)
    side = 70 if "14" in request.param else 64
    return picture_network(Shape(request.param, side, 3), timm_base(request.param, side)).eval()


@pytest.fixture
def pixels(network: Any) -> torch.Tensor:
    """A picture of noise."""
    side = network.shape.size
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))


def written_down(layer: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return the attention (heads, t, t) of a layer's input tokens (1, t, d), from the formula."""
    query, key, _ = layer.qkv(tokens).reshape(tokens.shape[1], 3, layer.num_heads, -1).permute(1, 2, 0, 3)
    query, key = layer.q_norm(query), layer.k_norm(key)
    return (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5).softmax(-1)


@torch.no_grad()
def test_every_layer_shows_the_weights_that_the_formula_gives(network: Any, pixels: torch.Tensor) -> None:
    layers, inputs = _layers_of(network.base), []
    hooks = [layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0])) for layer in layers]
    fused = [layer.fused_attn for layer in layers]
    plain = network(pixels)["logits"]
    inputs.clear()
    with _attention_seen(layers) as seen:
        shown = network(pixels)["logits"]
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(layers) == len(network.base.blocks) > 1
    for layer, tokens, weights in zip(layers, inputs, seen, strict=True):
        torch.testing.assert_close(weights[0], written_down(layer, tokens), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shown, plain, rtol=1e-4, atol=1e-4)
    assert [layer.fused_attn for layer in layers] == fused and not any(
        layer.attn_drop._forward_hooks for layer in layers
    )


@torch.no_grad()
def test_rollout_finds_the_patch_that_all_attend_to(network: Any, pixels: torch.Tensor) -> None:
    first = int(network.base.num_prefix_tokens)
    side = int(network.base.patch_embed.grid_size[0])
    patch = side + 2

    def attend(_: Any, given: Any, weights: torch.Tensor) -> torch.Tensor:
        planted = torch.zeros_like(weights)
        planted[..., first + patch] = 1
        return planted

    hooks = [layer.attn_drop.register_forward_hook(attend) for layer in _layers_of(network.base)]
    heat = heat_of(network, pixels, None, 0, ROLLOUT)
    for hook in hooks:
        hook.remove()
    assert heat.shape == (side, side) and divmod(int(heat.argmax()), side) == divmod(patch, side)
    assert heat.max() == 1 and np.sort(heat.ravel())[-2] == pytest.approx(0, abs=1e-3)


def test_rollout_is_the_same_for_every_label_and_is_not_grad_cam(network: Any, pixels: torch.Tensor) -> None:
    one, other = (heat_of(network, pixels, None, column, ROLLOUT) for column in (0, 2))
    np.testing.assert_array_equal(one, other)
    assert not np.allclose(one, heat_of(network, pixels, None, 0, "grad-cam"), atol=0.05)
