"""Records behind a number: the text or the picture, what is true of it, and what each model answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from medbench import datasets, ui
from medbench.comparing_errors import KINDS, Kind, partings, rows_of
from medbench.comparing_judged import Answered
from medbench.errors import MedbenchError
from medbench.pictures import open_picture
from medbench.ui_compare import Compared, cell_table, choose_model
from medbench.workspace import Workspace

ON_PAGE = 5
SHOWN = 700  # characters of a text before it is folded
WHOLE = "whole records"
_LABELS_SHOWN = 12


def draw_disagreements(workspace: Workspace, compared: Compared) -> None:
    """Draw where two models part: a table of counts whose cells open the records."""
    import pandas as pd

    if len(compared.models) < 2:
        st.caption("Two runs can disagree: choose a second one.")
        return
    left, right = st.columns(2)
    with left:
        first = choose_model(compared, "One model", "compare_part_first", 0)
    with right:
        second = choose_model(compared, "The other", "compare_part_second", 1)
    if first.id == second.id:
        st.caption("Choose two different runs.")
        return
    words = _words(compared, first, second)
    counts = partings(first, second)
    frame = pd.DataFrame(
        [
            {
                "": WHOLE if one.label is None else compared.name_of(one.label),
                "records": one.n,
                "both right": one.both_right,
                **{words[kind]: getattr(one, kind) for kind in KINDS},
            }
            for one in counts
        ]
    )
    names = {None if one.label is None else one.label: row for row, one in enumerate(counts)}
    st.caption("Click a number in the last three columns to read the records behind it.")

    def chosen(row: int, column: str) -> None:
        st.session_state["compare_part_label"] = counts[row].label
        kind = next((kind for kind in KINDS if words[kind] == column), None)
        if kind is not None:
            st.session_state["compare_part_kind"] = kind

    cell_table(frame, "compare_part_table", chosen)
    ui.export(frame, "disagreements", "compare_part_export")
    if (begun := (first.id, second.id)) != st.session_state.get("compare_part_of"):
        st.session_state["compare_part_of"] = begun
        parted = [(one, kind) for one in counts for kind in KINDS[:2] if getattr(one, kind)]
        if parted:  # the widest cut that has something to read
            st.session_state["compare_part_label"] = parted[0][0].label
            st.session_state["compare_part_kind"] = parted[0][1]
    _records(workspace, compared, (first, second), list(names), words)


def _words(compared: Compared, first: Answered, second: Answered) -> dict[Kind, str]:
    names = compared.names
    return {
        "only_first": f"only {names[first.id]} right",
        "only_second": f"only {names[second.id]} right",
        "both_wrong": "both wrong",
    }


def _records(
    workspace: Workspace,
    compared: Compared,
    models: tuple[Answered, Answered],
    labels: Sequence[str | None],
    words: dict[Kind, str],
) -> None:
    left, right = st.columns(2)
    label: str | None = left.selectbox(
        "Label",
        labels,
        format_func=lambda name: WHOLE if name is None else compared.name_of(name),
        key="compare_part_label",
        help="Whole records: right only when every label is.",
    )
    kind: Kind = right.selectbox(
        "Which records", KINDS, format_func=words.__getitem__, key="compare_part_kind", help="Who was right."
    )
    rows = rows_of(*models, label, kind)
    draw_records(workspace, compared, models, rows, "compare_part", label)


def draw_records(
    workspace: Workspace,
    compared: Compared,
    models: Sequence[Answered],
    rows: npt.NDArray[np.int64],
    key: str,
    label: str | None = None,
    order: str = "those on which the models differ most first",
) -> None:
    """Draw judged records, five a page, each with its truth and what the models answered.

    Args:
        workspace: Where the dataset lies.
        compared: What the page has loaded.
        models: Whose answers are shown.
        rows: Positions among the judged items.
        key: Prefix of the widgets' keys.
        label: Whose probability is shown; the top labels of each model when None.
        order: Which come first, in words.
    """
    if not len(rows):
        st.info("No such record.")
        return
    pages = -(-len(rows) // ON_PAGE)
    page = 1
    if pages > 1:
        page = st.pagination(pages, key=f"{key}_page_{rows[0]}_{len(rows)}")
    st.caption(f"{ui.count_of(len(rows), 'record')}; {order}.")
    shown = rows[(page - 1) * ON_PAGE : page * ON_PAGE]
    dataset = datasets.load(workspace, str(models[0].card["dataset"]["id"]))
    held = dataset.rows(models[0].positions[shown])
    for row, record in zip(shown.tolist(), held, strict=True):
        with st.container(border=True):
            _record(dataset, compared, models, row, record, label)


def _record(
    dataset: datasets.Dataset,
    compared: Compared,
    models: Sequence[Answered],
    row: int,
    record: dict[str, Any],
    label: str | None,
) -> None:
    if dataset.item == "image":
        picture, side = st.columns([1, 2])
        with picture:
            _picture(dataset, record)
    else:
        side = st.container()
    with side:
        title = str(record.get("title") or "")
        st.markdown(f"**{ui.plain(title)}**" if title else "")
        st.caption(f"Row {record['position'] + 1:,} · {ui.plain(str(record.get('id') or ''))}")
        if dataset.item == "text":
            _text(str(record.get("text") or ""))
        lines = [("true", _chips(compared, models[0], models[0].truth[row]))]
        lines += [(compared.names.get(model.id, model.name), _answer(compared, model, row, label)) for model in models]
        st.html("".join(f'<div><span class="mb-fact">{ui.escape(who)}:</span> {what}</div>' for who, what in lines))


def _text(text: str) -> None:
    if len(text) <= SHOWN:
        st.markdown(ui.plain(text))
        return
    st.markdown(f"{ui.plain(text[:SHOWN].rsplit(' ', 1)[0])} …")
    with st.expander("The whole text"):
        st.text(text)


def _picture(dataset: datasets.Dataset, record: dict[str, Any]) -> None:
    path = dataset.folder / "images" / str(record["image"]).rsplit("/", 1)[-1]
    try:
        st.image(open_picture(path), width="stretch")
    except MedbenchError as error:
        st.caption(ui.plain(str(error)))


def _chips(compared: Compared, model: Answered, marked: npt.NDArray[np.bool_]) -> str:
    names = [compared.name_of(model.labels[at]) for at in np.flatnonzero(marked)]
    more = [f"and {len(names) - _LABELS_SHOWN} more"] if len(names) > _LABELS_SHOWN else []
    return ui.chips([*names[:_LABELS_SHOWN], *more]) or "no label"


def _answer(compared: Compared, model: Answered, row: int, label: str | None) -> str:
    decided = _chips(compared, model, model.decided[row])
    if label is not None:
        probability = float(model.probabilities[row, model.labels.index(label)])
        return f"{decided} <span class='mb-fact'>{ui.escape(compared.name_of(label))}: {probability:.2f}</span>"
    top = np.argsort(-model.probabilities[row], kind="stable")[:3]
    told = ", ".join(f"{compared.name_of(model.labels[at])} {model.probabilities[row, at]:.2f}" for at in top)
    return f"{decided} <span class='mb-fact'>most probable: {ui.escape(told)}</span>"
