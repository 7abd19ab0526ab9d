"""Searching options on the Train page: the switch on the form, and what a search found on the result page."""

from __future__ import annotations

from typing import Any

import streamlit as st

from medbench import tuning, ui, ui_compare
from medbench.comparing_verdict import title_of
from medbench.families import Family, get_family
from medbench.records import TuneSpec

KEYS = {"minutes": "train_tune_minutes", "trials": "train_tune_trials"}
SWITCH = "train_tune"


def draw_search(family: Family[Any]) -> dict[str, Any]:
    """Draw the switch and its two limits; return the spec's "tune", or nothing when it is off or cannot be had."""
    if not family.space:
        return {}
    names = ", ".join(name.replace("_", " ") for name in family.space)
    on = st.toggle(
        "Search the options",
        key=SWITCH,
        help=f"Tries sets of options on the validation split and trains with the best. Searched: {names}. "
        "An option that you change above is kept as you set it.",
        persist_state="session",
    )
    if not on:
        return {}
    left, right, _ = st.columns(3)
    minutes = left.number_input(
        "Minutes",
        min_value=0.5,
        max_value=10_000.0,
        step=5.0,
        key=KEYS["minutes"],
        **_first("minutes", 10.0),
        help="The search ends after so many minutes; the final training comes on top.",
        persist_state="session",
    )
    trials = right.number_input(
        "Trials",
        min_value=1,
        max_value=10_000,
        step=10,
        key=KEYS["trials"],
        **_first("trials", 40),
        help="At most so many sets of options are tried.",
        persist_state="session",
    )
    return {"tune": {"minutes": minutes, "trials": trials}}


def _first(name: str, value: float) -> dict[str, Any]:
    """Return a widget's first value, unless the form has filled it already."""
    return {} if KEYS[name] in st.session_state else {"value": value}


def fill(wanted: TuneSpec | None) -> None:
    """Put a spec's search into the form's widgets."""
    st.session_state[SWITCH] = wanted is not None
    for name, value in wanted or ():
        st.session_state[KEYS[name]] = value


_TICKS = 6  # on an axis
_STATES = {"complete": "finished", "pruned": "broken off"}


def draw_found(card: dict[str, Any]) -> None:
    """Draw what a search tried: which options matter, every trial as a line, and the table."""
    found = card.get("tuning")
    if not found:
        return
    import pandas as pd

    title = title_of(str(found["headline"]))
    rows = [
        {
            "trial": each["number"],
            title: each["value"],
            "state": _STATES.get(each["state"], each["state"]),
            "seconds": each["seconds"],
            **each["options"],
        }
        for each in found["trials"]
    ]
    frame = pd.DataFrame(rows).sort_values(title, ascending=False, na_position="last")
    with st.expander(f"The search: {len(rows)} trials", key="train_found"):
        if frame[title].nunique() < 2:
            st.caption(f"All finished trials have the same {title}: none of these options made a difference.")
        else:
            _draw_importance(found["importance"])
            st.caption(f"Every finished trial is a line; yellow is the best {title}. Drag along an axis to pick lines.")
            ui_compare.plot(
                _parallel(frame, list(found["trials"][0]["options"]), title, _by_magnitude(str(card["family"]))),
                "trials",
                "train_parallel",
                340,
                sides=70,
            )
        st.dataframe(frame, hide_index=True, key="train_trials")
        ui.export(frame, "trials", "train_trials")


def _draw_importance(importance: dict[str, float]) -> None:
    """Draw the share of the difference between trials that each option explains."""
    import pandas as pd

    if not importance:
        st.caption(f"Which options matter most is told from {tuning.STARTS} finished trials on.")
    else:
        st.caption("How much of the difference between trials each option explains, in percent.")
        shares = pd.DataFrame(
            {
                "option": [name.replace("_", " ") for name in importance],
                "percent": [100 * share for share in importance.values()],
            }
        )
        st.bar_chart(shares, x="option", y="percent", horizontal=True, sort="-percent", height=40 + 36 * len(shares))


def _by_magnitude(family: str) -> set[str]:
    """Return the options of a family that are searched by orders of magnitude."""
    return {name for name, limits in get_family(family).space.items() if limits is not True and "log" in limits[2:]}


def _parallel(frame: Any, options: list[str], title: str, by_magnitude: set[str]) -> Any:
    """Return parallel coordinates of the finished trials; axes of `by_magnitude` are logarithmic."""
    import plotly.graph_objects as go

    done = frame[frame["state"] == _STATES["complete"]]
    axes = [{"label": name.replace("_", " "), **_axis(done[name], name in by_magnitude)} for name in options]
    axes.append({"label": title, "values": done[title]})
    lines = go.Parcoords(dimensions=axes, line={"color": done[title], "colorscale": "Viridis"})
    return go.Figure(lines, layout={"modebar": {"orientation": "v"}})  # beside the last axis, not over its name


def _axis(values: Any, by_magnitude: bool) -> dict[str, Any]:
    """Return an option's values as heights, and what is written beside them."""
    import numpy as np

    whole = values.dtype.kind == "i"
    if values.dtype.kind == "f" and by_magnitude and (values > 0).all():
        heights = np.log10(values)
        ticks = np.linspace(heights.min(), heights.max(), _TICKS)
        return {"values": heights, "tickvals": ticks, "ticktext": [f"{10**at:.2g}" for at in ticks]}
    if values.dtype.kind == "f" or (whole and values.nunique() > _TICKS):
        return {"values": values}
    kinds = sorted(values.unique() if whole else values.astype(str).unique())
    places = kinds if whole else list(range(len(kinds)))
    heights = values if whole else [kinds.index(str(value)) for value in values]
    return {"values": heights, "tickvals": places, "ticktext": [str(kind) for kind in kinds]}
