"""Picture networks on small real trainings: they learn a planted mark, point at it, and come back as saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import Fitting
from medbench.families.vision import FAMILY, VisionModel
from medbench.records import Device, Examples, join_image

SIDE, MARK = 64, 20
ARCHITECTURES = ("test_efficientnet", "test_vit", "test_resnet")


def planted(folder: Path, n: int) -> tuple[Examples, list[tuple[int, int]]]:
    """Draw pictures with a red or a blue square somewhere; return them and where the squares begin (row, column)."""
    rng = np.random.default_rng(0)
    items, truth, places = [], [], []
    for number in range(n):
        pixels = rng.integers(150, 200, (SIDE, SIDE, 3)).astype(np.uint8)
        top, left = (int(value) for value in rng.integers(2, SIDE - MARK - 2, 2))
        pixels[top : top + MARK, left : left + MARK] = (210, 30, 30) if number % 2 else (30, 30, 210)
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        items.append(join_image(str(path), {"age": str(30 + number % 40), "sex": "female"}))
        truth.append([number % 2 == 0, number % 2 == 1])
        places.append((top, left))
    return Examples(items, np.array(truth), ("blue", "red"), "one"), places


def fitted(examples: Examples, **options: object) -> VisionModel:
    """Train on all but the last 20 pictures, from random weights."""
    asked = {"base": "test_efficientnet", "weights": "random", "size": SIDE, "epochs": 6, "batch": 16}
    asked |= {"learning_rate": 3e-3, "early_stopping": 0, "stretch": 0.0, "zoom": 0.1, **options}
    fitting = Fitting(np.random.default_rng(0), Device(), Say())
    cut = len(examples) - 20
    parts = examples.take(range(cut)), examples.take(range(cut, len(examples)))
    return FAMILY.fit(*parts, FAMILY.parse(asked), fitting)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Examples, list[tuple[int, int]]]:
    return planted(tmp_path_factory.mktemp("planted"), 120)


@pytest.mark.parametrize("base", ARCHITECTURES)
def test_it_learns_a_planted_mark_and_its_heat_lies_on_it(
    drawn: tuple[Examples, list[tuple[int, int]]], base: str
) -> None:
    examples, places = drawn
    model = fitted(examples, base=base)
    scores = model.scores(examples.items[100:])
    assert np.allclose(scores.sum(1), 1, atol=1e-5)
    assert (scores.argmax(1) == examples.truth[100:].argmax(1)).mean() >= 0.9
    chance = (MARK / SIDE) ** 2
    shares = []
    for row in range(101, 120, 2):
        heat = model.heat(examples.items[row], "red", "layer-cam").heat
        assert heat is not None
        top, left = places[row]
        large = np.asarray(Image.fromarray(heat).resize((SIDE, SIDE), Image.Resampling.NEAREST))
        shares.append(large[top : top + MARK, left : left + MARK].sum() / max(large.sum(), 1e-9))
    assert np.mean(shares) > 1.5 * chance


def test_all_parts_together_learn_and_come_back_as_saved(
    drawn: tuple[Examples, list[tuple[int, int]]], tmp_path: Path
) -> None:
    examples, _ = drawn
    more = {"attention": "cbam", "pooling": "attention", "multi_scale": True, "metadata": True, "frozen_epochs": 1}
    model = fitted(examples, views=4, imbalance="focal", **more)
    model.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    again = FAMILY.load(tmp_path, Device())
    held = examples.items[100:]
    assert np.allclose(again.scores(held), model.scores(held), atol=1e-5)
    assert np.allclose(np.linalg.norm(again.embed(held), axis=1), 1, atol=1e-4)
    spread = again.spread(held)
    assert spread.shape == (20, 2)
    assert (spread >= 0).all() and spread.max() > 0


def test_openvino_and_torch_agree(drawn: tuple[Examples, list[tuple[int, int]]]) -> None:
    examples, _ = drawn
    model = fitted(examples, base="test_vit", epochs=1, attention="se")
    from medbench.families._vision_pictures import read_squares

    engine = model._engine
    pixels = read_squares(examples.items[:8], engine.size)
    compiled = engine._answer(pixels, None)
    plain = engine._with_torch(pixels, None)
    assert np.allclose(compiled[0], plain[0], atol=2e-3)
    assert np.allclose(compiled[1], plain[1], atol=2e-3)


@pytest.mark.parametrize("base", ["resnet50", "swin_tiny_patch4_window7_224", "test_vit"])
def test_every_kind_of_network_gives_heat_of_a_picture_it_decodes_once(
    base: str, drawn: tuple[Examples, list[tuple[int, int]]], tmp_path: Path
) -> None:
    examples, _ = drawn
    model = fitted(examples.take(range(24)), base=base, epochs=0.1, batch=4)
    path = tmp_path / "once.png"
    path.write_bytes(Path(examples.items[0].partition("\n")[0]).read_bytes())
    first = model.heat(str(path), "blue").heat
    path.unlink()
    for method in model.methods():
        heat = model.heat(str(path), "blue", method).heat
        assert heat is not None and heat.ndim == 2 and heat.dtype == np.float32
        assert heat.min() >= 0 and heat.max() <= 1
    assert model.heat(str(path), "red").heat is not None
    assert np.array_equal(model.heat(str(path), "blue").heat, first)
    with pytest.raises(MedbenchError):
        model.heat(str(tmp_path / "another.png"), "blue")
    assert ("attention-rollout" in model.methods()) == (base == "test_vit")


def test_a_picture_with_several_sets_of_facts_is_decoded_once(tmp_path: Path) -> None:
    from medbench.families._vision_pictures import read_each_once, read_squares

    rng = np.random.default_rng(0)
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(path)
    items = [
        join_image(str(paths[at]), facts) for at, facts in ((0, {"age": "3"}), (1, {}), (0, {}), (0, {"age": "4"}))
    ]
    found = read_each_once(items, 16)
    assert np.array_equal(found, read_squares(items, 16))
    assert not np.array_equal(found[0], found[1])


def test_int8_weights_are_a_quarter_and_nearly_the_same() -> None:
    import torch

    from medbench.families._vision_weights import packed, unpacked

    state = {"large.weight": torch.randn(64, 128), "small.bias": torch.randn(64)}
    kept = packed(state, "int8")
    back = unpacked(kept)
    assert kept["large.weight"].dtype == torch.int8
    worst = (back["large.weight"] - state["large.weight"]).abs() / state["large.weight"].abs().amax(1, keepdim=True)
    assert worst.max() <= 0.03 + 0.5 / 127 and worst.mean() < 0.3 / 127
    assert torch.equal(back["small.bias"], state["small.bias"])


def test_a_model_kept_in_float_can_be_kept_in_int8_afterwards(
    drawn: tuple[Examples, list[tuple[int, int]]], tmp_path: Path
) -> None:
    examples, _ = drawn
    model = fitted(examples, epochs=1, keep="fp32")
    small = model.in_int8(examples.items)
    assert small is not model and small.in_int8(examples.items) is small
    assert np.abs(small.scores(examples.items[:20]) - model.scores(examples.items[:20])).max() < 0.05
    sizes = []
    for name, each in (("large", model), ("small", small)):
        (tmp_path / name).mkdir()
        each.save(tmp_path / name)
        sizes.append((tmp_path / name / "weights.safetensors").stat().st_size)
    assert sizes[1] < 0.5 * sizes[0]
    again = FAMILY.load(tmp_path / "small", Device())
    assert np.array_equal(again.scores(examples.items[:5]), small.scores(examples.items[:5]))


def test_imagenet_weights_fit_timm_key_by_key() -> None:
    from medbench.families._vision_weights import imagenet_base, obtainable, packaged

    assert packaged("tf_efficientnet_lite0") is not None and obtainable("tf_efficientnet_lite0")
    network = imagenet_base("tf_efficientnet_lite0", 128)
    assert float(network.conv_stem.weight.detach().std()) > 0.1


def test_wrong_names_are_one_sentence(drawn: tuple[Examples, list[tuple[int, int]]], tmp_path: Path) -> None:
    examples, _ = drawn
    with pytest.raises(MedbenchError, match="timm network"):
        fitted(examples, base="no_such_network")
    with pytest.raises(MedbenchError, match="no such file"):
        FAMILY.load(tmp_path, Device())
    torn = examples.items[0].partition("\n")[0]
    cut = tmp_path / "torn.png"
    cut.write_bytes(Path(torn).read_bytes()[:300])
    with pytest.raises(MedbenchError):
        fitted(examples.take([*range(39), 39])).scores([str(cut)])
