"""Codes from a note without training: spotted phrases, their places, whose they are, and what training adds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from medbench.codes import tables
from medbench.codes_spotting import Suggestion, icd9_of, mentions
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.families.lookup import suggest, untrained
from medbench.records import Device, Examples

NOTE = """HISTORY OF PRESENT ILLNESS: 67 year old man with type 2 diabetes mellitus, hypertension and COPD.
He denies chest pain. Father had colon cancer. Possible pulmonary embolism. Found to have acute kidney injury.

DISCHARGE DIAGNOSIS:
1. Pneumonia
2. Urinary tract infection
3. Heart attack
"""


def by_code(text: str) -> dict[str, Suggestion]:
    return {each.code.code: each for each in suggest(text)}


def test_a_planted_note_gets_its_codes_with_their_words() -> None:
    found = by_code(NOTE)
    words = {code: [NOTE[span.start : span.end] for span in each.spans] for code, each in found.items() if each.codable}
    assert words == {
        "E11.9": ["type 2 diabetes mellitus"],
        "I10": ["hypertension"],
        "J44.9": ["COPD"],
        "N17.9": ["acute kidney injury"],
        "J18.9": ["Pneumonia"],
        "N39.0": ["Urinary tract infection"],
        "I21.9": ["Heart attack"],
    }
    assert found["R07.9"].status == "negated" and found["I26.99"].status == "uncertain"
    assert all(each.status == "family" for each in found.values() if each.code.code.startswith("C"))
    assert [each.codable for each in suggest(NOTE)] == sorted((each.codable for each in suggest(NOTE)), reverse=True)


@pytest.mark.parametrize(
    "text",
    [
        "No evidence of pneumonia.",
        "The patient denies chest pain, fever or cough.",
        "Mother died of a myocardial infarction.",
        "Family history of type 2 diabetes mellitus.",
        "Pulmonary embolism was ruled out.",
    ],
)
def test_what_is_not_the_patients_is_never_coded_as_present(text: str) -> None:
    found = suggest(text)
    assert all(each.status != "present" for each in found if not each.code.code.startswith("Z"))


def test_every_suggestion_is_a_billable_code_of_the_table() -> None:
    text = (
        NOTE * 3
        + "Fracture of the left femur. Major depression, obesity, anaemia, gout, old stroke, asthma and sepsis."
    )
    found = suggest(text)
    assert len(found) > 12
    for each in found:
        assert tables().get(each.code.label) == each.code and each.code.billable
        assert 0 < each.score <= 1 and each.spans
    places = [(each.start, each.end) for each in mentions(text)]
    assert all(before[1] <= after[0] for before, after in pairwise(places))


@pytest.mark.parametrize("text", ["", "   \n", "zzzz", "1234 5678", "😷 " * 50, "the and of with"])
def test_notes_without_a_condition_get_none(text: str) -> None:
    assert suggest(text) == []


def test_a_long_note_is_answered_as_a_short_one() -> None:
    short, long = ({each.code for each in suggest(text)} for text in (NOTE, NOTE * 20))  # the long one has 1,100 words
    assert short == long


def test_the_untrained_model_scores_every_billable_code() -> None:
    model = untrained()
    (scores,) = model.scores([NOTE])
    assert len(scores) == len(model.labels) == 74_719
    assert {model.labels[at] for at in np.flatnonzero(scores)} == {
        each.code.label for each in suggest(NOTE) if each.codable
    }
    reasons = model.reasons(NOTE, "icd10cm:J18.9")
    assert [NOTE[span.start : span.end] for span in reasons.spans] == ["Pneumonia"]
    assert model.reasons(NOTE, "icd10cm:C18.9").spans == ()


def test_training_teaches_what_a_datasets_coders_make_of_a_phrase() -> None:
    labels = ("icd10cm:I10", "icd10cm:I11.9", "local:bp")
    texts = ["Admitted with hypertension."] * 12 + ["Admitted with gout."] * 12
    truth = np.zeros((24, 3), dtype=bool)
    truth[:12, 1] = truth[:12, 2] = True  # here, hypertension is coded otherwise than in the tables
    family = get_family("lookup")
    fitting = Fitting(np.random.default_rng(0), Device(), Say())
    train = Examples(texts, truth, labels, "many")
    model = family.fit(train, train.take([]), family.parse({}), fitting)
    with_it, without = model.scores(["He has hypertension.", "He has asthma."])
    assert with_it[1] > 0.5 and with_it[2] > 0.5 and with_it[0] < with_it[1]
    assert without.max() < 0.05
    assert [span.start for span in model.reasons("He has hypertension.", "local:bp").spans] == [7]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("pneumonia", "486"),
        ("type 2 diabetes mellitus", "250.00"),
        ("essential hypertension", "401.9"),
        ("cough", "786.2"),
        ("sleep apnea", "780.57"),
    ],
)
def test_a_note_is_coded_in_icd_9_as_well(words: str, code: str) -> None:
    (found,) = suggest(f"He has {words}.", "icd9cm")
    assert (found.code.version, found.code.code, found.codable) == ("icd9cm", code, True)
    (denied,) = suggest(f"He has no {words}.", "icd9cm")
    assert not denied.codable


@pytest.mark.parametrize(
    ("label", "code"), [("I63.9", "434.91"), ("I21.9", "410.90"), ("C50.911", "174.9"), ("S72.001A", "820.8")]
)
def test_a_code_without_an_equivalent_takes_its_neighbours(label: str, code: str) -> None:
    found = icd9_of(f"icd10cm:{label}")
    assert found is not None
    assert found.code == code
    assert icd9_of("icd10cm:none") is None
