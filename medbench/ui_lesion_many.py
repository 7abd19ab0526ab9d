"""Many photographs: dropped, taken in, answered; a table with the doubtful ones first, and any of them opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st

from medbench import lesion_reading, lesion_uploads, ui, ui_grid, ui_lesion, ui_lesion_history
from medbench.job_answers import Turn
from medbench.lesion_reading import LesionReading, Picture
from medbench.lesion_uploads import Received
from medbench.predicting import Loaded
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    from streamlit.runtime.uploaded_file_manager import UploadedFile

_CHUNK = 32
WHAT = (
    "**Drop a photograph of a skin lesion**: one lesion, in the middle, sharp, best taken with a dermatoscope.  \n"
    "Several photographs or a zip of them are answered in a table, the doubtful ones first. A table (CSV) beside them "
    "with image, age, sex and site is read, too. Everything stays on this machine and is forgotten after a day."
)


def take(workspace: Workspace) -> Received | None:
    """Draw the box to drop into; returns what was dropped, or None, and then explains what to drop."""
    files = st.file_uploader(
        "Photographs, or a zip of them",
        accept_multiple_files=True,
        key="lesion_files",
        label_visibility="collapsed",
        help="JPEG, PNG, TIFF, WebP, GIF or BMP. They stay on this machine.",
        max_upload_size=1000,
    )
    if not files:
        _forget()
        ui.empty(WHAT)
        return None
    signature = "|".join(file.file_id for file in files)
    kept: tuple[str, Received] | None = st.session_state.get("lesion_received")
    if kept is None or kept[0] != signature or not kept[1].folder.exists():
        _forget()
        kept = (signature, _received(workspace, files))
        st.session_state["lesion_received"] = kept
    for name, reason in kept[1].refused.items():
        st.warning(ui.plain(f"{name}: {reason}"))
    return kept[1]


def _received(workspace: Workspace, files: Sequence[UploadedFile]) -> Received:
    bar = st.progress(0.0, "Taking the pictures…")
    try:
        return lesion_uploads.receive_pictures(
            workspace, [(file.name, file) for file in files], lambda share, words: _tell(bar, share, words)
        )
    finally:
        bar.empty()


def _tell(bar: st.delta_generator.DeltaGenerator, share: float, words: str) -> None:
    bar.progress(min(share, 1.0), ui.plain(words))


def _forget() -> None:
    kept: tuple[str, Received] | None = st.session_state.pop("lesion_received", None)
    if kept is not None:
        kept[1].forget()
    st.session_state.pop("lesion_answers", None)


def choose(workspace: Workspace, models: Sequence[Loaded], turn: Turn, pictures: Sequence[Picture]) -> Picture | None:
    """Draw the table of many pictures, their answers kept in the history; returns the one that was chosen."""
    found = [_answers(workspace, loaded, turn, pictures) for loaded in models]
    frame = table(models, pictures, found)
    doubtful = sum(reading.prediction.needs_human or bool(reading.quality) for reading in found[0])
    st.markdown(f"**{ui.count_of(len(pictures), 'picture')}**, {doubtful:,} to look at first.")
    shown = frame.sort_values(["order", "picture"], kind="stable")
    picked = ui_grid.grid(
        shown,
        "lesion_grid",
        selection="one",
        hide=("order",),
        decimals={name: 2 for name in frame.columns if str(name).endswith("probability") or name == "malignant"},
        widths={name: 150 if str(name).endswith(("picture", "diagnosis")) else 130 for name in frame.columns[:-2]},
        wrap=("to look at",),
        page_size=50,
    )
    ui.download(
        "Table (CSV)", lambda: ui.csv_bytes(shown.drop(columns="order")), "lesions.csv", "lesion_csv", "text/csv"
    )
    if not picked:
        st.caption("Click a row to open its picture.")
        return None
    return pictures[int(shown.index[picked[0]])]


def _answers(workspace: Workspace, loaded: Loaded, turn: Turn, pictures: Sequence[Picture]) -> list[LesionReading]:
    """Return a reading of every picture, kept for the session; answered in chunks under a bar."""
    kept: dict[str, list[LesionReading]] = st.session_state.setdefault("lesion_answers", {})
    changed = ui_lesion.key_of(loaded, pictures[0])[0]
    if changed not in kept:
        bar, found = st.progress(0.0, "Looking at the pictures…"), []
        for start in range(0, len(pictures), _CHUNK):
            found += lesion_reading.read_pictures(loaded, pictures[start : start + _CHUNK])
            bar.progress(len(found) / len(pictures), f"{len(found):,} of {len(pictures):,} pictures looked at.")
        bar.empty()
        kept[changed] = found
        ui_lesion_history.remember(workspace, loaded, turn, pictures, found)
    return kept[changed]


def table(
    models: Sequence[Loaded], pictures: Sequence[Picture], found: Sequence[Sequence[LesionReading]]
) -> pd.DataFrame:
    """Return one row per picture; "order" sorts what cannot be read, then doubtful ones, first.

    Args:
        models: One or two.
        pictures: n pictures.
        found: For each model its n readings.
    """
    import pandas as pd

    rows = []
    for at, picture in enumerate(pictures):
        first = found[0][at]
        row: dict[str, object] = {"picture": picture.name}
        for loaded, readings in zip(models, found, strict=True):
            prefix = f"{loaded.card['name']}: " if len(models) > 1 else ""
            row.update({f"{prefix}{name}": value for name, value in _cells(readings[at]).items()})
        row["to look at"] = first.prediction.problem or " ".join(lesion_reading.to_mind(models[0], first))
        row["order"] = _order([readings[at] for readings in found])
        rows.append(row)
    return pd.DataFrame(rows)


def _cells(reading: LesionReading) -> Mapping[str, object]:
    scores = reading.prediction.labels
    if not scores:
        return {"diagnosis": "cannot be read", "probability": None, "malignant": None}
    return {
        "diagnosis": scores[0].name,
        "probability": scores[0].probability,
        "malignant": lesion_reading.malignant_share(reading),
    }


def _order(readings: Sequence[LesionReading]) -> float:
    """Return what sorts a picture: unreadable, then disagreement, then doubt and bad photographs."""
    if any(reading.prediction.problem for reading in readings):
        return -3.0
    doubt = max(reading.prediction.doubt for reading in readings)
    apart = len({reading.prediction.labels[0].label for reading in readings}) > 1
    minded = any(reading.prediction.needs_human or reading.quality for reading in readings)
    return -(float(apart) + float(minded) + doubt / 2) / 1.5


def load_all(workspace: Workspace, turn: Turn, beside: Sequence[str]) -> list[Loaded]:
    """Return the model whose turn it is and those beside it, with a word while they are being loaded.

    Raises:
        MedbenchError: One is missing.
    """
    from medbench import predicting

    if said := turn.told("pictures"):
        st.caption(ui.plain(said))
    with st.spinner("Loading the model…"):
        names = dict.fromkeys([turn.model, *beside])
        return [predicting.load_for(workspace, name, "image") for name in names]
