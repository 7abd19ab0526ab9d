"""Home: what there is, and the next step."""

from __future__ import annotations

from medbench import ui, ui_home

with ui.page(
    "medbench", "Which labels does this text carry? Train, judge and use classifiers for medical text."
) as place:
    ui_home.draw(place)
