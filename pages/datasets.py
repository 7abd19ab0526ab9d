"""Datasets: the list, adding one, and one opened."""

from __future__ import annotations

import streamlit as st

from medbench import ui, ui_datasets_add, ui_datasets_list, ui_datasets_opened

with ui.page("Datasets", "Records, with or without labels, checked before anything is learnt from them.") as place:
    asked = st.query_params
    if asked.get("dataset"):
        ui_datasets_opened.draw(place, asked["dataset"])
    elif asked.get("add"):
        ui_datasets_add.draw(place)
    else:
        ui_datasets_list.draw(place)
