"""What the parts of the ICD page share: who codes, the note that is coded, and codes as people read them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import aliases, codes, codes_spotting, coding, coding_history, coding_jobs, predicting, ui
from medbench.code_sheet import Act, CodeSheet
from medbench.codes import Code
from medbench.coding import CodedNote
from medbench.note_files import NoteFile
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

EXAMPLE = """DISCHARGE SUMMARY

HISTORY OF PRESENT ILLNESS: A 67-year-old man with type 2 diabetes mellitus and essential hypertension came with two \
days of fever and productive cough. He denies chest pain. A chest X-ray showed lobar pneumonia of the right lower lobe.

PAST MEDICAL HISTORY: Appendicectomy in 1998. Gout.

FAMILY HISTORY: His mother died of breast cancer.

HOSPITAL COURSE: He was treated with ceftriaxone. On day two he developed acute kidney failure, which resolved with \
fluids. Pulmonary embolism was ruled out by CT. Possible sleep apnea, to be studied as an outpatient.

DISCHARGE DIAGNOSES:
1. Lobar pneumonia
2. Acute kidney failure
3. Type 2 diabetes mellitus
4. Essential hypertension
"""
_HITS = 8


@st.cache_resource(show_spinner="Reading the code tables…")
def _ready() -> threading.Thread:
    """Read the tables, and the phrases that stand for codes in the background: the first note then waits for less."""
    codes.tables()
    thread = threading.Thread(target=codes_spotting.suggest, args=("Lobar pneumonia.",), daemon=True)
    thread.start()
    return thread


@dataclass(frozen=True, slots=True)
class Coder:
    """Who proposes codes.

    Attributes:
        model: Id of a model, `@job`, or "" for the dictionary alone.
        version: The table that the dictionary codes with.
    """

    model: str
    version: codes.Version


def choose_coder(workspace: Workspace) -> Coder:
    """Let the user choose who proposes codes: the dictionary, or a trained model. Loads no model."""
    _ready()
    models = {str(card["id"]): card for card in predicting.list_models(workspace) if card.get("task") == "icd"}
    cards = aliases.offered(workspace, models)
    asked = st.query_params.get("model")
    if asked is not None:
        del st.query_params["model"]
        if asked in cards:
            st.session_state["icd_coder"] = asked
    options = [*cards, coding.DICTIONARY]
    if st.session_state.get("icd_coder", options[0]) not in options:
        st.session_state.pop("icd_coder", None)
    who, beside = st.columns([3, 1], vertical_alignment="bottom")
    chosen = who.selectbox(
        "Who proposes codes",
        options,
        format_func=partial(_coder_words, cards),
        key="icd_coder",
        help="The dictionary knows the official words of all codes. A trained model adds probabilities.",
        persist_state="session",
    )
    card = cards.get(chosen)
    if card is None:
        return Coder(str(chosen), _choose_table(beside))
    _about(card, beside)
    return Coder(str(chosen), coding.table_of(card["labels"]))


def _coder_words(cards: dict[str, dict[str, Any]], name: str) -> str:
    card = cards.get(name)
    if card is None:
        return "Dictionary: the official words of every code"
    figure = ui.with_interval(card["metrics"].get("micro_f1"))
    return f"{card['name']} · {len(card['labels']):,} codes · micro-F1 {figure}"


def _choose_table(place: DeltaGenerator) -> codes.Version:
    version: codes.Version = place.selectbox(
        "Codes of",
        coding.DICTIONARIES,
        format_func=lambda one: f"{codes.TITLES[one]}, {codes.tables().release(one)}",
        key="icd_dictionary",
        help="The classification to code in. ICD-9-CM goes through ICD-10-CM and its equivalence mapping.",
        persist_state="session",
    )
    st.caption("Its matches are words, not probabilities.")
    return version


def _about(card: dict[str, Any], place: DeltaGenerator) -> None:
    dataset = card.get("dataset", {})
    with place.popover("About this model", key="icd_card"):
        for line in filter(None, [card.get("intended_use", ""), *card.get("limits", []), *card.get("notes", [])]):
            st.markdown(f"- {ui.plain(str(line))}")
        if licence := card.get("licence"):
            st.caption(f"Data licence and terms: {ui.plain(str(licence))}")
    st.caption(
        f"Learnt from {ui.plain(str(dataset.get('name', '?')))}, {dataset.get('n_rows', 0):,} notes. "
        f"Measured on {ui.plain(str(card.get('judged_on', '?')))}. The dictionary is asked as well."
    )


def find(words: str, version: codes.Version = "icd10cm", limit: int = _HITS) -> Sequence[Code]:
    """Return the codes that words, a typo of them or the beginning of a code may mean, best first."""
    return [hit.code for hit in codes.tables().search(words, version, limit)]


def moment(at: float) -> str:
    """Return a moment in Unix seconds as local date and time, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) if at else ""


def current(workspace: Workspace) -> tuple[CodedNote, CodeSheet] | None:
    """Return the note that is being coded and what was decided on it, None before the first."""
    kept: tuple[CodedNote, CodeSheet] | None = st.session_state.get("icd_coded")
    return kept


def file_remarks(coded: CodedNote) -> tuple[str, ...]:
    """Return what there is to know of the file that the note came from."""
    read: NoteFile | None = st.session_state.get("icd_from_file")
    return read.remarks if read is not None and read.text == coded.text else ()


def begin(workspace: Workspace, text: str, coder: Coder, read: NoteFile | None = None) -> None:
    """Propose codes for a note; what was decided on this very note before counts again.

    Args:
        workspace: Where models and decisions lie.
        text: The note.
        coder: Who proposes.
        read: The file it came from, when it came from one.

    Raises:
        MedbenchError: The note is empty or too long, or the model is gone.
    """
    if read is not None:
        st.session_state["icd_from_file"] = read
    bar = st.progress(0.0, "Looking for codes")
    try:
        last = coding_history.last_of(workspace, text)
        answered = last.answer if last is not None else ""
        coded = coding_jobs.code(
            workspace, text, coder.model, version=coder.version, tell=ui.teller(bar), again=answered
        )
    finally:
        bar.empty()
    before = last.sheet if last is not None else CodeSheet()
    proposed = tuple(one.code.label for one in coded.proposals)
    sheet = CodeSheet(before.acts, proposed)
    st.session_state["icd_coded"], st.session_state["icd_coded_by"] = (coded, sheet), coder
    if not before.acts and before.proposed != proposed:
        # So that a note is not lost with the browser's tab: the history opens it again.
        coding_jobs.keep(workspace, coded, sheet, str(st.session_state.get("icd_who", "")))
    st.session_state["icd_round"] = st.session_state.get("icd_round", 0) + 1


def decide(workspace: Workspace, kind: str, label: str, to: str = "") -> None:
    """Do one act on the current note's sheet and keep it; "back_off" replaces a code by its category."""
    held = codes.tables()
    if kind == "back_off":
        kind, to = "replace", held.category(label) or ""
    found = current(workspace)
    known = held.get(label) is not None and (not to or held.get(to) is not None)
    if found is None or not known or kind not in ("accept", "reject", "add", "replace", "first"):
        return
    if kind == "replace" and to in ("", label):
        return
    coded, sheet = found
    who = str(st.session_state.get("icd_who", ""))
    _keep(workspace, coded, sheet.act(Act(kind, label, to, who, round(time.time(), 3))))  # type: ignore[arg-type]


def undo(workspace: Workspace) -> None:
    """Take the last act on the current note back."""
    found = current(workspace)
    if found is not None and found[1].acts:
        _keep(workspace, found[0], found[1].undo())


def _keep(workspace: Workspace, coded: CodedNote, sheet: CodeSheet) -> None:
    coding_jobs.keep(workspace, coded, sheet, str(st.session_state.get("icd_who", "")))
    st.session_state["icd_coded"] = (coded, sheet)
