"""How well foreign items are told from a model's own: what is measured, on which items, and where it is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FILLER, TOPICS, import_planted
from PIL import Image
from typer.testing import CliRunner

from medbench import foreign, strangers, trust, trust_figures
from medbench.carding import trust_facts
from medbench.cli import app
from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import Fitting, Model
from medbench.families.linear import FAMILY, LinearModel
from medbench.judging import judge
from medbench.pictures import open_picture
from medbench.records import Device, Examples, Explanation, Scores, part_image
from medbench.workspace import Workspace, read_json


def examples(n: int, seed: int) -> Examples:
    """Return abstracts of two topics in their own words."""
    draw = np.random.default_rng(seed)
    truth = draw.random(n) < 0.5
    words = [[*draw.choice(TOPICS["oncology" if one else "cardiology"].split(), 8)] for one in truth]
    texts = [" ".join(draw.permutation([*own, *draw.choice(FILLER, 20)])) for own in words]
    return Examples(texts, np.stack([truth, ~truth], axis=1), ("oncology", "cardiology"), "one")


def parts(n_test: int = 60) -> dict[str, Examples]:
    return {"train": examples(150, 0), "validation": examples(40, 1), "test": examples(n_test, 2)}


def judged_with(look: foreign.Look, n_test: int = 60) -> dict[str, Any]:
    fitting = Fitting(np.random.default_rng(0), Device(), Say())
    found = judge(FAMILY, FAMILY.parse({}), parts(n_test), fitting=fitting, keep_learning=True, elsewhere=look)
    return trust_facts(found)


def test_a_judged_model_tells_letters_from_abstracts_and_not_their_own_words_in_disorder():
    card = judged_with(foreign.Look(Say(), "text"))
    found = card["promises"]["strangers"]
    assert json.loads(json.dumps(found)) == found
    area = {one["what"]: one["auroc"]["value"] for one in found["foreign"]}
    assert area["random letters"] == 1 and area["passages of the Python manual"] > 0.9
    assert area["its own texts with their words in random order"] < 0.7  # a bag of words cannot see order
    assert found["own"]["n"] == 60 and found["own"]["value"] < 0.1
    told = trust_figures.sentences(card["promises"], "one")[-1]
    assert "Random letters: AUROC 1.00 (1.00–1.00), 100% of 60 flagged." in told
    assert trust_figures.beside_unlike(card).endswith("to 1.00 (random letters).")


def test_few_items_or_readings_that_cost_money_are_not_measured():
    assert "strangers" not in judged_with(foreign.Look(Say(), "text"), n_test=foreign.LEAST - 1)["promises"]
    dear = type("Dear", (LinearModel,), {"dear": True})
    look = foreign.Look(Say(), "text")
    asked = (object.__new__(dear), trust.Stranger(np.eye(2, dtype=np.float32), np.zeros(2), 0.5), ["a"] * 60)
    assert look(*asked) == {} and trust_figures.beside_unlike({}) == ""


class Reds(Model):
    """Places pictures by their mean colour."""

    labels, answer = ("a", "b"), "one"

    def scores(self, items: Sequence[str]) -> Scores:
        return np.full((len(items), 2), 0.5, np.float32)

    def embed(self, items: Sequence[str]) -> np.ndarray:
        colours = np.array([np.asarray(open_picture(part_image(item)[0])).mean(axis=(0, 1)) for item in items])
        return (colours / np.linalg.norm(colours, axis=1, keepdims=True)).astype(np.float32)

    def reasons(self, item: str, label: str) -> Explanation:
        return Explanation(label, "none")

    def save(self, folder: Path) -> None:
        """Nothing to keep."""


def test_pictures_of_another_colour_are_told_apart(tmp_path: Path):
    draw = np.random.default_rng(0)
    own = []
    for number in range(80):
        skin = np.clip(draw.normal((210, 150, 120), 12, (24, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(skin).save(tmp_path / f"{number}.png")
        own.append(f'{tmp_path / f"{number}.png"}\n{{"sex":"male"}}')
    model = Reds()
    stranger = trust.fit_stranger(model.embed(own[:40]), model.embed(own[40:]), draw)
    found = foreign.measured(model, stranger, own[40:], "image")
    assert [one["auroc"]["value"] for one in found["foreign"]][-1] == 1  # red and blue swapped
    assert [one["auroc"]["n"] for one in found["foreign"]] == [40] * 4
    assert len(list(tmp_path.iterdir())) == 80  # what was drawn is gone


def test_measured_anew_on_other_items_and_kept_on_request(full_workspace: Workspace, tmp_path: Path):
    place = full_workspace
    card_file = place.model_cards()[0]
    model, before = card_file.parent.name, card_file.read_bytes()
    letters = tmp_path / "letters.csv"
    letters.write_text("text\n" + "\n".join(f"Dear neighbour {n} the garden gate squeaks again" for n in range(40)))
    with pytest.raises(MedbenchError, match="Expected 30 items that the model has not learnt from, found 0 in"):
        strangers.measure(place, model)
    own = import_planted(place, tmp_path, name="more", rows=200)  # 50 of them are new to it
    found = strangers.measure(place, model, own, [letters])
    assert found["own"]["n"] == 50
    assert next(one["what"] for one in found["foreign"]) == "texts of letters.csv"
    assert card_file.read_bytes() == before
    home = {"MEDBENCH_HOME": str(place.data.parent)}
    given = CliRunner().invoke(app, ["strangers", model, "--own", own, "--keep"], env=home)
    assert given.exit_code == 0, given.output
    assert "Random letters: AUROC 1.00" in given.stdout
    assert read_json(card_file)["promises"]["strangers"]["own"]["n"] == 50
