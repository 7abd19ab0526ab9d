"""Records behind a cell: the text or the picture, what is true of it, and what two models answered.

Every table of the page is drawn by `draw_cells`: a click on a cell opens the records that the cell is about.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from medbench import comparing_records, datasets, ui
from medbench.comparing_judged import Answered
from medbench.comparing_records import KINDS, Facts, Kind, Selection
from medbench.errors import MedbenchError
from medbench.pictures import open_picture
from medbench.ui_compare import Compared, choose_model
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

ON_PAGE = 5
SHOWN = 700  # characters of a text before it is folded
WHOLE = "whole records"
_LABELS_SHOWN = 12
Opens = Callable[[int, str], Selection]
"""Row and column of a cell -> the records behind it; `second` is "" where the reader chooses the other model."""


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
    words = comparing_records.kind_words(Selection(first.id, second.id), compared.names)
    counts = comparing_records.partings(first, second)
    counted: tuple[Kind, ...] = ("both_right", "only_first", "only_second", "both_wrong")
    frame = pd.DataFrame(
        [
            {
                "": WHOLE if one.label is None else compared.name_of(one.label),
                "records": one.n,
                **{words[kind]: getattr(one, kind) for kind in counted},
            }
            for one in counts
        ]
    )
    kinds = {words[kind]: kind for kind in counted}

    def opens(row: int, column: str) -> Selection:
        kind = "all" if column == "records" else kinds.get(column, "differ")
        return replace(comparing_records.on_label(first, second, counts[row].label), kind=kind)

    # At first the widest cut that has something to read.
    parted = [(row, words[kind]) for row, one in enumerate(counts) for kind in counted[1:3] if getattr(one, kind)]
    of, begin = (first.id, second.id), parted[0] if parted else None
    draw_cells(workspace, compared, frame, "disagreements", "compare_part", opens, of=of, begin=begin)


# --- a table whose cells lead to records -----------------------------------------------------------------------


def draw_cells(
    workspace: Workspace,
    compared: Compared,
    frame: pd.DataFrame,
    name: str,
    key: str,
    opens: Opens,
    *,
    of: Hashable = (),
    begin: tuple[int, str] | None = None,
    facts: Facts | None = None,
    decimals: int = 3,
    tinted: npt.NDArray[np.float64] | None = None,
) -> None:
    """Draw a table with its exports; behind it the records of the cell that was clicked.

    Args:
        workspace: Where the dataset lies.
        compared: What the page has loaded.
        frame: The table.
        name: Of the files it leaves as.
        key: Prefix of the widgets' keys.
        opens: What stands behind a cell.
        of: What the rows depend on beside the chosen runs: when it changes, no cell is open.
        begin: Row and column of the cell that is open at first.
        facts: Fact -> the value of each judged item, where cells are about groups of items.
        decimals: Of the numbers shown.
        tinted: (rows, columns after the first) how strongly a cell is coloured: over 0 to 1 in one colour, down to -1
            in another.
    """
    mark = zlib.crc32(repr(([model.id for model in compared.models], of)).encode())
    cells = f"{key}_cells_{mark:08x}"

    def clicked() -> None:
        if (cell := _open_cell(cells)) is not None:
            st.session_state[f"{key}_kind"] = opens(*cell).kind

    if cells not in st.session_state:
        if begin is not None:
            st.session_state[cells] = {"selection": {"cells": [begin]}}
        st.session_state.pop(f"{key}_kind", None)
    st.caption("Click a cell to read the records behind it.")
    _table(frame, cells, clicked, decimals, tinted)
    ui.export(frame, name, f"{key}_export")
    cell = _open_cell(cells)
    if cell is not None and cell[0] < len(frame):
        title = " · ".join(filter(None, dict.fromkeys((str(frame.iloc[cell[0], 0]), cell[1]))))
        with st.container(border=True):
            st.markdown(f"**{ui.plain(title)}**")
            _read(workspace, compared, opens(*cell), key, facts)


def _table(
    frame: pd.DataFrame,
    key: str,
    clicked: Callable[[], None],
    decimals: int,
    tinted: npt.NDArray[np.float64] | None,
) -> None:
    floats = [column for column in frame.columns if frame[column].dtype.kind == "f"]
    colours = None if tinted is None else np.vectorize(_tint, otypes=[object])(tinted)
    st.dataframe(
        frame if colours is None else frame.style.apply(lambda _: colours, axis=None, subset=frame.columns[1:]),
        hide_index=True,
        key=key,
        on_select=clicked,
        selection_mode="single-cell",
        height=min(38 + 35 * len(frame), 420),
        column_config={column: st.column_config.NumberColumn(column, format=f"%.{decimals}f") for column in floats},
    )


def _tint(strength: float) -> str:
    """Return the style of a cell; the text stays readable in both themes."""
    colour = "11, 106, 117" if strength > 0 else "196, 88, 20"
    return f"background-color: rgba({colour}, {0.5 * min(abs(strength), 1):.3f})" if strength else ""


def _open_cell(key: str) -> tuple[int, str] | None:
    held: Any = st.session_state.get(key)
    cells = held["selection"].get("cells") if held else None
    return (int(cells[0][0]), str(cells[0][1])) if cells else None


def _read(workspace: Workspace, compared: Compared, selection: Selection, key: str, facts: Facts | None) -> None:
    """Draw which of the records behind a cell are read, and the records."""
    names = {**compared.names, compared.majority.id: "the majority rule"}
    held = {model.id: model for model in (*compared.models, compared.majority)}
    if not selection.second:
        selection = replace(selection, second=_beside(selection.first, list(held), names, key))
    flags = comparing_records.by_kind(selection, list(held.values()), facts)
    words = comparing_records.kind_words(selection, names)
    st.session_state.setdefault(f"{key}_kind", selection.kind)
    picked: Kind | None = st.segmented_control(
        "Which records",
        KINDS,
        format_func=lambda one: f"{words[one]} · {int(flags[one].sum()):,}",
        required=True,
        key=f"{key}_kind",
        help="Who was right.",
    )
    kind = picked or selection.kind
    selection = replace(selection, kind=kind)
    st.caption(ui.plain(comparing_records.sentence(selection, names, compared.name_of)))
    models = (held[selection.first], held[selection.second])
    rows = comparing_records.ordered(selection, models, flags[kind])
    order = comparing_records.order_words(selection, names)
    draw_records(workspace, compared, models, rows, key, selection, order)


def _beside(first: str, ids: Sequence[str], names: dict[str, str], key: str) -> str:
    """Draw the choice of the model that is read beside the one of the cell."""
    others = [name for name in ids if name != first]
    if st.session_state.get(f"{key}_beside") not in others:
        st.session_state[f"{key}_beside"] = others[0]
    told = f"{names[first]}, read beside"
    picked: str = st.selectbox(
        told, others, format_func=names.__getitem__, key=f"{key}_beside", help="Whose answers are shown as well."
    )
    return picked


# --- records ---------------------------------------------------------------------------------------------------


def draw_records(
    workspace: Workspace,
    compared: Compared,
    models: Sequence[Answered],
    rows: npt.NDArray[np.int64],
    key: str,
    selection: Selection,
    order: str,
) -> None:
    """Draw judged records, five a page, each with its truth and what the models answered; all of them leave as CSV.

    Args:
        workspace: Where the dataset lies.
        compared: What the page has loaded.
        models: Whose answers are shown.
        rows: Positions among the judged items.
        key: Prefix of the widgets' keys.
        selection: By which labels an answer is right, and whose probabilities are shown.
        order: Which come first, in words.
    """
    if not len(rows):
        st.info("No such record.")
        return
    dataset = datasets.load(workspace, str(models[0].card["dataset"]["id"]))
    names = {model.id: compared.names.get(model.id, model.name) for model in models}

    def leave() -> bytes:
        found = comparing_records.table(dataset, models, rows, selection, names, compared.name_of)
        return ui.csv_bytes(found)

    pages = -(-len(rows) // ON_PAGE)
    page = 1
    if pages > 1:
        page = st.pagination(pages, key=f"{key}_page_{rows[0]}_{len(rows)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{ui.count_of(len(rows), 'record')}; {order}.")
        ui.download("These records as CSV", leave, "records.csv", f"{key}_records", "text/csv")
    shown = rows[(page - 1) * ON_PAGE : page * ON_PAGE]
    held = dataset.rows(models[0].positions[shown])
    rights = {model.id: comparing_records.right(selection, model) for model in models}
    for row, record in zip(shown.tolist(), held, strict=True):
        told = [(f"{'✅' if rights[one.id][row] else '❌'} {names[one.id]}", one) for one in models]
        with st.container(border=True):
            _record(dataset, compared, told, row, record, selection.shown)


def _record(
    dataset: datasets.Dataset,
    compared: Compared,
    models: Sequence[tuple[str, Answered]],
    row: int,
    record: dict[str, Any],
    labels: Sequence[str],
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
        lines = [("true", _chips(compared, models[0][1], models[0][1].truth[row]))]
        lines += [(name, _answer(compared, model, row, labels)) for name, model in models]
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


def _answer(compared: Compared, model: Answered, row: int, labels: Sequence[str]) -> str:
    decided, probabilities = _chips(compared, model, model.decided[row]), model.probabilities[row]
    shown = [model.places[label] for label in labels] or np.argsort(-probabilities, kind="stable")[:3].tolist()
    told = ", ".join(f"{compared.name_of(model.labels[at])} {probabilities[at]:.2f}" for at in shown)
    return f"{decided} <span class='mb-fact'>{'' if labels else 'most probable: '}{ui.escape(told)}</span>"
