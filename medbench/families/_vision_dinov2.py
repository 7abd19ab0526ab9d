"""DINOv2's ViT-S/14 (Oquab et al. 2023) out of the ONNX file of a package that uses it to find what stands out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.errors import MedbenchError

if TYPE_CHECKING:
    import torch

NAME = "vit_small_patch14_dinov2"
_BACKBONE, _LAYER = "backbone.", "encoder.layer."
# The file's names -> timm's; weights of linear layers have lost their names and are found by the bias added behind.
_PLAIN = {
    "embeddings.cls_token": "cls_token",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_IN_LAYER = {
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "attention.output.dense": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "norm1": "norm1",
    "norm2": "norm2",
}
_QUERY, _KEY, _VALUE = (f"attention.attention.{name}" for name in ("query", "key", "value"))


def dinov2_state(path: Path, base: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of a timm ViT-S/14, its places resampled to the grid that `base` has.

    Args:
        path: The ONNX file.
        base: timm's network, which says how many patches there are.

    Raises:
        MedbenchError: The file holds another network.
    """
    from timm.layers.pos_embed import resample_abs_pos_embed

    try:
        named = _named(path)
        state = {ours: named[theirs] for theirs, ours in _PLAIN.items()}
        for number in range(len(base.blocks)):
            state |= _block(named, number)
        places = resample_abs_pos_embed(named["places"], list(base.patch_embed.grid_size), num_prefix_tokens=1)
    except KeyError as error:
        raise MedbenchError(
            f"the weights of {NAME}", f"none called {error} in {path.name}", "Set another base."
        ) from None
    return {**state, "pos_embed": places}


def _block(named: dict[str, torch.Tensor], number: int) -> dict[str, torch.Tensor]:
    """Return one block's tensors by timm's names: query, key and value stand in one matrix."""
    import torch

    head = f"{_LAYER}{number}."
    state = {}
    for theirs, ours in _IN_LAYER.items():
        for part in ("", ".weight", ".bias"):
            if head + theirs + part in named:
                state[f"blocks.{number}.{ours}{part}"] = named[head + theirs + part]
    for part in (".weight", ".bias"):
        each = [named[head + name + part] for name in (_QUERY, _KEY, _VALUE)]
        state[f"blocks.{number}.attn.qkv{part}"] = torch.cat(each)
    return state


def _named(path: Path) -> dict[str, torch.Tensor]:
    """Return the backbone's tensors; linear weights, which lost their names, by the name of their bias."""
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    stored = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    named = {name.removeprefix(_BACKBONE): value for name, value in stored.items() if name.startswith(_BACKBONE)}
    weight_of = {node.output[0]: stored[node.input[1]] for node in graph.node if _multiplies(node, stored)}
    for node in graph.node:
        bias = next((name for name in node.input if name.startswith(_BACKBONE) and name.endswith(".bias")), "")
        product = next((name for name in node.input if name in weight_of), "")
        if node.op_type == "Add" and bias and product:
            named[bias.removeprefix(_BACKBONE).removesuffix("bias") + "weight"] = weight_of[product].T.contiguous()
    nameless = [value for name, value in stored.items() if name.startswith("onnx::") and value.ndim == 3]
    first = next(value for value in nameless if value.shape[1] == 1)
    others = next(value for value in nameless if value.shape[1] > 1)
    named["places"] = torch.cat([first, others], dim=1)
    return named


def _multiplies(node: Any, stored: dict[str, torch.Tensor]) -> bool:
    return node.op_type == "MatMul" and node.input[1] in stored
