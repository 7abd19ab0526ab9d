"""Compare: runs on the same test items, what tells them apart, and the records on which they part."""

from __future__ import annotations

import streamlit as st

from medbench import ui, ui_compare, ui_compare_records, ui_compare_runs

INTRO = "Runs judged on the same test items, side by side: what is really better, what only looks so."

with ui.page("Compare", INTRO) as workspace:
    choice = ui_compare_runs.choose(workspace)
    if choice is not None:
        compared = ui_compare.load(workspace, choice.ids)
        ui_compare_runs.draw_verdict(compared, choice.metric)
        ui_compare_runs.draw_table(compared, choice.metric)
        pairs, records = st.tabs(["Pairs", "Disagreements"], key="compare_tab", on_change="rerun")
        if pairs.open:
            with pairs, ui.guarded():
                ui_compare_runs.draw_pairs(compared, choice.metric)
        elif records.open:
            with records, ui.guarded():
                ui_compare_records.draw_disagreements(workspace, compared)
