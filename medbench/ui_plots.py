"""Pictures of a dataset: label counts, text lengths, labels that go together, typical words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import plots, ui
from medbench.datasets import Dataset, Draft
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

INK, FAINT = "#0b7a86", "#9fb8bb"
BARS = 40
LAYOUT_SEED = 7
WORD_ROWS = 5_000
UNDRAWN = {"axis": None, "scale": {"zero": False, "nice": False, "padding": 46}}
PICTURES = ("Labels", "Lengths", "Together", "Typical words")


def draw_saved(workspace: Workspace, dataset: Dataset) -> None:
    """Draw the pictures of a saved dataset; their numbers are kept in memory under its id."""
    _draw(str(workspace.dataset(dataset.id)), dataset.profile["classes"], dataset.label_names, dataset.id, None)


def draw_draft(draft: Draft, key: str) -> None:
    """Draw the pictures of a draft; `key` tells it from other drafts."""
    _draw("", draft.profile["classes"], draft.label_names, key, draft)


def _draw(folder: str, classes: Mapping[str, int], names: Mapping[str, str], key: str, draft: Draft | None) -> None:
    pictures = PICTURES if classes else ("Lengths",)
    chosen = st.segmented_control(
        "Picture", pictures, default=pictures[0], required=True, key=f"picture_{key}", label_visibility="collapsed"
    )
    if chosen == "Labels":
        _labels(plots.label_distribution(classes, names), key)
    elif chosen == "Lengths":
        _lengths(folder, key, list(classes), names, draft)
    elif chosen == "Together":
        _together(folder, key, names, draft)
    else:
        _words(folder, key, list(classes), names, draft)


def _rows(folder: str, draft: Draft | None) -> pd.DataFrame:
    """Return title, text and labels of all rows: of the draft, or read from the dataset's folder."""
    if draft is not None:
        return draft.frame
    import pyarrow.parquet as parquet

    frame: pd.DataFrame = parquet.read_table(f"{folder}/rows.parquet", columns=["title", "text", "labels"]).to_pandas()
    return frame


# The key names the content (a dataset's id, or a draft's files and columns), so nothing kept here goes stale.
@st.cache_resource(max_entries=16, show_spinner="Counting words.")
def _length_table(key: str, label: str | None, folder: str, _draft: Draft | None) -> pd.DataFrame:
    return plots.text_lengths(_rows(folder, _draft), [label] if label else [])


@st.cache_resource(max_entries=8, show_spinner="Laying out the labels.")
def _network(
    key: str, folder: str, _names: Mapping[str, str], _draft: Draft | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    import numpy as np

    found = plots.cooccurrence(_rows(folder, _draft), _names, np.random.default_rng(LAYOUT_SEED))
    return found.nodes, found.edges


@st.cache_resource(max_entries=8, show_spinner="Comparing vocabularies.")
def _word_table(key: str, labels: tuple[str, ...], folder: str, _draft: Draft | None) -> pd.DataFrame:
    return plots.distinctive_words(_rows(folder, _draft), labels, max_rows=WORD_ROWS)


def _labels(table: pd.DataFrame, key: str) -> None:
    shown = table.head(BARS)
    if len(table) > BARS:
        st.caption(f"The {BARS} most frequent of {len(table):,} labels; the download has all.")
    bars = {
        "mark": {"type": "bar", "color": INK, "height": {"band": 0.75}},
        "encoding": {
            "x": {"field": "rows", "type": "quantitative", "title": "rows"},
            "y": {"field": "name", "type": "nominal", "sort": "-x", "title": None, "axis": {"labelLimit": 260}},
            "tooltip": [{"field": "name"}, {"field": "label"}, {"field": "rows", "format": ","}],
        },
        "height": {"step": 20},
    }
    st.vega_lite_chart(shown, bars, key=f"chart_labels_{key}", alt="Bars: how many rows carry each label.")
    _table(table, "labels", key)


def _lengths(folder: str, key: str, labels: list[str], names: Mapping[str, str], draft: Draft | None) -> None:
    label = None
    if labels:
        label = st.selectbox(
            "Compare with the rows of one label",
            labels,
            index=None,
            placeholder="no comparison",
            format_func=lambda one: names.get(one, one),
            key=f"lengths_label_{key}",
            help="Draws the lengths of that label's texts over those of all rows.",
        )
    table = _length_table(key, label, folder, draft)
    table = table.assign(whose=[names.get(one, one) for one in table["label"]])
    order = [plots.ALL, *([names.get(label, label)] if label else [])]
    area = {
        "mark": {"type": "area", "interpolate": "step", "opacity": 0.55, "line": True},
        "encoding": {
            "x": {"field": "start", "type": "quantitative", "title": "words in title and text"},
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": "share of rows",
                "axis": {"format": "%"},
                "stack": None,
            },
            "color": {
                "field": "whose",
                "title": None,
                "scale": {"domain": order, "range": [FAINT if label else INK, INK][: len(order)]},
                "legend": {"orient": "top"} if label else None,
            },
            "tooltip": [
                {"field": "whose", "title": "rows of"},
                {"field": "start", "title": "from, words"},
                {"field": "end", "title": "to, words"},
                {"field": "rows", "format": ","},
            ],
        },
        "height": 300,
    }
    st.vega_lite_chart(table, area, key=f"chart_lengths_{key}", alt="How long the texts are, in words.")
    st.caption("The last step also holds the longest 1 % of the texts.")
    _table(table.drop(columns="whose"), "lengths", key)


def _together(folder: str, key: str, names: Mapping[str, str], draft: Draft | None) -> None:
    nodes, edges = _network(key, folder, names, draft)
    if edges.empty:
        st.info("No row carries two labels, so none stand together.")
        return
    edges = edges.assign(**{end: [names.get(one, one) for one in edges[end]] for end in ("source", "target")})
    st.caption("Labels that stand on the same rows lie close; a thicker line means a larger share of the rarer label.")
    spec = {"layer": [_line_layer(edges), *_label_layers(nodes)], "height": 560}
    st.vega_lite_chart(spec=spec, key=f"chart_together_{key}", alt="Network: which labels stand on the same rows.")
    _table(edges[["source", "target", "rows", "share"]], "labels-together", key)


def _line_layer(edges: pd.DataFrame) -> dict[str, Any]:
    return {
        "data": {"values": edges.to_dict("records")},
        "mark": {"type": "rule", "color": FAINT, "opacity": 0.5},
        "encoding": {
            "x": {"field": "x0", "type": "quantitative", **UNDRAWN},
            "y": {"field": "y0", "type": "quantitative", **UNDRAWN},
            "x2": {"field": "x1"},
            "y2": {"field": "y1"},
            "strokeWidth": {
                "field": "share",
                "type": "quantitative",
                "scale": {"domain": [0, 1], "range": [0.4, 9]},
                "legend": None,
            },
            "tooltip": [
                {"field": "source"},
                {"field": "target"},
                {"field": "rows", "format": ","},
                {"field": "share", "format": ".0%"},
            ],
        },
    }


def _label_layers(nodes: pd.DataFrame) -> list[dict[str, Any]]:
    data = {"values": nodes.to_dict("records")}
    place = {axis: {"field": axis, "type": "quantitative", **UNDRAWN} for axis in ("x", "y")}
    size = {"field": "rows", "type": "quantitative", "scale": {"range": [60, 1400]}, "legend": None}
    told = [{"field": "name"}, {"field": "label"}, {"field": "rows", "format": ","}]
    colour = "#e6ecec" if st.context.theme.type == "dark" else "#1b2a2f"
    return [
        {
            "data": data,
            "mark": {"type": "circle", "color": INK, "opacity": 0.9},
            "encoding": {**place, "size": size, "tooltip": told},
        },
        {
            "data": data,
            "mark": {"type": "text", "dy": -14, "fontSize": 11, "limit": 130, "color": colour},
            "encoding": {**place, "text": {"field": "name"}, "tooltip": told},
        },
    ]


def _words(folder: str, key: str, labels: Sequence[str], names: Mapping[str, str], draft: Draft | None) -> None:
    table = _word_table(key, tuple(labels), folder, draft)
    if table.empty:
        st.info("There are too few texts to tell vocabularies apart.")
        return
    label = st.selectbox(
        "Label",
        labels,
        format_func=lambda one: names.get(one, one),
        key=f"words_label_{key}",
        help="The words that set this label's texts apart from all others.",
    )
    shown = table[table["label"] == label]
    bars = {
        "mark": {"type": "bar", "color": INK, "height": {"band": 0.75}},
        "encoding": {
            "x": {"field": "z", "type": "quantitative", "title": "how far apart, in standard errors"},
            "y": {"field": "word", "type": "nominal", "sort": "-x", "title": None},
            "tooltip": [{"field": "word"}, {"field": "z", "format": ".1f"}, {"field": "count", "format": ","}],
        },
        "height": {"step": 20},
    }
    st.vega_lite_chart(shown, bars, key=f"chart_words_{key}", alt="Bars: the most typical words of one label.")
    _table(table, "typical-words", key)


def _table(table: pd.DataFrame, name: str, key: str) -> None:
    ui.download("Download the numbers", lambda: ui.csv_bytes(table), f"{name}.csv", f"{name}_{key}", "text/csv")
