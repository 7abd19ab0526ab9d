"""One photograph: large and untouched, beside it what one or two models say, below it what it resembles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from medbench import lesion_heat, ui, ui_lesion, ui_lesion_heat, ui_lesion_history
from medbench.fact_shares import reads_facts
from medbench.job_answers import Turn
from medbench.lesion_reading import LesionReading, Picture
from medbench.predicting import Loaded
from medbench.workspace import Workspace


def draw_one(workspace: Workspace, models: Sequence[Loaded], turn: Turn, picture: Picture) -> None:
    """Draw everything about one picture.

    Args:
        workspace: Where the training pictures lie.
        models: One or two.
        turn: Whose turn it was to answer.
        picture: The picture, with what a table told of the patient.
    """
    key = f"lesion_{picture.path.stem[:12]}"
    places = st.columns([1.5, 1] if len(models) == 1 else [1.3, 1, 1], gap="medium")
    answers = [place.container() for place in places[1:]]
    if any(reads_facts(loaded) for loaded in models):
        with places[1].popover("About the patient", help="Age, sex and site; the model reads them, too."):
            picture = replace(picture, facts=ui_lesion.ask_facts(picture.facts, key))
    readings = [ui_lesion.read(workspace, loaded, picture) for loaded in models]
    for place, loaded, reading in zip(answers, models, readings, strict=True):
        with place:
            ui_lesion.draw_answer(loaded, reading, str(loaded.card["name"]) if len(models) > 1 else "")
    if all(reading.prediction.problem for reading in readings):
        return
    for place, loaded, reading in zip(answers, models, readings, strict=True):
        ui_lesion_history.remember(workspace, loaded, turn, [picture], [reading])
        with place:
            ui_lesion_history.draw_confirmed(workspace, loaded, picture, reading, key)
    with places[0]:
        _picture(workspace, models, picture, readings, key)
    st.subheader("Most similar lesions it learnt from", anchor=False)
    for loaded, reading in zip(models, readings, strict=True):
        if len(models) > 1:
            st.caption(ui.plain(str(loaded.card["name"])))
        ui_lesion.draw_similar(loaded, reading.similar, reading.similar_note)
    _downloads(models, picture, readings, key)


@st.fragment
def _picture(
    workspace: Workspace, models: Sequence[Loaded], picture: Picture, readings: Sequence[LesionReading], key: str
) -> None:
    with ui.guarded():
        ui_lesion_heat.draw_picture(workspace, models, picture, readings, key)


def _downloads(models: Sequence[Loaded], picture: Picture, readings: Sequence[LesionReading], key: str) -> None:
    with st.container(horizontal=True):
        ui.download(
            "Report (PDF)",
            lambda: as_pdf(models, picture, readings),
            "lesion.pdf",
            f"{key}_pdf",
            "application/pdf",
            help="The picture, heat maps, answers and similar lesions.",
        )
        ui.download(
            "JSON", lambda: as_json(readings), "lesion.json", f"{key}_json", "application/json", help="For programs."
        )


def as_json(readings: Sequence[LesionReading]) -> bytes:
    """Return the answers as JSON: one object for one model, else a list."""
    rows = [reading.as_json() for reading in readings]
    return json.dumps(rows if len(rows) > 1 else rows[0], ensure_ascii=False, indent=1).encode()


def as_pdf(models: Sequence[Loaded], picture: Picture, readings: Sequence[LesionReading]) -> bytes:
    """Return the report of a picture, with each model's heat map of what it decided for."""
    from medbench.lesion_report import Told, lesion_pdf

    seen = {id(one.loaded): one for one in ui_lesion_heat.maps_for_report(models, picture, readings)}
    told = []
    for loaded, reading in zip(models, readings, strict=True):
        one = seen.get(id(loaded))
        if one is None:
            told.append(Told(loaded, reading))
        else:
            method = lesion_heat.TITLES.get(one.method, one.method)
            told.append(Told(loaded, reading, method, one.label, one.heat, one.trust, one.check))
    return lesion_pdf(picture, told)
