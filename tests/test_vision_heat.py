"""Attention rollout: it sees every layer's weights, follows them to the patches, and leaves the network as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from medbench.families._vision_heat import ROLLOUT, _attention_seen, _layers_of, _weighed, heat_of
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


@pytest.mark.parametrize("base", ["resnet10t", "test_vit"])
def test_maps_are_those_of_the_grad_cam_package(base: str) -> None:
    """The package runs the whole network backwards and is held to as a second implementation, not used to answer."""
    from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, LayerCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    torch.manual_seed(0)
    network = picture_network(Shape(base, 64, 3), timm_base(base, 64)).eval()
    seen = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> Any:
            return self.network(pixels)["logits"]

    kinds = {"grad-cam": GradCAM, "grad-cam++": GradCAMPlusPlus, "layer-cam": LayerCAM, "eigen-cam": EigenCAM}
    rng = np.random.default_rng(0)
    for method, kind in kinds.items():
        with kind(Logits(), [network.map]) as cam:
            cam(seen, [ClassifierOutputTarget(1)])
            if method in ("grad-cam", "layer-cam"):
                kept = cam.activations_and_grads
                looked = cam.get_cam_image(
                    seen, None, None, kept.activations[0].numpy(), kept.gradients[0].numpy(), False
                )
                ours = heat_of(network, seen, None, 1, method)
                np.testing.assert_allclose(ours, scaled(looked[0]), atol=1e-4, err_msg=method)
            # Gradients of a random network are so small that the package's guard against division by zero shows.
            maps, gradient = rng.random((8, 5, 6)), rng.normal(size=(8, 5, 6))
            drawn = cam.get_cam_image(seen, None, None, maps[None], gradient[None], False)[0]
            weighed = _weighed(maps, gradient, method)
            if method == "eigen-cam" and np.corrcoef(weighed.ravel(), np.maximum(drawn, 0).ravel())[0, 1] < 0.9:
                drawn = -drawn  # the package leaves the component's sign to chance
            np.testing.assert_allclose(scaled(weighed), scaled(drawn), atol=1e-4, err_msg=method)


def scaled(found: np.ndarray) -> np.ndarray:
    """Return the positive part, its lowest value at 0 and its highest at 1."""
    found = np.maximum(found, 0)
    return (found - found.min()) / (found.max() - found.min())
