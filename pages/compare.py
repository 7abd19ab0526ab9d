"""Compare: runs on the same test items, what tells them apart, and the records on which they part."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from medbench import (
    ui,
    ui_compare,
    ui_compare_cost,
    ui_compare_curves,
    ui_compare_errors,
    ui_compare_labels,
    ui_compare_records,
    ui_compare_runs,
    ui_deploy,
)

INTRO = "Runs judged on the same test items, side by side: what is really better, what only looks so."

with ui.page("Compare", INTRO) as place:
    choice = ui_compare_runs.choose(place)
    if choice is not None:
        metric = choice.metric
        ui_compare.no_plots_yet()
        held = ui_compare.load(place, choice.ids)
        ui_compare_runs.draw_verdict(held, metric)
        draw_grid = ui_compare_runs.draw_table(place, held, metric)
        parts: dict[str, Callable[[], None]] = {
            "Pairs": lambda: ui_compare_runs.draw_pairs(place, held, metric),
            "Disagreements": lambda: ui_compare_records.draw_disagreements(place, held),
            "Confusions": lambda: ui_compare_labels.draw_confusion(place, held),
            "Labels": lambda: ui_compare_labels.draw_labels(place, held),
            "Curves": lambda: ui_compare_curves.draw_curves(place, held),
            "Probabilities": lambda: ui_compare_curves.draw_probabilities(place, held),
            "Groups": lambda: ui_compare_labels.draw_groups(place, held, metric),
            "Errors": lambda: ui_compare_errors.draw_errors(place, held),
            "Cost": lambda: ui_compare_cost.draw_cost(place, held, metric),
            "Training": lambda: ui_compare_cost.draw_training(place, held),
            "In use": lambda: ui_deploy.draw_in_use(place, {one.id: one.card for one in held.models}, "compare_use"),
        }
        # Only the open part is computed.
        for tab, draw in zip(st.tabs(list(parts), key="compare_tab", on_change="rerun"), parts.values(), strict=True):
            if tab.open:
                with tab, ui.guarded():
                    draw()
                    ui_compare.draw_camera()
        draw_grid()
