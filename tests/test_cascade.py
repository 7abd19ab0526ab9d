"""A cascade of small real models: nearly the slow one's figures, most texts spared it, refusals in words."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from left_models import leave

from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import Fitting, Surroundings
from medbench.families.cascade import FAMILY, NOBODY, CascadeModel, draw_line
from medbench.families.keywords import KeywordModel
from medbench.records import Device, Examples, Scores
from medbench.workspace import Workspace

LABELS = ("cardiac", "renal")
KNOWN, OTHER = {"cardiac": "heart", "renal": "kidney"}, {"cardiac": "ventricle", "renal": "nephron"}


def notes(n: int, seed: int) -> Examples:
    """Return texts of which two in three carry a word that both models know, the rest one that only the slow knows."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((n, 2), dtype=bool)
    texts = []
    for row in range(n):
        truth[row, label := int(rng.integers(2))] = True
        words = KNOWN if row % 3 else OTHER
        texts.append(" ".join([words[LABELS[label]], *rng.choice(["study", "group", "trial"], 5), str(row)]))
    return Examples(texts, truth, LABELS, "one", tuple(f"g{row}" for row in range(n)))


TRAIN, VALIDATION, TEST = notes(120, 0), notes(120, 1), notes(120, 2)


def lexicon(*words: dict[str, str]) -> dict[str, Any]:
    return {"learn": False, "lexicon": {label: {each[label]: 3.0 for each in words} for label in LABELS}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = Workspace.here(tmp_path_factory.mktemp("home"))
    for name, options in (("half", lexicon(KNOWN)), ("full", lexicon(KNOWN, OTHER)), ("blind", lexicon(OTHER))):
        leave(place, "keywords", TRAIN, VALIDATION, dataset="ours", model_id=name, options=options)
    return place


def fitted(place: Workspace, **options: Any) -> CascadeModel:
    fitting = Fitting(np.random.default_rng(0), Device(), Say(), around=Surroundings(place, "ours", "text", "micro_f1"))
    return FAMILY.fit(TRAIN, VALIDATION, FAMILY.parse({"quick": "half", "slow": "full", **options}), fitting)


def right(model: CascadeModel) -> float:
    return float((model.scores(TEST.items).argmax(1) == TEST.truth.argmax(1)).mean())


def test_it_keeps_the_slow_models_figures_and_spares_it_most_texts(place: Workspace) -> None:
    model = fitted(place)
    assert right(model) == 1.0
    passed = model.passed_on(TEST.items)
    assert passed.tolist() == [row % 3 == 0 for row in range(120)]
    assert model.card["share"] == pytest.approx(2 / 3, abs=0.01)
    assert "answers what it is sure of, 67 % of the validation rows" in model.notes()[0]
    assert model.scores(TEST.items[:1]) == pytest.approx(model.slow.probabilities(TEST.items[:1]))
    assert model.scores(TEST.items[1:2]) == pytest.approx(model.quick.probabilities(TEST.items[1:2]))


def test_what_is_marked_comes_from_the_model_that_answered(place: Workspace) -> None:
    model = fitted(place)
    for text, word in (("ventricle study", "ventricle"), ("heart study", "heart")):
        spans = model.reasons(text, "cardiac").spans
        assert any(text[span.start : span.end] == word for span in spans)


def test_the_more_may_be_lost_the_more_the_quick_model_answers(place: Workspace) -> None:
    shares = [fitted(place, loss=loss).card["share"] for loss in (0, 5, 10)]
    assert shares == sorted(shares)


def test_where_no_line_holds_the_slow_model_answers_everything() -> None:
    truth = np.eye(2, dtype=bool)[np.arange(40) % 2]
    good, bad = truth.astype(np.float32), (~truth).astype(np.float32)
    line = draw_line(np.linspace(0, 1, 40), bad, good, truth, "one", "micro_f1", 0.0)
    assert (line.limit, line.share, line.figures["cascade"]) == (NOBODY, 0.0, 1.0)


def test_it_stands_alone_once_saved(place: Workspace, tmp_path: Path) -> None:
    model = fitted(place)
    (tmp_path / "kept").mkdir()
    model.save(tmp_path / "kept")
    again = FAMILY.load(tmp_path / "kept", Device())
    assert np.array_equal(model.scores(TEST.items), again.scores(TEST.items))
    shutil.rmtree(tmp_path / "kept" / "2-slow")
    with pytest.raises(MedbenchError, match="Restore"):
        FAMILY.load(tmp_path / "kept", Device())


@pytest.mark.parametrize(
    ("quick", "slow", "found"),
    [("", "full", "found none and full"), ("full", "full", "found full and full"), ("half", "nobody", "nobody")],
)
def test_two_models_must_be_named(place: Workspace, quick: str, slow: str, found: str) -> None:
    with pytest.raises(MedbenchError, match=found):
        fitted(place, quick=quick, slow=slow)


class Remembering(KeywordModel):
    """A keyword model that keeps what it was asked to read."""

    def scores(self, items: Sequence[str]) -> Scores:
        self.read = [*getattr(self, "read", []), *items]
        return super().scores(items)


def test_the_quick_model_reads_a_text_once_for_scores_and_for_what_is_cut(place: Workspace) -> None:
    model = fitted(place)
    plain = model.quick.model
    assert isinstance(plain, KeywordModel)
    quick = Remembering(**{each.name: getattr(plain, each.name) for each in fields(KeywordModel)})
    model = CascadeModel(replace(model.quick, model=quick), model.slow, model.card)
    model.scores(TEST.items)
    assert model.cut(TEST.items).shape == (120,)
    assert quick.read == list(TEST.items)
    assert model.passed_on(TEST.items[3:5]).tolist() == [True, False]  # others are read


def test_a_slow_model_that_is_no_better_is_called_needless(place: Workspace) -> None:
    model = fitted(place, quick="full", slow="half")
    assert model.card["share"] == 1 and not model.passed_on(TEST.items).any()
    assert "the slow one is not needed" in model.notes()[-1]
