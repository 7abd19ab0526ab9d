"""Kept weights: rounding loses little, biases make up for it, exported files answer as medbench does."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medbench.families._vision_bias import packed_network
from medbench.families._vision_engine import Engine, onnx_bytes
from medbench.families._vision_networks import Shape, picture_network, timm_base
from medbench.families._vision_pictures import as_tensor
from medbench.families._vision_weights import packed, unpacked

SIDE = 64


def network(base: str = "test_efficientnet", **more: object) -> nn.Module:
    """Return a picture network of random weights whose running averages have seen pictures."""
    torch.manual_seed(0)
    found: nn.Module = picture_network(Shape(base, SIDE, 3, **more), timm_base(base, SIDE))  # type: ignore[arg-type]
    found.train()
    with torch.no_grad():
        for _ in range(4):
            found(as_tensor(pictures(16)))
    return found.eval().requires_grad_(False)


def pictures(n: int, seed: int = 0) -> np.ndarray:
    """Return (n, SIDE, SIDE, 3) uint8 pictures that are brighter than black, as photographs are."""
    rng = np.random.default_rng(seed)
    return (rng.integers(40, 200, (n, 1, 1, 3)) + rng.integers(0, 55, (n, SIDE, SIDE, 3))).astype(np.uint8)


def test_an_outlier_makes_only_its_own_channel_coarse() -> None:
    torch.manual_seed(0)
    rows = torch.randn(64, 96)
    rows[7, 3] = 100.0
    back = unpacked(packed({"wide.weight": rows}, "int8"))["wide.weight"]
    plain = (rows / (step := rows.abs().amax(1, keepdim=True) / 127)).round() * step
    error, before = ((found - rows).square().sum(1) for found in (back, plain))
    others = torch.arange(64) != 7
    assert (error <= before + 1e-9).all()
    assert error[others].sum() < 0.95 * before[others].sum()
    assert error[others].max() < 0.01 * error[7]
    assert back[7, 3] == pytest.approx(100.0, rel=0.02)


def test_few_numbers_that_weigh_much_stay_in_half_precision() -> None:
    state = {
        "stem.weight": torch.randn(32, 3, 5, 5),
        "deep.weight": torch.randn(256, 1, 3, 3),
        "wide.weight": torch.randn(64, 96, 1, 1),
        "head.2.weight": torch.randn(7, 1280),
        "norm.running_mean": torch.randn(64),
    }
    kept = packed(state, "int8")
    found = {name: value.dtype for name, value in kept.items()}
    assert found.pop("wide.weight") == torch.int8 and found.pop("wide.weight.scale") == torch.float32
    assert found.pop("norm.running_mean") == torch.float32
    assert set(found.values()) == {torch.float16} and len(found) == 3
    assert {name: value.shape for name, value in unpacked(kept).items()} == {n: v.shape for n, v in state.items()}


@pytest.mark.parametrize(("base", "most"), [("test_efficientnet", 0.7), ("test_vit", 1.05)])
def test_corrected_biases_make_up_for_rounding(base: str, most: float) -> None:
    """Layer norm takes most of a constant out by itself, so that a transformer has little to gain."""
    whole = network(base)
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    coarse = packed(whole.state_dict(), "int8")
    seen, new = as_tensor(pictures(16)), as_tensor(pictures(16, seed=1))
    corrected = packed_network(whole, "int8", seen)
    assert corrected.keys() == coarse.keys()
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())

    again = copy.deepcopy(whole)

    def off(kept: dict[str, torch.Tensor]) -> float:
        again.load_state_dict(unpacked(kept))
        return float((again(new)["logits"] - whole(new)["logits"]).square().mean().sqrt())

    assert 0 < off(corrected) < most * off(coarse)
    changed = {name for name, value in corrected.items() if not torch.equal(value, coarse[name])}
    assert changed and all(name.endswith((".running_mean", ".bias")) for name in changed)


def test_without_pictures_and_in_other_formats_nothing_is_corrected() -> None:
    whole = network()
    for kind, given in (("int8", None), ("fp16", as_tensor(pictures(8))), ("fp32", as_tensor(pictures(8)))):
        found, plain = packed_network(whole, kind, given), packed(whole.state_dict(), kind)
        assert all(torch.equal(found[name], plain[name]) for name in plain)


@pytest.mark.parametrize(("base", "facts"), [("test_efficientnet", 0), ("test_vit", 0), ("test_resnet", 20)])
def test_the_onnx_file_answers_as_the_engine_and_torch_do(base: str, facts: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    whole = picture_network(Shape(base, SIDE, 3, n_facts=facts), timm_base(base, SIDE)).eval().requires_grad_(False)
    seen = pictures(5)
    known = np.random.default_rng(0).random((5, facts)).astype(np.float32) if facts else None
    session = runtime.InferenceSession(io.BytesIO(onnx_bytes(whole, SIDE)).getvalue())
    given = {"pixels": seen} | ({"facts": known} if facts else {})
    logits, vectors = session.run(["logits", "vectors"], given)
    engine = Engine(whole, SIDE, "cpu")
    for found in (engine.run(seen, known), engine._with_torch(seen, known)):
        assert np.allclose(found[0].reshape(5, -1), logits, atol=1e-3)
        assert np.allclose(found[1], vectors, atol=1e-3)


def test_one_picture_alone_is_answered_as_in_company(tmp_path: Path) -> None:
    from PIL import Image

    from medbench.families._vision_pictures import read_squares

    paths = []
    for number, pixels in enumerate(pictures(20)):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(pixels).save(paths[-1])
    together = read_squares(paths, SIDE)
    alone = np.concatenate([read_squares([path], SIDE) for path in paths])
    assert np.array_equal(together, alone)
    engine = Engine(network(), SIDE, "cpu")
    for views in (1, 2, 4):
        many = engine.run(together, None, views)
        each = [engine.run(together[at : at + 1], None, views) for at in range(20)]
        assert np.allclose(many[0], np.concatenate([one[0] for one in each]), atol=1e-4)


def test_a_large_photograph_is_read_small_and_looks_the_same(tmp_path: Path) -> None:
    from PIL import Image

    from medbench.families._vision_pictures import read_square

    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 255, (12, 16, 3)).astype(np.uint8)).resize((1600, 1200))
    smooth.save(tmp_path / "large.jpg", quality=95)
    smooth.save(tmp_path / "large.png")
    found = [read_square(str(tmp_path / f"large.{kind}"), 128).astype(int) for kind in ("jpg", "png")]
    assert np.abs(found[0] - found[1]).mean() < 2
