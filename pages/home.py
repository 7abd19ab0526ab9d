"""Home: what there is, and the next step."""

from __future__ import annotations

from medbench import ui, ui_home

with ui.page(
    "medbench", "Given this text or picture, which labels? Train, judge and use classifiers in medicine."
) as place:
    ui_home.draw(place)
