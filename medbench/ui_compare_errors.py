"""Error analysis of one model: what errors go with, what is taken for what, the worst answers, doubtful labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from medbench import comparing_errors, comparing_figures, ui
from medbench.comparing_errors import Correlation
from medbench.comparing_judged import Answered
from medbench.comparing_records import Selection, missed_for
from medbench.ui_compare import Compared, beside, choose_model, log_axis, plot
from medbench.ui_compare_records import draw_cells, draw_records
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import numpy.typing as npt

PARTS = ("What errors go with", "Top confusions", "Worst answers", "Likely label errors")


def draw_errors(workspace: Workspace, compared: Compared) -> None:
    """Draw the error analysis of one model."""
    model = choose_model(compared, "Model", "compare_errors_model")
    part = st.segmented_control(
        "Part", PARTS, default=PARTS[0], required=True, key="compare_errors_part", label_visibility="collapsed"
    )
    if part == PARTS[0]:
        _correlations(workspace, compared, model)
    elif part == PARTS[1]:
        _confusions(workspace, compared, model)
    elif part == PARTS[2]:
        rows = comparing_errors.worst(model)
        order = "surest and wrong (log loss) first"
        draw_records(workspace, compared, [model], rows, "compare_worst", Selection(model.id, model.id), order)
    else:
        _label_errors(workspace, compared, model)


def _correlations(workspace: Workspace, compared: Compared, model: Answered) -> None:
    if model.card.get("item") == "image":
        _against_count(compared, model)
        return
    row = beside("errors")
    with row.container():
        _against_length(compared, model, comparing_errors.lengths(workspace, model))
    with row.container():
        _against_count(compared, model)


def _against_length(compared: Compared, model: Answered, words: npt.NDArray[np.int64]) -> None:
    import plotly.graph_objects as go

    wrong = comparing_errors.item_errors(model)
    edges = np.unique(np.quantile(words, np.linspace(0, 1, 9)))
    place = np.clip(np.searchsorted(edges, words, side="right") - 1, 0, max(len(edges) - 2, 0))
    found = go.Figure()
    bins = [np.flatnonzero(place == at) for at in np.unique(place)]
    found.add_scatter(
        x=[float(np.median(words[mine])) for mine in bins], y=[float(wrong[mine].mean()) for mine in bins],
        customdata=[len(mine) for mine in bins], mode="lines+markers", line={"color": compared.colour(model.id)},
        hovertemplate="about %{x} words: %{y:.2f}<br>%{customdata} items<extra></extra>",
    )  # fmt: skip
    found.update_layout(title="Error against length", xaxis_title="words", yaxis_title="mean error")
    found.update_yaxes(rangemode="tozero")
    plot(found, "error-length", "compare_error_length")
    st.caption(
        _told(comparing_errors.correlation(words.tolist(), wrong.tolist()), "length and error", "items")
        + " Error: labels missed or wrongly given, as a share of all involved."
    )


def _against_count(compared: Compared, model: Answered) -> None:
    import plotly.graph_objects as go

    learnt = np.array(comparing_figures.learnt_counts(model, compared.items))
    live = np.flatnonzero(model.truth.any(axis=0))
    error = 1 - comparing_figures.label_f1(model)
    found = go.Figure()
    found.add_scatter(
        x=np.maximum(learnt[live], 1), y=error[live], mode="markers", marker={"color": compared.colour(model.id)},
        text=[compared.name_of(model.labels[at]) for at in live],
        hovertemplate="%{text}<br>%{x} training items, error %{y:.2f}<extra></extra>",
    )  # fmt: skip
    found.update_layout(title="Error against training items", xaxis_title="training items", yaxis_title="1 − F1")
    log_axis(found, learnt[live].tolist())
    plot(found, "error-count", "compare_error_count")
    found_r = comparing_errors.correlation(learnt[live].tolist(), error[live].tolist())
    st.caption(_told(found_r, "a label's training items and its error", "labels"))


def _told(found: Correlation, what: str, of: str) -> str:
    if found.r != found.r:
        return f"Rank correlation of {what}: cannot be told, one side does not vary or {of} are too few."
    words = f"{found.r:.2f} ({found.low:.2f} to {found.high:.2f})".replace("-", "−")
    doubt = " The interval holds 0: no trend is shown." if found.low <= 0 <= found.high else ""
    return f"Rank correlation of {what}: {words} over {found.n:,} {of}.{doubt}"


def _confusions(workspace: Workspace, compared: Compared, model: Answered) -> None:
    import pandas as pd

    found = comparing_errors.confusions(model)
    if not found:
        st.info("Nothing was taken for something else.")
        return
    rows = [(compared.name_of(true), compared.name_of(said), count) for true, said, count in found]
    if model.answer == "many":
        st.caption("With several labels per item, every missed one is paired with every wrong one of the same item.")

    def opens(row: int, column: str) -> Selection:
        true, said, _ = found[row]
        return missed_for(model, "", true, said)

    frame = pd.DataFrame(rows, columns=["true, but missed", "given instead", "items"])
    draw_cells(workspace, compared, frame, "top-confusions", "compare_top", opens, of=model.id)


def _label_errors(workspace: Workspace, compared: Compared, model: Answered) -> None:
    st.caption(
        "Items whose given labels a model that never saw them finds hard to believe (confident learning, cleanlab). "
        "A list to check by eye: hard items stand in it too."
    )
    kept = st.session_state.setdefault("compare_label_errors", {})
    if model.id not in kept:
        if not st.button("Look for them", key="compare_label_errors_start", help="Takes some seconds."):
            return
        with st.spinner("Looking for labels that may be wrong…"):
            kept[model.id] = comparing_errors.likely_label_errors(model).tolist()
    rows = np.array(kept[model.id], dtype=np.int64)
    st.markdown(
        f"**{ui.count_of(len(rows), 'item')}** of {len(model.truth):,} ({ui.share(len(rows) / len(model.truth))})"
    )
    order = "the least believed first"
    draw_records(workspace, compared, [model], rows, "compare_doubtful", Selection(model.id, model.id), order)
