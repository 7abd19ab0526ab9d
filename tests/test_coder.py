"""The coder: phrases that annotators marked, phrases that texts share, and what it shows for a label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medbench.errors import MedbenchError
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.families._phrases import grams_of, learn, level, sentences_of, told_by
from medbench.records import Device, Examples, Mark

FAMILY = get_family("coder")
FINDINGS = {
    "I85.0": "esophageal varices",
    "I83.9": "varices",
    "R50.9": "fever",
    "K74.6": "liver cirrhosis",
    "R05": "dry cough",
}
CODES = tuple(FINDINGS)


def fitting(seed=0):
    return Fitting(np.random.default_rng(seed), Device(), Say())


def notes(n_items=80, seed=0, marked=True):
    """Return notes in which findings stand among filler words, each marked where it stands."""
    rng = np.random.default_rng(seed)
    texts, truth, marks = [], np.zeros((n_items, len(CODES)), dtype=bool), []
    for row in range(n_items):
        text, mine = "Seen on the ward.", []
        for at in rng.choice(len(CODES), size=2, replace=False):
            truth[row, at] = True
            begin = f"{text} Examination {rng.choice(['then', 'again', 'later'])} showed "
            mine.append(Mark(CODES[at], len(begin), len(begin) + len(FINDINGS[CODES[at]])))
            text = f"{begin}{FINDINGS[CODES[at]]} in {rng.choice(['march', 'may', 'june'])}."
        texts.append(text)
        marks.append(tuple(mine))
    return Examples(texts, truth, CODES, "many", (), tuple(marks) if marked else ())


@pytest.fixture(scope="module")
def model():
    train = notes()
    return FAMILY.fit(train, train.take([]), FAMILY.parse({}), fitting())


def test_spellings_are_levelled():
    words = ("Varices", "biopsies", "Haematuria", "diarrhoea", "fiebré", "Stenosis", "HIV")
    assert list(map(level, words)) == ["varice", "biopsy", "hematuria", "diarrhea", "fiebre", "stenosis", "hiv"]


def test_a_mark_tells_its_phrases_and_the_shares_are_counted():
    sentences = sentences_of("Esophageal varices were seen.")
    told = told_by(sentences, [Mark("I85.0", 0, 18)], {"I85.0": 0})
    assert told == {
        "esophageal": {0: False}, "esophageal varice": {0: True}, "varice": {0: False}
    }  # fmt: skip
    train = Examples(
        ["Esophageal varices.", "Leg varices.", "Varices."],
        np.array([[True], [False], [False]]),
        ("I85.0",),
        "many",
        (),
        ((Mark("I85.0", 0, 18),), (), ()),
    )
    read = [sentences_of(item) for item in train.items]
    phrases, _ = learn(train, [grams_of(one) for one in read], read)
    columns, signals = phrases.signals(grams_of(sentences_of("Varices")))
    # "varice" stands in 3 texts, in 1 of which it touched a mark: 1 / (3 + 1); it never covered one.
    assert columns == [0] and signals[0, :2].tolist() == pytest.approx([0, 1 / 4])


def test_a_text_is_not_judged_by_its_own_marks():
    train = notes(1)
    read = [sentences_of(item) for item in train.items]
    grams = [grams_of(one) for one in read]
    phrases, told = learn(train, grams, read)
    assert len(phrases.signals(grams[0])[0]) == 2
    assert phrases.signals(grams[0], told[0])[0] == []


@pytest.mark.parametrize("marked", [True, False])
def test_it_learns_with_and_without_marks(marked):
    train, new = notes(marked=marked), notes(60, seed=5)
    fitted = FAMILY.fit(train, train.take([]), FAMILY.parse({}), fitting())
    scores = fitted.scores(new.items)
    top = np.argsort(-scores, axis=1)[:, :2]
    right = np.take_along_axis(new.truth, top, axis=1).mean()
    assert right > 0.95


def test_the_longer_phrase_wins_where_marks_say_so(model):
    alone, inside = model.scores(
        ["Examination showed varices in may.", "Examination showed esophageal varices in may."]
    )
    at = {code: number for number, code in enumerate(CODES)}
    assert alone[at["I83.9"]] > 0.5 > alone[at["I85.0"]]
    assert inside[at["I85.0"]] > 0.5


def test_reasons_are_the_phrases_in_the_original_text(model):
    text = "Known Liver Cirrhosis.\nExamination again showed dry  cough in may."
    shown = model.reasons(text, "K74.6")
    assert shown.method == "phrases known for the label"
    assert [text[span.start : span.end] for span in shown.spans] == ["Liver Cirrhosis"]
    assert 0 < shown.spans[0].weight <= 1 and shown.faithfulness > 0.3
    assert [text[span.start : span.end] for span in model.reasons(text, "R05").spans] == ["dry  cough"]
    assert model.reasons(text, "R50.9").method == "weight × TF-IDF"


def test_saved_and_loaded_it_answers_the_same(model, tmp_path):
    model.save(tmp_path)
    again = FAMILY.load(tmp_path, Device())
    new = notes(20, seed=9)
    assert again.scores(new.items) == pytest.approx(model.scores(new.items), abs=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coder.json", "coder.npz", "vocabulary.json"]
    (tmp_path / "coder.npz").write_bytes(b"broken")
    with pytest.raises(MedbenchError, match="the files of a coder model"):
        FAMILY.load(tmp_path, Device())


def test_blank_training_texts_are_refused():
    train = replace(notes(3), items=["", " ", "\n"])
    with pytest.raises(MedbenchError, match="training texts with words"):
        FAMILY.fit(train, train.take([]), FAMILY.parse({}), fitting())
