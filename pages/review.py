"""Review: read records in the order that helps most, by key; see when to stop, how readers agree; take labels out."""

import streamlit as st

from medbench import ui, ui_review, ui_review_progress, ui_review_reading, ui_review_trials

INTRO = "Read many records, the ones that matter first. Every decision trains the order of the rest."

with ui.page("Review", INTRO) as workspace:
    held = ui_review.choose(workspace)
    if ui_review.simulating():
        ui_review_trials.draw(workspace)
    if held is not None:
        reading, progress, settling, out = st.tabs(
            ["Read", "Progress and stopping", "Settle", "Export"],
            key="review_tab",
            on_change="rerun",
            bind="query-params",
        )
        if reading.open:
            with reading, ui.guarded():
                ui_review_reading.draw_reading(held)
        elif progress.open:
            with progress, ui.guarded():
                ui_review_progress.draw_progress(held)
        elif settling.open:
            with settling, ui.guarded():
                ui_review_reading.draw_settling(held)
        else:
            with out, ui.guarded():
                ui_review_progress.draw_exports(workspace, held)
