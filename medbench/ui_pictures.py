"""What a dataset of pictures looks like: plots of class, age, sex and site, and a gallery with filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import plots, ui
from medbench.picture_facts import fact_columns
from medbench.pictures import open_picture
from medbench.records import Finding

if TYPE_CHECKING:
    import pandas as pd

PAGE = 24
IN_A_ROW = 6
THUMB = 220
INK = "#0b7a86"
UNKNOWN = "unknown"


def draw_plots(frame: pd.DataFrame, names: Mapping[str, str], key: str) -> None:
    """Draw how many pictures there are of each class, age, sex and site.

    Args:
        frame: The rows (columns as in `drafting.Draft.frame`).
        names: Label -> what the user reads.
        key: Tells one dataset's widgets from another's.
    """
    columns = {"Class": "", **{fact.capitalize(): name for fact, name in fact_columns(frame.columns).items()}}
    chosen = st.segmented_control(
        "Plot", list(columns), default="Class", required=True, key=f"plot_{key}", label_visibility="collapsed"
    )
    table = plots.pictures_by(frame, columns[chosen], names, banded=chosen == "Age")
    encoding: dict[str, Any] = {
        "x": {
            "field": "pictures",
            "type": "quantitative",
            "title": "pictures",
            "axis": {"format": ",d", "tickMinStep": 1},
        },
        "y": {
            "field": "value",
            "type": "nominal",
            "sort": list(dict.fromkeys(table["value"])),
            "title": None,
            "axis": {"labelLimit": 260},
        },
        "tooltip": [{"field": "value"}, {"field": "name", "title": "class"}, {"field": "pictures", "format": ","}],
    }
    if chosen != "Class":
        encoding["color"] = {
            "field": "name",
            "title": None,
            "legend": {"orient": "bottom", "columns": 3, "labelLimit": 240},
        }
    bars = {
        "mark": {"type": "bar", "color": INK, "height": {"band": 0.75}},
        "encoding": encoding,
        "height": {"step": 24},
    }
    st.vega_lite_chart(table, bars, key=f"chart_{chosen}_{key}", alt=f"Bars: how many pictures for each {chosen}.")
    data = ui.csv_bytes(table)
    ui.download("Download the numbers", data, f"{chosen.lower()}.csv", f"plot_data_{key}", "text/csv")


def draw_gallery(
    frame: pd.DataFrame, folder: Path, names: Mapping[str, str], findings: Sequence[Finding], key: str
) -> None:
    """Draw the pictures, 24 a page, with filters for class, site, split and finding; a click opens one.

    Args:
        frame: The rows.
        folder: Where the pictures lie, named as the column image ends.
        names: Label -> what the user reads.
        findings: The verdict; those with rows can be looked at.
        key: Tells one dataset's widgets from another's.
    """
    found = _filtered(frame, names, findings, key)
    if not found:
        st.info("No picture matches.")
        return
    pages = (len(found) + PAGE - 1) // PAGE
    number = st.pagination(pages, key=f"gallery_page_{key}_{len(found)}") if pages > 1 else 1
    shown = found[(number - 1) * PAGE : number * PAGE]
    st.caption(ui.count_of(len(found), "picture"))
    for start in range(0, len(shown), IN_A_ROW):
        for place, row in zip(st.columns(IN_A_ROW), shown[start : start + IN_A_ROW], strict=False):
            with place:
                _thumb(frame.iloc[row], folder, names)


def _filtered(frame: pd.DataFrame, names: Mapping[str, str], findings: Sequence[Finding], key: str) -> list[int]:
    """Draw the filters; returns the positions of the rows that pass, those of a finding in its own order."""
    labels = sorted({label for held in frame["labels"] for label in held})
    site = fact_columns(frame.columns).get("site")
    telling = [one for one in findings if one.rows]
    places = st.columns(4)
    with places[0]:
        label = _choice("Class", labels, f"gallery_label_{key}", lambda one: names.get(one, one))
    with places[1]:
        sites = sorted(set(frame[site])) if site else []
        wanted = _choice("Site", sites, f"gallery_site_{key}", lambda one: one or UNKNOWN)
    with places[2]:
        splits = sorted(set(frame["split"]) - {""})
        split = _choice("Split", splits, f"gallery_split_{key}", str)
    with places[3]:
        numbers = list(range(len(telling)))
        about = _choice("Finding", numbers, f"gallery_finding_{key}", lambda one: telling[one].sentence)
    keep = frame["labelled"] | True
    if label is not None:
        keep &= frame["labels"].map(lambda held: label in held)
    if wanted is not None:
        keep &= frame[site] == wanted
    if split is not None:
        keep &= frame["split"] == split
    order = telling[about].rows if about is not None else range(len(frame))
    passes = keep.tolist()
    return [row for row in order if passes[row]]


def _choice(title: str, options: Sequence[Any], key: str, shown: Any) -> Any:
    return st.selectbox(
        title,
        options,
        index=None,
        placeholder="any",
        format_func=shown,
        key=key,
        disabled=not options,
        help=f"Only pictures of this {title.lower()}.",
    )


def _thumb(row: pd.Series[Any], folder: Path, names: Mapping[str, str]) -> None:
    path = folder / Path(str(row["image"])).name
    label = ", ".join(names.get(one, one) for one in row["labels"]) or "no label"
    st.image(_small(str(path), path.stat().st_mtime_ns), caption=f"{label} · {row['id']}")
    told = {str(name).removeprefix("x_"): str(value) for name, value in row.items() if str(name).startswith("x_")}
    told = {"group": str(row["group"]), "split": str(row["split"]), **told}
    with st.popover("Look", help="The stored picture, and what is known of it."):
        st.image(str(path))
        st.markdown(f"**{ui.plain(label)}** · {ui.plain(str(row['id']))}")
        st.caption(" · ".join(f"{ui.plain(name)}: {ui.plain(value)}" for name, value in told.items() if value))


@st.cache_data(max_entries=2_000, show_spinner=False)
def _small(path: str, changed: int) -> Any:
    """Return a small copy of a picture as an array; `changed` keeps a replaced file from being taken for the old."""
    import numpy as np

    picture = open_picture(path)
    picture.thumbnail((THUMB, THUMB))
    return np.asarray(picture)
