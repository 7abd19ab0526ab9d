"""What stands without a person: the promise of a model, other errors to accept after training, who changed it, undo."""

from __future__ import annotations

from functools import partial

import streamlit as st

from medbench import accepted_error, aliases, ui
from medbench.errors import MedbenchError
from medbench.human_band import FAULT, Band, percent
from medbench.workspace import Workspace

_ACTS = {"accept": "accepted", "undo": "taken back to"}


def draw(workspace: Workspace, model_id: str, key: str) -> None:
    """Draw what a model promises of the answers that no person reads, and let the user accept another error.

    Args:
        workspace: Where the model lies.
        model_id: The model.
        key: Prefix of the widget keys.
    """
    try:
        band = accepted_error.band_of(workspace, model_id)
    except MedbenchError as error:
        st.caption(ui.plain(f"Another error cannot be accepted: expected {error.expected}, found {error.found}."))
        return
    st.markdown(f"**Now:** {ui.plain(band.promise())}")
    offered = band.offered()
    if not offered:
        st.info("No share of the answers can stand alone with a bounded error: there were too few items to test it on.")
    else:
        _draw_offers(offered)
        _draw_choice(workspace, model_id, band, key)
    _draw_changes(workspace, model_id, key)


def _draw_offers(offered: tuple[Band, ...]) -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "answers that stand alone": [f"{one.share:.0%}" for one in offered],
            f"at most … {FAULT[offered[0].answer]}": [percent(one.accepted) for one in offered],
            "seen on the items it was tested on": [f"{one.error:.1%}" for one in offered],
        }
    )
    st.dataframe(frame, hide_index=True, height="content")
    first = offered[0]
    st.caption(
        f"Tested on {first.n:,} items that the model did not learn from. The shares were fixed beforehand and all "
        f"bounds hold together with {first.confidence:.0%} confidence, so you may look at all of them and choose. "
        "Items that are unlike the training data go to a person in any case."
    )


def _draw_choice(workspace: Workspace, model_id: str, band: Band, key: str) -> None:
    asked = st.number_input(
        "Accepted error, percent",
        min_value=0.1,
        max_value=99.0,
        value=round(100 * band.accepted, 1),
        step=0.5,
        format="%.1f",
        key=f"{key}_accepted",
        help="Among answers that no person reads. As many answers stand alone as keep their error below it.",
    )
    try:
        chosen = band.chosen(round(asked / 100, 4))
    except MedbenchError as error:
        st.warning(ui.plain(str(error)))
        return
    if chosen != band:
        st.markdown(f"Then **{chosen.share:.0%}** of the answers stand alone instead of {band.share:.0%}.")
    first, second = st.columns([1, 3])
    who = first.text_input(
        "Your name", key=f"{key}_accepted_who", help="Kept with the change.", persist_state="session"
    )
    why = second.text_input("Reason", key=f"{key}_accepted_why", help="Kept with the change; may stay empty.")
    if st.button(
        "Accept this error",
        key=f"{key}_accepted_go",
        disabled=chosen == band,
        help="From now on every answer of this model goes by it. You can take it back at any time.",
    ):
        with ui.guarded():
            accepted_error.accept(workspace, model_id, chosen.accepted, who=who or "", why=why or "")
            st.rerun()


def _draw_changes(workspace: Workspace, model_id: str, key: str) -> None:
    told = accepted_error.changes(workspace, model_id)
    line = accepted_error.standing(told)
    if line and st.button(
        f"↩️ Back to {percent(line[-1].before)}", key=f"{key}_accepted_undo", help="Takes the last change back."
    ):
        with ui.guarded():
            accepted_error.undo(workspace, model_id, who=str(st.session_state.get(f"{key}_accepted_who") or ""))
            st.rerun()
    if not told:
        return
    import pandas as pd

    frame = pd.DataFrame(
        {
            "when": [ui.when(one.at) for one in told],
            "what": [_ACTS[one.act] for one in told],
            "error": [percent(one.accepted) for one in told],
            "before": [percent(one.before) for one in told],
            "who": [one.who for one in told],
            "why": [one.why for one in told],
        }
    ).iloc[::-1]
    st.dataframe(frame, hide_index=True, key=f"{key}_accepted_changes", height="content")
    ui.download("CSV", partial(ui.csv_bytes, frame), "accepted.csv", f"{key}_accepted_csv", "text/csv")


def draw_folded(workspace: Workspace, model_id: str, key: str) -> None:
    """Draw the same behind a heading that the user opens; nothing is read before."""
    if not aliases.is_there(workspace, model_id):
        return
    fold = st.expander("👤 What stands without a person", key=f"{key}_accepted_fold", on_change="rerun")
    if fold.open:
        with fold, ui.guarded():
            draw(workspace, model_id, key)
