"""Notes that were coded before: who settled on what and when; open one again, export all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import streamlit as st

from medbench import coding_history, history, ui, ui_icd
from medbench.coding_history import Coding
from medbench.workspace import Workspace


def draw_history(workspace: Workspace) -> None:
    """Draw the coded notes, newest first."""
    found = coding_history.newest(workspace)
    if not found:
        ui.empty("Nothing has been coded yet. Every note that was coded is listed here, with what you decided.")
        return
    import pandas as pd

    frame = pd.DataFrame(
        {
            "note": [one.title or "(texts are not kept)" for one in found],
            "codes": [_codes(one) for one in found],
            "decisions": [len(one.sheet.acts) for one in found],
            "by": [one.who or "–" for one in found],
            "when": [ui_icd.moment(one.at) for one in found],
        }
    )
    chosen = st.dataframe(
        frame, hide_index=True, key="icd_past", on_select="rerun", selection_mode="single-row", height="content"
    )
    picked = list(chosen["selection"]["rows"]) if chosen else []
    with st.container(horizontal=True):
        one = found[picked[0]] if picked else None
        st.button(
            "Open it again",
            key="icd_reopen",
            disabled=one is None or not one.text,
            on_click=_reopen,
            args=(one.text if one else "", one.model if one else ""),
            help="Puts the note back; its decisions come with it." if history.keeps_text() else "Texts are not kept.",
        )
        ui.download(
            "CSV", lambda: as_csv(found), "codings.csv", "icd_past_csv", "text/csv", help="Every note and its codes."
        )


def _codes(one: Coding) -> str:
    return ", ".join(label.partition(":")[2] for label in one.sheet.chosen) or "none"


def _reopen(text: str, coder: str) -> None:
    st.session_state["icd_text"] = text
    st.session_state["icd_coder"] = coder
    st.session_state["icd_tab"] = "A note"
    st.session_state["icd_again"] = True


def as_csv(found: Sequence[Coding]) -> bytes:
    """Return one row for each code of each note."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["note", "label", "by", "when"])
    for one in found:
        for label in one.sheet.chosen:
            writer.writerow([one.note, label, one.who, ui_icd.moment(one.at)])
    return out.getvalue().encode()
