"""One pasted text: its answer with evidence, a correction, downloads."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from medbench import aliases, history, job_answers, predicting, ui, ui_entities
from medbench.predicting import Loaded
from medbench.records import Item, Prediction
from medbench.ui_classify import as_json, as_pdf, draw_answer, draw_correction, load_model
from medbench.workspace import Workspace

EXAMPLE_TITLE = "Early mobilisation after acute myocardial infarction: a randomised trial in 412 patients"
EXAMPLE_TEXT = (
    "Patients with acute myocardial infarction often stay in bed for days. We randomised 412 patients in nine coronary "
    "care units to sit up within 12 hours or to usual care. Left ventricular ejection fraction after six weeks was "
    "48 % in both groups. Recurrent ischaemia and arrhythmia were as frequent with early mobilisation, and deep "
    "venous thrombosis was seen in 1 % against 4 % of patients. Early mobilisation after myocardial infarction is safe."
)


def draw_text(workspace: Workspace, loaded: Loaded, asked: str = "") -> None:
    """Draw the boxes, and the answer to what stands in them.

    Args:
        workspace: Where models and the history lie.
        loaded: The model.
        asked: `@job` when its champion was chosen: a challenger may then answer instead, or beside it unseen.
    """
    job = asked if asked.startswith(aliases.SIGN) else ""
    st.session_state.setdefault("classify_title", "")
    st.session_state.setdefault("classify_text", "")
    st.text_input("Title", key="classify_title", help="May stay empty.", persist_state="session")
    st.text_area(
        "Abstract or text",
        key="classify_text",
        height=160,
        help="What is read and classified. It stays on this machine.",
        placeholder="Paste an abstract here.",
        persist_state="session",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Classify", key="classify_go", type="primary", shortcut="ctrl+enter", help="Ask the model (Ctrl + Enter)."
        )
        st.button("Use an example", key="classify_example", on_click=_example, help="An invented abstract.")
        if not history.keeps_text():
            st.caption("Titles and texts are not kept in the history.")
    if pressed:
        _ask(workspace, loaded, job)
    kept: tuple[Item, Prediction, str, str] | None = st.session_state.get("classify_answer")
    if kept is None or kept[3] != (job or loaded.id):
        return
    item, answer, history_id, _ = kept
    st.divider()
    if answer.model != loaded.id:
        loaded = load_model(workspace, answer.model)
        st.caption(f"Answered by {ui.plain(str(loaded.card['name']))}, which is tried for a share of the texts.")
    if item.title != st.session_state["classify_title"] or item.text != st.session_state["classify_text"]:
        st.caption("The answer below belongs to the text as it was before your last change.")
    draw_answer(workspace, loaded, item, answer, "classify_one", _corrector(workspace, loaded, answer, history_id))
    ui_entities.draw(workspace, loaded, item, "classify_one")
    _downloads(loaded, item, answer)


def _downloads(loaded: Loaded, item: Item, answer: Prediction) -> None:
    standing = st.session_state.get("classify_corrected")
    with st.container(horizontal=True):
        ui.download("JSON", lambda: as_json([(item, answer)]), "answer.json", "classify_one_json", "application/json")
        ui.download(
            "PDF report",
            lambda: as_pdf(loaded, [(item, answer)], {0: standing[0]} if standing else None),
            "answer.pdf",
            "classify_one_pdf",
            "application/pdf",
        )


def _example() -> None:
    st.session_state["classify_title"], st.session_state["classify_text"] = EXAMPLE_TITLE, EXAMPLE_TEXT
    st.session_state.pop("classify_answer", None)


def _ask(workspace: Workspace, loaded: Loaded, job: str) -> None:
    item = Item("pasted", st.session_state["classify_title"], st.session_state["classify_text"])
    with st.spinner("Classifying…"):
        if job:
            [answer], [history_id] = job_answers.answer(workspace, job, [item])
        else:
            answer = predicting.predict(loaded, [item])[0]
            history_id = "" if answer.problem else history.record(workspace, [answer], [item])[0]
    st.session_state["classify_answer"] = (item, answer, history_id, job or loaded.id)
    st.session_state.pop("classify_corrected", None)


def _corrector(workspace: Workspace, loaded: Loaded, answer: Prediction, history_id: str) -> Callable[[], None]:
    def keep(labels: list[str], note: str) -> None:
        history.correct(workspace, history_id, labels, note)
        st.session_state["classify_corrected"] = (labels, note)

    def undo() -> None:
        history.undo(workspace, history_id)
        st.session_state.pop("classify_corrected", None)

    def draw() -> None:
        draw_correction(loaded, answer, st.session_state.get("classify_corrected"), keep, undo, "classify_one")

    return draw
