"""Everything that was answered here: filters, how sure the answers were, re-opening, correcting, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import history, predicting, ui, ui_grid
from medbench.predicting import Loaded
from medbench.records import Prediction
from medbench.ui_classify import draw_answer, draw_correction
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import altair
    import pandas as pd

_LIMIT = 2_000
_YES_NO: dict[str, bool | None] = {"All": None, "Yes": True, "No": False}


def draw_history(workspace: Workspace) -> None:
    """Draw the history tab."""
    stamp = history.stamp(workspace)
    if not stamp:
        ui.empty("Nothing has been classified yet. Paste a text under **One text**, or drop a file under **A file**.")
        return
    asked = _filters(workspace)
    frame = _read(str(workspace.data), stamp, workspace, asked)
    if frame.empty:
        st.info("No answer fits these filters.")
        return
    names = _label_names(workspace)
    if len(frame) == _LIMIT:
        st.caption(f"The newest {_LIMIT:,} are shown; the CSV holds all.")
    st.altair_chart(_distribution(frame), key="history_chart", height=250)
    shown = _shown(frame, names)
    picked = ui_grid.grid(
        shown,
        "history_grid",
        selection="one",
        hide=("doubt", "note", "model"),
        widths={"when": 155, "item": 100, "probability": 105, "flags": 130},
        decimals={"probability": 2, "doubt": 2},
        page_size=15,
    )
    _exports(workspace, asked)
    if picked:
        with ui.guarded():
            _one(workspace, frame.iloc[picked[0]])
    else:
        st.caption("Click a row to open it again.")


def _filters(workspace: Workspace) -> dict[str, Any]:
    """Draw the filters; return them as `history.read` takes them."""
    names = _label_names(workspace)
    models = {str(card["id"]): str(card["name"]) for card in predicting.list_models(workspace)}
    first, second = st.columns([5, 5, 4, 4]), st.columns([3, 1, 1])
    model = first[0].selectbox(
        "Model",
        list(models),
        index=None,
        format_func=lambda name: f"{models[name]} · {name}",
        placeholder="any",
        key="history_model",
        help="Only its answers.",
    )
    label = first[1].selectbox(
        "Label",
        list(names),
        index=None,
        placeholder="any",
        format_func=names.__getitem__,
        key="history_label",
        help="Only texts that carry it now, after corrections.",
    )
    since = first[2].date_input("From", value=None, key="history_since", help="First day.")
    until = first[3].date_input("To", value=None, key="history_until", help="Last day.")
    search = second[0].text_input("Words in title or text", key="history_search", help="Case does not matter.")
    corrected = second[1].selectbox("Corrected", list(_YES_NO), key="history_corrected", help="By a reader.")
    doubtful = second[2].selectbox("For a person", list(_YES_NO), key="history_doubtful", help="Marked as doubtful.")
    return {
        "model": model,
        "label": label,
        "since": since,
        "until": until,
        "corrected": _YES_NO[corrected],
        "doubtful": _YES_NO[doubtful],
        "search": search or "",
        "pictures": False,
    }


@st.cache_data(max_entries=16, show_spinner="Reading the history…")
def _read(place: str, stamp: str, _workspace: Workspace, asked: dict[str, Any]) -> pd.DataFrame:
    return history.read(_workspace, **asked, texts=True, limit=_LIMIT)


def _label_names(workspace: Workspace) -> dict[str, str]:
    found: dict[str, str] = {}
    for card in predicting.list_models(workspace):
        names = card.get("label_names", {})
        found |= {str(label): str(names.get(label, label)) for label in card["labels"]}
    return dict(sorted(found.items(), key=lambda entry: entry[1].casefold()))


def _shown(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "when": frame["t"].dt.tz_convert(None).dt.strftime("%Y-%m-%d %H:%M").astype(object),
            "item": frame["item"],
            "title": [title or text[:120] for title, text in zip(frame["title"], frame["text"], strict=True)],
            "labels": ["; ".join(names.get(label, label) for label in labels) for labels in frame["labels"]],
            "probability": frame["probability"].astype(float),
            "doubt": frame["doubt"].astype(float),
            "flags": [
                ", ".join(word for word, flag in (("corrected", corrected), ("a person", person)) if flag)
                for corrected, person in zip(frame["corrected"], frame["needs_human"], strict=True)
            ],
            "note": frame["note"],
            "model": frame["model"],
        }
    )


def _distribution(frame: pd.DataFrame) -> altair.Chart:
    """Return how probable the most probable label was, over all answers shown."""
    import altair
    import numpy as np
    import pandas as pd

    edges = np.linspace(0, 1, 21)
    parts = []
    for words, rows in (("sure enough", ~frame["needs_human"]), ("for a person", frame["needs_human"])):
        counts, _ = np.histogram(frame.loc[rows, "probability"].dropna().astype(float), edges)
        parts.append(pd.DataFrame({"from": edges[:-1], "to": edges[1:], "answers": counts, "kind": words}))
    colours = altair.Scale(domain=["sure enough", "for a person"], range=["#0b7a86", "#d98a29"])
    chart: altair.Chart = (
        altair.Chart(pd.concat(parts), title="Probability of the most probable label")
        .mark_bar()
        .encode(
            x=altair.X("from:Q", title=None, bin="binned", scale=altair.Scale(domain=[0, 1])),
            x2="to:Q",
            y=altair.Y("answers:Q", title="answers"),
            color=altair.Color("kind:N", title=None, scale=colours, legend=altair.Legend(orient="top")),
            tooltip=[
                "kind:N",
                "answers:Q",
                altair.Tooltip("from:Q", format=".2f"),
                altair.Tooltip("to:Q", format=".2f"),
            ],
        )
    )
    return chart


def _exports(workspace: Workspace, asked: dict[str, Any]) -> None:
    def table() -> bytes:
        return ui.csv_bytes(history.read(workspace, **asked, texts=True, limit=None))

    def lines() -> bytes:
        frame = history.read(workspace, **asked, texts=True, limit=None)
        frame["t"] = [moment.isoformat() for moment in frame["t"]]
        return json.dumps(frame.to_dict("records"), ensure_ascii=False, indent=1, default=str).encode()

    with st.container(horizontal=True):
        ui.download("CSV", table, "history.csv", "history_csv", "text/csv", help="Everything the filters leave.")
        ui.download("JSON", lines, "history.json", "history_json", "application/json", help="The same as JSON.")
        with st.popover("Delete the whole history", help="Predictions, texts and corrections."):
            st.markdown("Every prediction, text and correction will be gone. There is no way back.")
            if st.button("Yes, delete everything", key="history_delete", type="primary", help="Cannot be undone."):
                history.delete_all(workspace)
                st.rerun()


def _one(workspace: Workspace, row: pd.Series[Any]) -> None:
    """Ask the model again about one row's text, and let the user correct what was said."""
    item = history.reopen(workspace, str(row["id"]))
    st.divider()
    st.subheader(ui.plain(item.title or item.id), anchor=False)
    if not item.joined:
        st.info("The text of this answer was not kept, so it cannot be opened again.")
        return
    with st.spinner("Loading the model…"):
        loaded = predicting.load(workspace, str(row["model"]))
    answer = predicting.predict(loaded, [item])[0]
    draw_answer(workspace, loaded, item, answer, f"history_{row['id']}", _corrector(workspace, loaded, answer, row))


def _corrector(workspace: Workspace, loaded: Loaded, answer: Prediction, row: pd.Series[Any]) -> Callable[[], None]:
    standing = (list(row["labels"]), str(row["note"])) if row["corrected"] else None
    name = str(row["id"])

    def draw() -> None:
        draw_correction(
            loaded,
            answer,
            standing,
            lambda labels, note: history.correct(workspace, name, labels, note),
            lambda: history.undo(workspace, name),
            f"history_{name}",
        )

    return draw
