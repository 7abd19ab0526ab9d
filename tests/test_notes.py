"""Sections and sentences of clinical notes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from medbench.notes import Section, canonical, sections, sentences


def names(text: str) -> list[str]:
    return [one.name for one in sections(text)]


def pieces(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("HPI", "history of present illness"),
        ("History of the Present Illness", "history of present illness"),
        ("PMH", "past medical history"),
        ("PMHx", "past medical history"),
        ("Past Medical & Surgical History", "past medical history"),
        ("PAST MEDICAL/SURGICAL HISTORY", "past medical history"),
        ("Past Psychiatric History", "past medical history"),
        ("PSH", "past surgical history"),
        ("FHX", "family history"),
        ("Family Medical History", "family history"),
        ("Brief Hospital Course", "hospital course"),
        ("Discharge Diagnoses", "discharge diagnosis"),
        ("DISCHARGE DIAGNOSIS(ES)", "discharge diagnosis"),
        ("Principal Diagnosis", "discharge diagnosis"),
        ("PREOPERATIVE DIAGNOSIS", "preoperative diagnosis"),
        ("Post-op Diagnoses", "postoperative diagnosis"),
        ("A/P", "assessment and plan"),
        ("Assessment & Plan", "assessment and plan"),
        ("IMPRESSION/PLAN", "assessment and plan"),
        ("Drug Allergies", "allergies"),
        ("ROS", "review of systems"),
        ("PHYSICAL EXAMINATION", "physical examination"),
        ("Reason for Consultation", "chief complaint"),
        ("DESCRIPTION OF PROCEDURE", "procedure"),
        ("PROCEDURES PERFORMED", "procedure"),
        ("Medications on Admission", "medications"),
        ("DISCHARGE MEDICATIONS", "discharge medications"),
        ("Reason for exam", "indication"),
        ("Vital Signs", "vital signs"),
        ("PHYSICAL EXAM ON ADMISSION", "physical examination"),
        ("Physical exam upon discharge", "physical examination"),
        ("Labs on admission", "laboratory data"),
        ("TRANSITIONAL ISSUES", "hospital course"),
        ("Risk factors", "past medical history"),
        ("Favourite colour", ""),
    ],
)
def test_headings_have_one_canonical_name(title: str, name: str) -> None:
    assert canonical(title) == name


def test_a_discharge_note_falls_into_its_sections() -> None:
    text = (
        "Name: Unit No:\n\nChief Complaint:\nchest pain\n\nHistory of Present Illness:\nMr. X is a 60 yo M.\n\n"
        "Past Medical History:\n1. HTN\n2. DM\n\nSocial History:\nSmoker.\nFamily History:\nFather with MI.\n\n"
        "Physical Exam:\nVS: 98.6\nHEENT: clear\n\nBrief Hospital Course:\n#Chest pain: ruled out.\n\n"
        "Discharge Diagnosis:\nAngina\n\nDischarge Condition:\nStable"
    )
    assert names(text) == [
        *("note", "chief complaint", "history of present illness", "past medical history", "social history"),
        *("family history", "physical examination", "vital signs", "hospital course", "discharge diagnosis"),
        "discharge condition",
    ]
    family = next(one for one in sections(text) if one.name == "family history")
    assert text[family.body_start : family.end].strip() == "Father with MI."
    assert family.title == "Family History"


def test_headings_may_stand_alone_or_inside_a_line() -> None:
    assert names("PAST MEDICAL HISTORY\n\nGout.\n\nPLAN\n\nRest.") == ["past medical history", "plan"]
    assert names("**Past Medical History:** Gout.\n## Plan\nRest.") == ["past medical history", "plan"]
    flat = "HISTORY: Fell. PAST MEDICAL HISTORY: Gout. FAMILY HISTORY: None. EXAM: Normal."
    expected = ["history of present illness", "past medical history", "family history", "physical examination"]
    assert names(flat) == expected
    assert names("FAMILY HISTORY Mother had gout.\nAllergies - none") == ["family history", "allergies"]


def test_an_unknown_heading_in_capitals_ends_a_section() -> None:
    assert names("FAMILY HISTORY: Gout.\nTHINGS WE FOUND: Ulcer.") == ["family history", "other"]
    assert names("PHYSICAL EXAM:\nABDOMEN: Soft.\nLUNGS: Clear.") == ["physical examination"]
    assert names("PMH: gout\nCARDIAC: CAD") == ["past medical history"]


@pytest.mark.parametrize(
    "text", ["", "   ", "Just a few words: with a colon.", "He takes aspirin, she reads.\nNo plan."]
)
def test_free_text_is_one_section(text: str) -> None:
    assert sections(text) == [Section("note", "", 0, 0, len(text))]


@pytest.mark.parametrize(
    "text",
    ["A note.\nPlan: rest. Plan: rest\nPLAN:\nPLAN:", "\n\n  PMH:\n", "PLAN:", "x\nAllergies\n", "Plan:a\rPlan:b"],
)
def test_sections_cover_every_character(text: str) -> None:
    found = sections(text)
    assert (found[0].start, found[-1].end) == (0, len(text))
    for one, after in pairwise(found):
        assert one.end == after.start
    assert all(one.start <= one.body_start <= one.end for one in found)


def test_abbreviations_and_numbers_end_no_sentence() -> None:
    text = "Dr. J. Smith saw the pt. today, e.g. for fever of 38.5 C. Aspirin b.i.d. was given. He left vs. advice."
    assert pieces(text) == [
        "Dr. J. Smith saw the pt. today, e.g. for fever of 38.5 C.",
        "Aspirin b.i.d. was given.",
        "He left vs. advice.",
    ]
    assert pieces("Stage 2. Hepatitis C. He drinks.") == ["Stage 2.", "Hepatitis C.", "He drinks."]
    assert pieces("Mass of 3 cm. No nodes.") == ["Mass of 3 cm.", "No nodes."]


def test_wrapped_lines_are_joined_and_lists_are_not() -> None:
    wrapped = "The patient is a 60 year old man with hypertension and diabetes who\nPresented with chest pain."
    assert pieces(wrapped) == [wrapped]
    assert pieces("1. Gout.\n2. Asthma\n- fever\n- cough") == ["1. Gout.", "2. Asthma", "- fever", "- cough"]
    assert pieces("Fever: no\nCough: yes") == ["Fever: no", "Cough: yes"]
    assert pieces("• Back pain. • Leg pain") == ["• Back pain.", "• Leg pain"]


def test_a_heading_is_a_sentence_of_its_own() -> None:
    assert pieces("FAMILY HISTORY: Gout. PLAN: Rest.") == ["FAMILY HISTORY:", "Gout.", "PLAN:", "Rest."]
