"""Lesions: a photograph, or many, and what one or two models say of it."""

from __future__ import annotations

from medbench import lesion_history, ui, ui_lesion, ui_lesion_history, ui_lesion_many, ui_lesion_one

INTRO = f"What a photograph of a skin lesion may show, how sure that is, and why. **{ui.NOTICE}**"

with ui.page("Lesions", INTRO) as workspace:
    names = ui_lesion.choose_models(workspace)
    if names:
        received = ui_lesion_many.take(workspace)
        if received is not None and received.pictures:
            pictures = received.pictures
            turn = lesion_history.turn(workspace, names[0], pictures)
            models = ui_lesion_many.load_all(workspace, turn, names[1:])
            one = pictures[0] if len(pictures) == 1 else ui_lesion_many.choose(workspace, models, turn, pictures)
            if one is not None:
                with ui.guarded():
                    ui_lesion_one.draw_one(workspace, models, turn, one)
    ui_lesion_history.draw_history(workspace)
