"""A picture network learns from another's scores, or begins where another ended; strangers are refused in words."""

from __future__ import annotations

import shutil
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from left_models import leave
from PIL import Image

from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import Fitting, Surroundings
from medbench.families._vision_former import distilled
from medbench.families.vision import FAMILY, VisionModel
from medbench.records import Device, Examples, join_image
from medbench.workspace import Workspace, read_json, write_json

SIDE, MARK = 64, 20
SMALL = {"base": "test_vit", "weights": "random", "size": SIDE, "batch": 16, "keep": "fp32"}
SMALL |= {
    "learning_rate": 1e-3,
    "early_stopping": 0,
    "stretch": 0.0,
    "zoom": 0.1,
    "colour": 0.0,
    "views": 1,
    "rotation": 0.0,
    "epochs": 8,
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """120 pictures with a red or a blue square somewhere."""
    folder, rng = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    items = []
    for number in range(120):
        pixels = rng.integers(150, 200, (SIDE, SIDE, 3)).astype(np.uint8)
        top, left = (int(value) for value in rng.integers(2, SIDE - MARK - 2, 2))
        pixels[top : top + MARK, left : left + MARK] = (210, 30, 30) if number % 2 else (30, 30, 210)
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        items.append(join_image(str(path)))
    return Examples(items, np.tile(np.eye(2, dtype=bool), (60, 1)), ("blue", "red"), "one")


@pytest.fixture(scope="module")
def place(drawn: Examples, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a network that knows the squares, one of another base, and copies under other cards."""
    place = Workspace.here(tmp_path_factory.mktemp("home"))
    parts = drawn.take(range(80)), drawn.take(range(80, 100))
    leave(place, "vision", *parts, dataset="squares", model_id="teacher", options=SMALL)
    short = {**SMALL, "base": "test_resnet", "epochs": 0.1}
    leave(place, "vision", *parts, dataset="squares", model_id="other-base", options=short)
    copies: dict[str, dict[str, Any]] = {
        "stranger": {"dataset": {"id": "circles", "name": "circles"}},
        "knows-all": {"learnt_from": {"rows": 100, "splits": ["train", "test"]}},
        "many-in-one": {"family": "ensemble"},
    }
    for name, facts in copies.items():
        shutil.copytree(place.models / "teacher", place.models / name)
        path = place.models / name / "model.json"
        write_json(path, {**read_json(path), "id": name, **facts})
    return place


def student(drawn: Examples, place: Workspace, train: Examples | None = None, **options: Any) -> VisionModel:
    around = Surroundings(place, "squares", "image", "balanced_accuracy")
    fitting = Fitting(np.random.default_rng(1), Device(), Say(), around=around)
    parts = train or drawn.take(range(80)), drawn.take(range(80, 100))
    return FAMILY.fit(*parts, FAMILY.parse({**SMALL, **options}), fitting)


def right(model: VisionModel, drawn: Examples) -> float:
    held = drawn.take(range(100, 120))
    return float((model.scores(held.items).argmax(1) == held.truth.argmax(1)).mean())


def test_a_student_follows_its_teacher_against_wrong_labels(drawn: Examples, place: Workspace) -> None:
    """Every training label is the wrong one; who listens to the teacher alone answers as the teacher does."""
    train = drawn.take(range(80))
    wrong = Examples(train.items, train.truth[:, ::-1].copy(), train.labels, "one")
    model = student(drawn, place, wrong, teacher="teacher", teacher_weight=1.0)
    assert right(model, drawn) >= 0.9
    alone = student(drawn, place, wrong, teacher="teacher", teacher_weight=0.0)
    assert right(alone, drawn) <= 0.3
    assert model.notes() == (
        "It learnt from the scores of Teacher (teacher) as well as from the labels: their share of the loss was 1, "
        "softened by a temperature of 2.",
    )


def test_a_training_begins_where_another_ended(drawn: Examples, place: Workspace, tmp_path: Path) -> None:
    still = {"epochs": 0.1, "learning_rate": 1e-9, "head_learning_rate": 1e-9}
    begun = student(drawn, place, start_from="teacher", dropout=0.1, **still)
    assert right(begun, drawn) >= 0.9
    assert right(student(drawn, place, **still), drawn) <= 0.8
    assert begun.notes() == ("Its training began with the weights of Teacher (teacher).",)
    begun.save(tmp_path)
    again = FAMILY.load(tmp_path, Device())
    assert again.scores(drawn.items[:5]) == pytest.approx(begun.scores(drawn.items[:5]), abs=1e-5)
    assert again.notes() == begun.notes()


def test_weights_are_judged_again_or_averaged_without_learning(drawn: Examples, place: Workspace) -> None:
    same = student(drawn, place, start_from="teacher", epochs=0, keep="fp32")
    teacher = FAMILY.load(place.models / "teacher", Device())
    assert same.scores(drawn.items[:5]) == pytest.approx(teacher.scores(drawn.items[:5]), abs=1e-5)
    assert same.notes() == ("It is the weights of Teacher (teacher).",)
    other = student(drawn, place, start_from="teacher", epochs=2, keep="fp32", average_epochs=0)
    (place.models / "other").mkdir()
    other.save(place.models / "other")
    write_json(
        place.models / "other" / "model.json",
        {**read_json(place.models / "teacher" / "model.json"), "id": "other", "name": "Other", "run": "other"},
    )
    mean = student(drawn, place, start_from="teacher", average_with=["other", "teacher"], epochs=0, keep="fp32")
    for name, values in mean._network.state_dict().items():
        if values.is_floating_point():
            both = (same._network.state_dict()[name] + other._network.state_dict()[name]) / 2
            assert values.numpy() == pytest.approx(both.numpy(), abs=1e-6), name
    assert mean.notes() == ("It is the mean of the weights of Teacher (teacher), Other (other).",)
    shutil.rmtree(place.models / "other")


REFUSED = [
    (
        {"epochs": 0},
        "Expected the network to start from to judge, because no epochs are asked for, found none. "
        "Name it in start_from.",
    ),
    (
        {"average_with": ["teacher"]},
        "Expected the network to start from to average others with, found none. Name it in start_from.",
    ),
    (
        {"start_from": "teacher", "average_with": ["nobody"]},
        "Expected the id of a model as the network to start from, found 'nobody'. Models of this dataset: ",
    ),
    ({"teacher": "nobody"}, "Expected the id of a model as the teacher, found 'nobody'. Models of this dataset: "),
    (
        {"teacher": "stranger"},
        "Expected a model that learnt from this dataset as the teacher, found 'stranger', which learnt from 'circles' "
        "(circles) and may know this one's test rows. Models of this dataset: ",
    ),
    (
        {"teacher": "knows-all"},
        "Expected a model that learnt from the train split only as the teacher, found 'knows-all', which also learnt "
        "from the test rows. Train it again with keep_learning: false.",
    ),
    (
        {"start_from": "stranger"},
        "Expected a model that learnt from this dataset as the network to start from, found 'stranger', which learnt "
        "from 'circles' (circles) and may know this one's test rows. Models of this dataset: ",
    ),
    (
        {"start_from": "many-in-one"},
        "Expected a picture network as the network to start from, found 'many-in-one', of the family ensemble. "
        "Choose another, or none.",
    ),
    (
        {"start_from": "other-base"},
        "Expected the network to start from to have the same base and parts, found 'other-base' with base "
        "'test_resnet'. Set these options as they were there, or choose another network.",
    ),
]
SIZE = (
    "Expected the network to start from to have the same base and parts, found 'teacher' with size 64. "
    "Set these options as they were there, or choose another network."
)


@pytest.mark.parametrize(("options", "sentence"), REFUSED, ids=[str(options) for options, _ in REFUSED])
def test_a_model_that_does_not_fit_is_refused(
    drawn: Examples, place: Workspace, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(MedbenchError) as caught:
        student(drawn, place, **options)
    assert str(caught.value).startswith(sentence)
    around = Surroundings(place, "squares", "image")
    told = FAMILY.estimate_among(drawn.take(range(80)), FAMILY.parse({**SMALL, **options}), Device(), around).problems
    assert told == (str(caught.value),)


def test_the_positions_of_a_transformer_belong_to_one_size(drawn: Examples, place: Workspace) -> None:
    with pytest.raises(MedbenchError) as caught:
        student(drawn, place, start_from="teacher", size=32)
    assert str(caught.value) == SIZE


def test_the_loss_by_hand() -> None:
    import torch
    from torch.nn import functional

    def plain(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, labels)

    logits, labels, soft = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.8, 0.2]])
    apart = 0.8 * log(0.8 / 0.5) + 0.2 * log(0.2 / 0.5)
    half = distilled(plain, 0.5, 1.0, "one")
    assert float(half(logits, labels, soft)) == pytest.approx(0.5 * log(2) + 0.5 * apart, abs=1e-6)
    assert float(half(logits, labels)) == pytest.approx(log(2), abs=1e-6)
    # At T = 2 the teacher says sqrt(.8) : sqrt(.2) = 2/3 : 1/3; T^2 = 4 keeps the gradient's size.
    softer = 2 / 3 * log(4 / 3) + 1 / 3 * log(2 / 3)
    assert float(distilled(plain, 1.0, 2.0, "one")(logits, labels, soft)) == pytest.approx(4 * softer, abs=1e-6)
    many = distilled(plain, 1.0, 1.0, "many")
    assert float(many(logits, labels, torch.tensor([[0.8, 0.2]]))) == pytest.approx(apart, abs=1e-6)
    assert float(many(soft.logit(), labels, soft)) == pytest.approx(0, abs=1e-6)
