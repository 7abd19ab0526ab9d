"""What a note denies, says of a relative, of the past or as a guess is no present code, whoever proposes it.

The written cases of `test_assertions` go through the whole of `coding.code_note`. Codes of the history itself ("family
history of breast cancer") are no mistake: they say what the note says.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_assertions import ALL

from medbench import coding
from medbench.coding import DICTIONARY, CodedNote
from medbench.workspace import Workspace

STARTER = Path(__file__).resolve().parents[1] / "models" / "starter-icd"
ABSENT = [case for case in ALL if case[0] not in ("present", "chronic")]
HISTORY = ("Z8", "Z9")


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the shipped model."""
    held = Workspace.here(tmp_path_factory.mktemp("starter"))
    shutil.copytree(STARTER, held.models / STARTER.name)
    return held


def resting(coded: CodedNote, start: int, end: int) -> list[str]:
    """Return the proposed codes that rest on a mention as if it were present."""
    return [
        one.code.code
        for one in coded.proposals
        for each in one.evidence
        if each.status == "present" and each.start < end and start < each.end and not one.code.code.startswith(HISTORY)
    ]


def test_no_absent_finding_is_proposed_by_the_dictionary(workspace: Workspace) -> None:
    wrong = []
    for _, text, start, end in ABSENT:
        if found := resting(coding.code_note(workspace, text, DICTIONARY), start, end):
            wrong.append((found, text))
    assert len(ABSENT) >= 200
    assert wrong == []


@pytest.mark.parametrize("words", ["lymphadenopathy", "aneurysm", "edema", "chest pain", "breast cancer"])
def test_no_absent_finding_is_proposed_by_the_shipped_model(starter: Workspace, words: str) -> None:
    asked = [case for case in ABSENT if case[1][case[2] : case[3]].lower() == words]
    assert asked
    for _, text, start, end in asked:
        assert resting(coding.code_note(starter, text, STARTER.name), start, end) == []


def test_a_code_beside_a_relatives_disease_is_set_apart_with_it(starter: Workspace) -> None:
    coded = coding.code_note(starter, "FAMILY HISTORY: His mother died of breast cancer.", STARTER.name)
    assert not [one.code.code for one in coded.proposals if one.code.code.startswith("C50")]
    assert {one.evidence.status for one in coded.apart if one.code.code.startswith("C50")} == {"family"}


def test_one_mention_is_set_apart_once_with_all_that_a_model_offers_for_it(starter: Workspace) -> None:
    text = "FAMILY HISTORY: His mother died of breast cancer.\n\nHe denies chest pain. There is no chest pain at all."
    coded = coding.code_note(starter, text, STARTER.name)
    places = [(one.evidence.start, one.evidence.end) for one in coded.apart]
    assert len(places) == len(set(places))
    (cancer,) = [one for one in coded.apart if one.code.code.startswith("C50")]
    assert cancer.also
    assert cancer.code not in cancer.also
    (pain,) = [one for one in coded.apart if one.code.code == "R07.9"]
    assert [text[each.start : each.end] for each in pain.mentions] == ["chest pain", "chest pain"]
    assert [one["code"] for one in coded.as_json()["set_apart"]] == [one.code.code for one in coded.apart]


def test_what_is_set_apart_is_not_cut_off_by_many_present_codes(workspace: Workspace) -> None:
    from medbench.codes import tables

    held = tables()
    many = [code.text for code in held.descendants("icd10cm:M10")[:90]]
    coded = coding.code_note(workspace, ". ".join([*many, "He denies chest pain."]))
    assert "R07.9" in [one.code.code for one in coded.apart]
    assert len(coded.proposals) == coding.MOST


def test_a_proposal_says_both_what_the_model_and_what_the_dictionary_hold(starter: Workspace) -> None:
    coded = coding.code_note(starter, "He has essential hypertension.", STARTER.name)
    (one,) = [one for one in coded.proposals if one.code.code == "I10"]
    assert one.source == "both"
    assert one.probability is not None
    assert one.match is not None
    assert one.match >= coding.SURE
