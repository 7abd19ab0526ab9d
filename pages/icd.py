"""ICD: a clinical note, its codes beside the words that support them, and the code tables to look things up in."""

import streamlit as st

from medbench import ui, ui_icd, ui_icd_codes, ui_icd_history, ui_icd_one

INTRO = f"A clinical note in; codes out, each with the words that support it. **{ui.NOTICE}**"

with ui.page("ICD coding", INTRO) as workspace:
    note, tables, past = st.tabs(["A note", "Look up a code", "History"], key="icd_tab", on_change="rerun")
    if note.open:
        with note, ui.guarded():
            ui_icd_one.draw_one(workspace, ui_icd.choose_coder(workspace))
    elif tables.open:
        with tables, ui.guarded():
            ui_icd_codes.draw_codes()
    else:
        with past, ui.guarded():
            ui_icd_history.draw_history(workspace)
