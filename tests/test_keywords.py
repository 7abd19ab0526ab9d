"""The keyword family: telling terms, a lexicon a person can edit, marks where the terms stand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medbench.errors import MedbenchError, Stopped
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.families.keywords import log_odds
from medbench.records import Device, Examples

FAMILY = get_family("keywords")


def examples(n_items=120, seed=0):
    """Return texts about hearts and livers; the words of their labels are planted."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n_items, 2)) < 0.4
    texts = []
    for heart, liver in truth:
        words = list(rng.choice(["patients", "study", "group", "months", "dose", "the", "of", "a", "with", "risk"], 15))
        words += ["chest pain", "infarction"] if heart else []
        words += ["jaundice", "hepatic"] if liver else []
        rng.shuffle(words)
        texts.append(" ".join(words))
    return Examples(texts, truth, ("heart", "liver"), "many")


def fit(train, say=None, **options):
    """Fit the family."""
    return FAMILY.fit(
        train, train.take([]), FAMILY.parse(options), Fitting(np.random.default_rng(0), Device(), say or Say())
    )


def test_the_lexicon_holds_the_telling_terms():
    model = fit(examples())
    assert set(model.lexicon["liver"]) >= {"jaundice", "hepatic"}
    assert "chest pain" in model.lexicon["heart"] and "infarction" in model.lexicon["heart"]
    everything = {term for terms in model.lexicon.values() for term in terms}
    assert everything.isdisjoint({"the", "of", "of the", "with", "patients of"})
    assert all(weight > 0 for terms in model.lexicon.values() for weight in terms.values())


def test_it_learns():
    model, new = fit(examples()), examples(80, seed=3)
    assert ((model.scores(new.items) > 0.5) == new.truth).mean() > 0.97


def test_log_odds_hand_worked():
    # One term in 8 of 10 texts inside and in 2 of 90 outside; prior 50 x 10.5 / 101 texts.
    inside = np.arange(100) < 10
    weight, certainty = log_odds(np.array([8.0]), np.array([10.0]), inside)
    prior = 50 * 10.5 / 101
    here, there = 8 + prior, 2 + prior
    expected = np.log(here / (10 + 50 - here + 0.5)) - np.log(there / (90 + 50 - there + 0.5))
    assert weight[0] == pytest.approx(expected)
    assert certainty[0] == pytest.approx(expected / np.sqrt(1 / here + 1 / there))


def test_own_terms_are_added_changed_and_removed():
    own = {"heart": {"Shortness of  Breath!": 6.0, "infarction": 0.0, "jaundice": -4.0}}
    model = fit(examples(), lexicon=own)
    assert model.lexicon["heart"]["shortness of breath"] == 6.0
    assert "infarction" not in model.lexicon["heart"]
    scores = model.scores(["acute Shortness of breath", "nothing of the kind", "chest pain", "chest pain jaundice"])[
        :, 0
    ]
    assert scores[0] > scores[1] and scores[2] > scores[3]


def test_only_own_terms_when_learning_is_off():
    model = fit(examples(), learn=False, lexicon={"liver": {"jaundice": 1.0}})
    assert model.lexicon == {"heart": {}, "liver": {"jaundice": 1.0}}
    scores = model.scores(["jaundice", "chest pain"])
    assert scores[0, 1] > 0.8 > 0.2 > scores[1, 1]
    assert scores[0, 0] == pytest.approx(scores[1, 0])  # a label without terms has one answer
    assert np.isfinite(model.embed(["jaundice", "nothing"])).all()


def test_a_wrong_lexicon_is_told():
    with pytest.raises(MedbenchError, match=r"labels of the dataset in the lexicon \(heart, liver\), found 'lung'"):
        fit(examples(), lexicon={"lung": {"cough": 1.0}})
    with pytest.raises(MedbenchError, match="terms with letters and finite weights"):
        fit(examples(), lexicon={"liver": {"...": 1.0}})
    with pytest.raises(MedbenchError, match="valid options for keywords"):
        FAMILY.parse({"lexicon": {"liver": {"bile": "strong"}}})


def test_marks_stand_where_the_terms_stand():
    model = fit(examples())
    text = "Months of CHEST PAIN, then jaundice; again chest pain."
    found = model.reasons(text, "heart")
    assert {text[span.start : span.end].lower() for span in found.spans if span.weight > 0} == {"chest pain"}
    assert len(found.spans) == 2 and found.spans[0].weight == pytest.approx(found.spans[1].weight)
    once = model.reasons("Months of CHEST PAIN in a study group of patients with risk, for dose.", "heart")
    assert once.faithfulness > 0.1
    assert model.reasons("nothing to see", "heart").spans == ()


def test_empty_text_gets_the_shares_and_a_text_without_terms_less():
    train = examples(300)
    model = fit(train)
    shares = (train.truth.sum(axis=0) + 0.5) / 301
    assert model.scores(["", " !"]) == pytest.approx(np.tile(shares, (2, 1)), abs=1e-6)
    assert (model.scores(["the study group"])[0] < shares).all()


def test_the_lexicon_on_disk_is_readable(tmp_path):
    model = fit(examples())
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lexicon.json", "projection.npz"]
    entry = json.loads((tmp_path / "lexicon.json").read_text())["labels"]["liver"]
    assert set(entry) == {"share", "slope", "bias", "terms"} and entry["terms"]["jaundice"] > 0
    loaded = FAMILY.load(tmp_path, Device())
    texts = examples(20, seed=1).items
    assert (loaded.scores(texts) == model.scores(texts)).all()
    assert (loaded.embed(texts) == model.embed(texts)).all()


def test_hand_edited_terms_are_refused_with_the_way_to_do_it(tmp_path):
    fit(examples()).save(tmp_path)
    facts = json.loads((tmp_path / "lexicon.json").read_text())
    facts["labels"]["liver"]["terms"]["bile"] = 2.0
    (tmp_path / "lexicon.json").write_text(json.dumps(facts))
    with pytest.raises(MedbenchError, match="give the edited terms to a new run"):
        FAMILY.load(tmp_path, Device())


def test_cancel_stops():
    say = Say()
    say.stop.set()
    with pytest.raises(Stopped):
        fit(examples(), say)
