"""Ensembles of small real models: they beat their members, choose on validation only, refuse in words, stand alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from left_models import leave

from medbench import metrics
from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.families import Fitting, Surroundings, get_family
from medbench.families._ensemble_combining import choose, figure, fit_combiner, simplex
from medbench.families._ensemble_evidence import mean_heat, mean_spans
from medbench.families.ensemble import FAMILY, EnsembleModel
from medbench.judging import judge
from medbench.records import Device, Examples, Explanation, Span
from medbench.workspace import Workspace

LABELS = ("cardiac", "hepatic", "renal")
WORDS = {"cardiac": ("heart", "ventricle"), "hepatic": ("liver", "bile"), "renal": ("kidney", "nephron")}


def notes(n: int, seed: int) -> Examples:
    """Return texts whose label shows in one of two words, so that who knows one word of each sees half of them."""
    rng = np.random.default_rng(seed)
    texts, truth = [], np.zeros((n, len(LABELS)), dtype=bool)
    for row in range(n):
        label = int(rng.integers(len(LABELS)))
        truth[row, label] = True
        said = [WORDS[LABELS[label]][int(rng.integers(2))], *rng.choice(["study", "group", "trial", "of"], 6)]
        rng.shuffle(said)
        texts.append(f"{' '.join(said)} {row}")
    return Examples(texts, truth, LABELS, "one", tuple(f"g{row}" for row in range(n)))


TRAIN, VALIDATION, TEST = notes(90, 0), notes(90, 1), notes(90, 2)


def lexicon(at: int) -> dict[str, Any]:
    return {"learn": False, "lexicon": {label: {words[at]: 3.0} for label, words in WORDS.items()}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with two half-blind models of dataset "ours", and others that must not join."""
    place = Workspace.here(tmp_path_factory.mktemp("home"))

    def add(model_id: str, at: int = 0, **facts: Any) -> None:
        given = {"dataset": "ours", "options": lexicon(at), "facts": facts}
        leave(place, "keywords", TRAIN, VALIDATION, model_id=model_id, **given)

    add("first", learnt_from={"rows": 270, "splits": ["train", "validation", "test"]})
    add("second", at=1)
    add("stranger", dataset={"id": "theirs", "name": "theirs"})
    add("picky", labels=["a", "b"])
    add("plural", answer="many")
    add("reader", item="image")
    add("whole", family="ensemble")
    add("learned", family="encoder", learnt_from={"rows": 180, "splits": ["train", "test"]})
    return place


def around(place: Workspace, headline: str = "macro_f1") -> Surroundings:
    return Surroundings(place, "ours", "text", headline)


def fitted(
    place: Workspace, say: Say | None = None, validation: Examples = VALIDATION, **options: Any
) -> EnsembleModel:
    asked = FAMILY.parse({"members": ["first", "second"], **options})
    fitting = Fitting(np.random.default_rng(0), Device(), say or Say(), around=around(place))
    return FAMILY.fit(TRAIN, validation, asked, fitting)


@pytest.mark.parametrize("combine", ["best", "mean", "voting", "weighted", "stacking"])
def test_two_half_blind_models_see_together(place: Workspace, combine: str) -> None:
    model = fitted(place, combine=combine)
    right = (model.scores(TEST.items).argmax(1) == TEST.truth.argmax(1)).mean()
    alone = [(member.probabilities(TEST.items).argmax(1) == TEST.truth.argmax(1)).mean() for member in model.members]
    assert max(alone) < 0.8 and right == 1.0
    assert model.combiner.shares == pytest.approx([0.5, 0.5], abs=0.1)
    assert model.scores(TEST.items).sum(1) == pytest.approx(1, abs=1e-5)


def test_members_disagree_where_one_is_blind(place: Workspace) -> None:
    spread = fitted(place, learn_on="validation").spread(["study of the heart", "study of the trial"])
    assert spread.shape == (2, 3)
    assert spread[0].max() > 0.1 and spread[1].max() < 0.02


def test_it_is_judged_like_any_other_and_names_its_members(place: Workspace) -> None:
    fitting = Fitting(np.random.default_rng(0), Device(), Say(), around=around(place))
    parts = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    options = FAMILY.parse({"members": ["second", "first"], "learn_on": "validation"})
    judged = judge(FAMILY, options, parts, fitting=fitting, keep_learning=False)
    assert judged.metrics["accuracy"].value == 1.0 and judged.known_splits == ("train",)
    told = " ".join(judged.model.notes())
    assert "Second (second, share 0.5" in told and "First (first, share 0.5" in told
    assert "Members that fit in seconds were fitted again on the train split alone." in told
    with pytest.raises(MedbenchError) as caught:
        judge(FAMILY, options, parts, fitting=fitting, keep_learning=True)
    assert str(caught.value) == (
        "Expected keep_learning empty or false for Ensemble, found true. "
        "Leave it empty: it is tuned on rows that its members must not have seen."
    )


def test_the_test_rows_have_no_say(place: Workspace) -> None:
    """Whatever the test split holds, weights and calibration are the same."""
    fitting = [Fitting(np.random.default_rng(0), Device(), Say(), around=around(place)) for _ in range(2)]
    options = FAMILY.parse({"members": ["first", "second"], "combine": "stacking"})
    false = Examples(TEST.items, np.roll(TEST.truth, 1, axis=1), LABELS, "one", TEST.groups)
    found = [
        judge(
            FAMILY, options, {"train": TRAIN, "validation": VALIDATION, "test": test}, fitting=each, keep_learning=False
        )
        for test, each in zip((TEST, false), fitting, strict=True)
    ]
    models = [one.model for one in found]
    assert all(isinstance(model, EnsembleModel) for model in models)
    assert np.array_equal(models[0].combiner.weights, models[1].combiner.weights)  # type: ignore[attr-defined]
    assert np.array_equal(found[0].trust.thresholds, found[1].trust.thresholds)
    assert found[0].metrics["accuracy"].value == 1.0 and found[1].metrics["accuracy"].value == 0.0


def test_a_member_that_knows_more_is_fitted_again_without_it(place: Workspace) -> None:
    """A learnt model of the test rows' own words must not bring them along."""
    home = Workspace(place.data, place.models.parent / "more")
    secret = Examples([f"secret {row}" for row in range(90)], TEST.truth, LABELS, "one", TEST.groups)
    both = Examples([*TRAIN.items, *secret.items], np.concatenate([TRAIN.truth, secret.truth]), LABELS, "one")
    for name in ("one", "two"):
        leave(home, "linear", both, VALIDATION, dataset="ours", model_id=name, splits=("train", "test"))
    fitting = Fitting(np.random.default_rng(0), Device(), Say(), around=Surroundings(home, "ours"))
    model = FAMILY.fit(TRAIN, VALIDATION, FAMILY.parse({"k": 2, "learn_on": "validation"}), fitting)
    assert [member.facts["learnt_from"] for member in model.members] == [{"rows": 90, "splits": ["train"]}] * 2
    assert np.ptp(model.scores(secret.items), axis=0).max() < 0.05


def test_the_best_are_chosen_by_validation(place: Workspace) -> None:
    home = Workspace(place.data, place.models.parent / "choice")
    known = {
        "blind": {**lexicon(0), "lexicon": {}},
        "left": lexicon(0),
        "right": lexicon(1),
        "copied": lexicon(1),
    }
    for name, options in known.items():
        run = {"run": name.replace("copied", "right")}
        leave(home, "keywords", TRAIN, VALIDATION, dataset="ours", model_id=name, options=options, facts=run)
    fitting = Fitting(np.random.default_rng(0), Device(), Say(), around=Surroundings(home, "ours"))
    model = FAMILY.fit(TRAIN, VALIDATION, FAMILY.parse({"k": 2}), fitting)
    assert {member.facts["id"] for member in model.members} == {"left", "right"}
    assert "chosen by their figures on the validation split, not on the test split" in " ".join(model.notes())


REFUSED = [
    (
        ["first", "nobody"],
        "Expected the id of a model as a member of the ensemble, found 'nobody'. Models of this dataset: ",
    ),
    (
        ["first", "stranger"],
        "Expected a model that learnt from this dataset as a member of the ensemble, found 'stranger', which learnt "
        "from 'theirs' (theirs) and may know this one's test rows. Models of this dataset: ",
    ),
    (
        ["first", "picky"],
        "Expected a model with the labels cardiac, hepatic, renal as a member of the ensemble, "
        "found 'picky' with a, b. ",
    ),
    (
        ["first", "plural"],
        "Expected a model that gives one label as a member of the ensemble, "
        "found 'plural', which gives several labels. ",
    ),
    (
        ["first", "reader"],
        "Expected a model that reads texts as a member of the ensemble, found 'reader', which reads pictures. ",
    ),
    (
        ["first", "whole"],
        "Expected single models as members of the ensemble, found 'whole', itself made of others. "
        "Name its members instead.",
    ),
    (
        ["first", "learned"],
        "Expected a model that learnt from the train split only as a member of the ensemble, found 'learned', which "
        "also learnt from the test rows. Train it again with keep_learning: false.",
    ),
    (
        ["first", "first"],
        "Expected at least 2 models of this dataset to combine, found 1: first. "
        "Train more models on it, then name their ids.",
    ),
]


@pytest.mark.parametrize(("names", "sentence"), REFUSED, ids=[names[1] for names, _ in REFUSED])
def test_who_cannot_join_is_told_in_one_sentence(place: Workspace, names: list[str], sentence: str) -> None:
    with pytest.raises(MedbenchError) as caught:
        fitted(place, members=names)
    assert str(caught.value).startswith(sentence)
    told = FAMILY.estimate_among(TRAIN, FAMILY.parse({"members": names}), Device(), around(place)).problems
    assert told == (str(caught.value),)


def test_an_empty_workspace_and_an_empty_validation_are_told(place: Workspace, tmp_path: Path) -> None:
    empty = Surroundings(Workspace.here(tmp_path), "ours")
    told = FAMILY.estimate_among(TRAIN, FAMILY.parse({}), Device(), empty).problems
    assert told[0].startswith("Expected at least 2 models of this dataset to combine, found 0 that could join.")
    with pytest.raises(MedbenchError, match="a validation split for an ensemble"):
        fitted(place, validation=VALIDATION.take([]))
    with pytest.raises(MedbenchError, match=r"the id of a model as a member of the ensemble, found '\.\./x'"):
        fitted(place, members=["../x", "first"])
    stopped = Say()
    stopped.stop.set()
    with pytest.raises(Stopped):
        fitted(place, stopped)


def test_the_estimate_says_who_takes_part(place: Workspace) -> None:
    found = FAMILY.estimate_among(TRAIN, FAMILY.parse({}), Device(), around(place))
    assert not found.problems and found.seconds is not None and found.disk == 2000
    told = " ".join(found.notes)
    assert "Fitted again without the test rows, because they have also learnt from others: First." in told
    assert "all 2 models of this dataset are taken, by their validation figures." in told


def test_it_stands_without_its_members(place: Workspace, tmp_path: Path) -> None:
    home = Workspace.here(tmp_path / "home")
    shutil.copytree(place.models, home.models)
    model = fitted(home, combine="stacking")
    folder = tmp_path / "ensemble"
    folder.mkdir()
    model.save(folder)
    shutil.rmtree(home.models)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    own = ("lexicon.json", "projection.npz", "trust.json", "trust.npz", "member.json")
    assert files == {"ensemble.json", "combiner.npz"} | {
        f"members/{name}/{file}" for name in ("1-first", "2-second") for file in own
    }
    again = FAMILY.load(folder, Device())
    assert again.scores(TEST.items) == pytest.approx(model.scores(TEST.items), abs=1e-5)
    assert again.embed(TEST.items) == pytest.approx(model.embed(TEST.items), abs=1e-3)
    assert again.spread(TEST.items) == pytest.approx(model.spread(TEST.items), abs=1e-5)
    assert again.notes() == model.notes()
    (folder / "members" / "2-second" / "member.json").unlink()
    with pytest.raises(MedbenchError, match=r"Expected member\.json of an ensemble's member, found none in"):
        FAMILY.load(folder, Device())


# --- learnt out of fold ------------------------------------------------------------------------------------------


def test_weights_are_learnt_on_answers_of_fits_that_had_not_seen_the_rows(tmp_path: Path) -> None:
    """Members that know texts by heart, of labels without rhyme: what they answer for seen rows is worth nothing."""
    home = Workspace.here(tmp_path)
    draw = np.random.default_rng(5)
    truth = np.zeros((180, 3), dtype=bool)
    truth[np.arange(180), draw.integers(0, 3, 180)] = True
    noise = Examples([f"only{row} mine{row} study" for row in range(180)], truth, LABELS, "one")
    train, validation = noise.take(range(90)), noise.take(range(90, 180))
    for name in ("one", "two"):
        options = {"min_texts": 1, "C": 1000.0}
        leave(home, "linear", train, validation, dataset="ours", model_id=name, options=options)
    fitting = Fitting(np.random.default_rng(0), Device(), Say(), around=Surroundings(home, "ours", "text", "micro_f1"))
    model = FAMILY.fit(train, validation, FAMILY.parse({"combine": "stacking"}), fitting)
    assert model.cross_fitted
    assert (model.members[0].model.scores(noise.items).argmax(1) == truth.argmax(1)).mean() > 0.9  # by heart
    held = (model.held_out([*train.items, *validation.items]).argmax(1) == truth.argmax(1)).mean()
    assert held < 0.5
    assert [member.facts["learnt_from"]["splits"] for member in model.members] == [["train", "validation"]] * 2


def test_it_is_judged_on_all_that_it_learnt_from_and_says_so(place: Workspace) -> None:
    fitting = Fitting(np.random.default_rng(0), Device(), Say(), around=around(place))
    parts = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    judged = judge(FAMILY, FAMILY.parse({"members": ["first", "second"]}), parts, fitting=fitting, keep_learning=False)
    assert judged.known_splits == ("train", "validation") and len(judged.known) == 180
    assert judged.trust.n_items == 180 and judged.metrics["accuracy"].value == 1.0
    told = " ".join(judged.model.notes())
    assert "Cross-fitted on train and validation rows, answered by fits that had not seen them" in told
    assert "fitted again on the train and validation rows, not on the test split" in told


def test_a_cross_validated_member_brings_its_folds(
    place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Workspace.here(shutil.copytree(place.models.parent, tmp_path / "home"))
    told = FAMILY.parse({"members": ["first", "second"], "learn_on": "out-of-fold"})
    monkeypatch.setattr(type(get_family("keywords")), "cheap", False)  # as if it took hours to fit
    card = json.loads((home.models / "first" / "model.json").read_text())
    card["learnt_from"] = {"rows": 90, "splits": ["train"]}
    (home.models / "first" / "model.json").write_text(json.dumps(card))
    fitting = Fitting(np.random.default_rng(0), Device(), Say(), around=around(home))
    with pytest.raises(MedbenchError, match="members that fit in seconds or were cross-validated") as caught:
        FAMILY.fit(TRAIN, VALIDATION, told, fitting)
    assert FAMILY.estimate_among(TRAIN, told, Device(), around(home)).problems == (str(caught.value),)
    both = TRAIN.with_more(VALIDATION)
    for name in ("first", "second"):
        arrays = {"probabilities": np.full(both.truth.shape, 1 / 3, dtype=np.float32), "truth": both.truth}
        if name == "second":
            arrays["probabilities"] = both.truth.astype(np.float32)
        np.savez_compressed(home.models / name / "folds.npz", **arrays)
    model = FAMILY.fit(TRAIN, VALIDATION, FAMILY.parse({**told.model_dump(), "combine": "stacking"}), fitting)
    assert model.combiner.shares[1] > model.combiner.shares[0] and model.cross_fitted
    assert model.members[1].facts["validation"] == {"macro_f1": 1.0}
    np.savez_compressed(home.models / "first" / "folds.npz", probabilities=np.ones((3, 3)), truth=both.truth[:3])
    with pytest.raises(MedbenchError, match="'first' with 3 others"):
        FAMILY.fit(TRAIN, VALIDATION, told, fitting)


# --- the arithmetic ----------------------------------------------------------------------------------------------


def random_case(answer: str, seed: int = 0, n: int = 300, n_labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return (2, n, L) probabilities, of which the first knows something and the second nothing, and the truth."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((n, n_labels), dtype=bool)
    if answer == "one":
        truth[np.arange(n), rng.integers(0, n_labels, n)] = True
    else:
        truth = rng.random((n, n_labels)) < 0.3
    margin = rng.normal(0, 1.5, (2, n, n_labels))
    margin[0] += 3 * truth
    power = np.exp(margin)
    prob = power / power.sum(-1, keepdims=True) if answer == "one" else power / (1 + power)
    return prob.astype(np.float32), truth


@pytest.mark.parametrize("answer", ["one", "many"])
@pytest.mark.parametrize("kind", ["weighted", "stacking"])
def test_a_member_that_knows_nothing_gets_little(answer: str, kind: str) -> None:
    prob, truth = random_case(answer)
    combiner = fit_combiner(kind, prob, truth, answer, "macro_f1", 1.0)  # type: ignore[arg-type]
    assert combiner.shares[0] > 0.8
    fresh, unseen = random_case(answer, seed=1)
    mean = fit_combiner("mean", prob, truth, answer, "macro_f1", 1.0)  # type: ignore[arg-type]
    better = [figure("macro_f1", each(fresh), unseen, answer) for each in (combiner, mean)]  # type: ignore[arg-type]
    assert better[0] > better[1]


def test_votes_count_first_and_probabilities_tell_where_they_are_equal() -> None:
    # Three members, one item, two labels. Label 0: two of three at their thresholds; label 1: one of three.
    prob = np.array([[[0.6, 0.4]], [[0.3, 0.2]], [[0.1, 0.9]]], dtype=np.float32)
    limits = np.array([[0.5, 0.5], [0.3, 0.5], [0.5, 0.5]])
    truth = np.array([[True, False]])
    voted = fit_combiner("voting", prob, truth, "many", "micro_f1", 0.0, limits)
    assert voted(prob)[0] == pytest.approx([(2 + 1.0 / 3) / 4, (1 + 1.5 / 3) / 4])
    # One label an item: members 0 and 1 for label 0, member 2 for label 1; rows still sum to 1.
    single = np.array([[[0.6, 0.4]], [[0.7, 0.3]], [[0.1, 0.9]]], dtype=np.float32)
    voted = fit_combiner("voting", single, truth, "one", "micro_f1", 0.0, np.zeros((3, 2)))
    assert voted(single)[0] == pytest.approx([(2 + 1.4 / 3) / 4, (1 + 1.6 / 3) / 4])
    assert voted(single).sum() == pytest.approx(1)
    # Divided by shares of .8 and .2, as for balanced accuracy, member 0 votes for label 1 as well.
    voted = fit_combiner("voting", single, truth, "one", "micro_f1", 0.0, np.tile([0.8, 0.2], (3, 1)))
    assert voted(single)[0] == pytest.approx([(0 + 1.4 / 3) / 4, (3 + 1.6 / 3) / 4])


@pytest.mark.parametrize("answer", ["one", "many"])
def test_noise_is_not_stacked_into_gold(answer: str) -> None:
    """Two members of pure noise: in-sample stacking looks better than chance, its held-out scores must not."""
    prob, truth = random_case(answer, n=60, n_labels=12)
    prob = np.stack([prob[1], prob[1][::-1]])
    folds = [np.arange(60)[at::5] for at in range(5)]
    found = choose(("stacking",), prob, truth, answer, "micro_f1", folds)  # type: ignore[arg-type]
    chance = 1 / 12 if answer == "one" else truth.mean()
    assert found.figures["stacking"] < chance + 0.12
    assert figure("micro_f1", found.combiner(prob), truth, answer) > found.figures["stacking"]  # type: ignore[arg-type]


def test_the_figure_is_the_metric_of_its_decisions() -> None:
    prob, truth = random_case("one")
    decided = np.zeros_like(truth)
    decided[np.arange(len(truth)), prob[0].argmax(1)] = True
    told = metrics.evaluate(truth, prob[0], decided, answer="one", rng=np.random.default_rng(0), n_boot=0)
    for name in ("micro_f1", "macro_f1"):
        assert figure(name, prob[0], truth, "one") == pytest.approx(told[name].value)
    # Label 0: both true items among the two highest. Label 1: one of two. Precision = recall: 2/2 and 1/2.
    prob = np.array([[0.9, 0.8], [0.8, 0.1], [0.1, 0.7], [0.2, 0.6]], dtype=np.float32)
    truth = np.array([[1, 1], [1, 0], [0, 0], [0, 1]], dtype=bool)
    assert figure("macro_f1", prob, truth, "many") == pytest.approx((2 / 2 + 1 / 2) / 2)
    assert figure("micro_f1", prob, truth, "many") == pytest.approx(3 / 4)
    assert figure("balanced_accuracy", prob, truth, "many") == pytest.approx((2 / 2 + 1 / 2) / 2)


def test_the_grid_of_weights() -> None:
    assert simplex(2, 3).tolist() == [[0, 1], [0.5, 0.5], [1, 0]]
    for members in (2, 3, 5, 9):
        grid = simplex(members, 400)
        assert 40 < len(grid) <= 400 and grid.sum(1) == pytest.approx(1) and grid.min() == 0
        assert len(np.unique(grid, axis=0)) == len(grid)


def test_spans_of_words_and_sentences_become_one_row() -> None:
    text = "The heart fails. Liver well."
    words = Explanation("x", "words", spans=(Span(4, 9, 3.0), Span(17, 22, -1.0)))
    sentences = Explanation("x", "sentences", spans=(Span(0, 16, 0.5),))
    found = mean_spans(text, [words, sentences], np.array([0.5, 0.5]))
    assert [(text[span.start : span.end], round(span.weight, 4)) for span in found] == [
        ("The", round(0.5 * 4 / 16, 4)),
        ("heart", round(0.5 * 3 / 4 + 0.5 * 5 / 16, 4)),
        ("fails.", round(0.5 * 7 / 16, 4)),
        ("Liver", round(-0.5 * 1 / 4, 4)),
    ]
    assert sum(abs(span.weight) for span in found) == pytest.approx(1)
    assert mean_spans("", [Explanation("x", "none")], np.array([1.0])) == ()


def test_heat_of_other_sizes_is_averaged_by_share() -> None:
    left, right = np.zeros((4, 4), np.float32), np.zeros((2, 2), np.float32)
    left[:, :2], right[:, 1] = 1, 1
    before = left.copy()
    found = mean_heat([left, right], np.array([0.9, 0.1]))
    assert found.shape == (4, 4) and found.min() == 0 and found.max() == 1
    assert found[:, 0].min() > found[:, 3].max()
    assert np.array_equal(left, before)
