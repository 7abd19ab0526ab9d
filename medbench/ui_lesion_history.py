"""What was answered here about photographs: the last answers, confirmed diagnoses, export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import history, lesion_history, predicting, ui
from medbench.job_answers import Turn
from medbench.lesion_reading import LesionReading, Picture
from medbench.predicting import Loaded
from medbench.records import Prediction
from medbench.ui_classify import draw_correction
from medbench.ui_lesion import key_of
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 200
CONFIRMED = "Confirmed diagnosis"


def remember(
    workspace: Workspace, loaded: Loaded, turn: Turn, pictures: Sequence[Picture], readings: Sequence[LesionReading]
) -> None:
    """Write answers to the history, each once a session; those of the model whose turn it is count for its job."""
    kept: dict[tuple[str, ...], str] = st.session_state.setdefault("lesion_history", {})
    keys = [key_of(loaded, picture) for picture in pictures]
    fresh = [at for at, key in enumerate(keys) if key not in kept]
    told = turn if turn.model == loaded.id else Turn(loaded.id)
    ids = lesion_history.keep(workspace, told, [pictures[at] for at in fresh], [readings[at] for at in fresh])
    kept.update({keys[at]: name for at, name in zip(fresh, ids, strict=True)})


def draw_confirmed(workspace: Workspace, loaded: Loaded, picture: Picture, reading: LesionReading, key: str) -> None:
    """Let a reader record the confirmed diagnosis of the picture that is shown, or take it back."""
    name = st.session_state.get("lesion_history", {}).get(key_of(loaded, picture), "")
    if not name:
        return
    frame = _read(str(workspace.data), history.stamp(workspace), workspace)
    rows = frame[frame["id"] == name]
    standing = _standing(rows.iloc[0]) if len(rows) else None
    with st.expander(f"{CONFIRMED}{'' if standing is None else ' ✓'}", key=f"{key}_confirm_{loaded.id}"):
        draw_correction(
            loaded, reading.prediction, standing, *_acts(workspace, name), f"{key}_{loaded.id}", asked=CONFIRMED
        )


def _acts(workspace: Workspace, name: str) -> tuple[Callable[[list[str], str], None], Callable[[], None]]:
    return (lambda labels, note: history.correct(workspace, name, labels, note)), lambda: history.undo(workspace, name)


def _standing(row: pd.Series[Any]) -> tuple[list[str], str] | None:
    return (list(row["labels"]), str(row["note"])) if row["corrected"] else None


@st.cache_data(max_entries=4, show_spinner="Reading the history…")
def _read(place: str, stamp: str, _workspace: Workspace) -> pd.DataFrame:
    return history.read(_workspace, pictures=True, limit=SHOWN)


def draw_history(workspace: Workspace) -> None:
    """Draw the last answers, folded; nothing before there is one."""
    stamp = history.stamp(workspace)
    frame = _read(str(workspace.data), stamp, workspace) if stamp else None
    if frame is None or frame.empty:
        return
    with st.expander("Earlier answers", key="lesion_history_box"):
        st.caption(
            "Kept of each picture: name, size and hash of the file, and the answer; never the picture. Choose a row to "
            "record its confirmed diagnosis."
        )
        names = _label_names(workspace)
        picked = st.dataframe(
            _shown(frame, names),
            hide_index=True,
            key="lesion_history_table",
            on_select="rerun",
            selection_mode="single-row",
            height=260,
        )
        rows = picked["selection"]["rows"]
        if rows:
            with ui.guarded():
                _one(workspace, frame.iloc[rows[0]])
        ui.download(
            "All answers (CSV)",
            lambda: ui.csv_bytes(history.read(workspace, pictures=True, limit=None)),
            "lesion-history.csv",
            "lesion_history_csv",
            "text/csv",
            help="With hashes, notes and confirmed diagnoses.",
        )


def _one(workspace: Workspace, row: pd.Series[Any]) -> None:
    loaded = predicting.load_for(workspace, str(row["model"]), "image")
    standing = _standing(row)
    st.markdown(f"**{ui.plain(str(row['item']))}**")
    answer = Prediction(str(row["item"]), loaded.id, ())
    draw_correction(loaded, answer, standing, *_acts(workspace, str(row["id"])), f"past_{row['id']}", asked=CONFIRMED)


def _label_names(workspace: Workspace) -> dict[str, str]:
    found: dict[str, str] = {}
    for card in predicting.list_models(workspace):
        if card.get("item") == "image":
            found |= {str(label): str(name) for label, name in card.get("label_names", {}).items()}
    return found


def _shown(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    import pandas as pd

    def named(labels: Sequence[str]) -> str:
        return ", ".join(names.get(label, label) for label in labels)

    # Sizes, notes and what else is kept travel in the CSV: here the row has to fit the page.
    return pd.DataFrame(
        {
            "when": frame["t"].dt.tz_convert(None).dt.strftime("%Y-%m-%d %H:%M").astype(object),
            "picture": frame["item"],
            "answer": [
                named(chosen) or f"none; most probable: {named([top])}"
                for chosen, top in zip(frame["chosen"], frame["top"], strict=True)
            ],
            "probability": frame["probability"].astype(float).round(2),
            "for a person": frame["needs_human"],
            "confirmed": [
                (named(labels) or "none of them") if corrected else ""
                for labels, corrected in zip(frame["labels"], frame["corrected"], strict=True)
            ],
            "model": frame["model"],
        }
    )
