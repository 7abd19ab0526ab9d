"""Classify: one text, a whole file, and everything that was answered before."""

import streamlit as st

from medbench import ui, ui_classify, ui_classify_file, ui_classify_history, ui_classify_text

with ui.page("Classify", "Labels with probabilities, reasons, and a word when a person should look.") as workspace:
    model = ui_classify.choose_model(workspace)
    if model is not None:
        text, file, past = st.tabs(
            ["One text", "A file", "History"], key="classify_tab", on_change="rerun", bind="query-params"
        )
        if text.open:
            with text, ui.guarded():
                ui_classify_text.draw_text(workspace, ui_classify.load_model(workspace, model), model)
        elif file.open:
            with file, ui.guarded():
                ui_classify_file.draw_file(workspace, ui_classify.load_model(workspace, model), model)
        else:
            with past, ui.guarded():
                ui_classify_history.draw_history(workspace)
