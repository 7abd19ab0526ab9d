"""One dataset opened: its facts, its verdict, its pictures, and every row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import datasets, searching, ui, ui_grid, ui_hierarchy, ui_pictures, ui_plots, ui_verdict, ui_vocabulary
from medbench.datasets import Dataset
from medbench.errors import MedbenchError
from medbench.records import SPLITS
from medbench.workspace import Workspace, read_json

if TYPE_CHECKING:
    import pandas as pd

PAGE = 50
SECTIONS = ("Verdict", "Plots", "Rows", "Words", "Tree", "Card")
IMAGE_SECTIONS = ("Verdict", "Plots", "Gallery", "Rows", "Tree", "Card")


def draw(workspace: Workspace, dataset_id: str) -> None:
    """Draw one dataset."""
    with st.container(horizontal=True):
        if st.button("All datasets", key="opened_back", icon="⬅️", help="Back to the list."):
            st.query_params.clear()
            st.rerun()
    dataset = datasets.load(workspace, dataset_id)
    card = dataset.card
    if st.session_state.pop("dataset_saved", None) == dataset.id:
        st.success(f"Saved. Cite it as {dataset.id}.", icon="✅")
    st.header(ui.plain(dataset.name), anchor=False)
    _facts(dataset)
    _actions(workspace, dataset)
    sections = IMAGE_SECTIONS if dataset.item == "image" else SECTIONS
    section = st.segmented_control(
        "Section", sections, default=sections[0], required=True, key="opened_section", label_visibility="collapsed"
    )
    if section == "Verdict":
        ui_verdict.draw_findings(dataset.findings, dataset.rows, dataset.id, dataset.label_names)
    elif section == "Plots" and dataset.item == "text":
        ui_plots.draw_saved(workspace, dataset)
    elif section == "Plots":
        ui_pictures.draw_plots(dataset.frame(), dataset.label_names, dataset.id)
    elif section == "Gallery":
        images = dataset.folder / "images"
        ui_pictures.draw_gallery(dataset.frame(), images, dataset.label_names, dataset.findings, dataset.id)
    elif section == "Rows":
        _rows(dataset)
    elif section == "Words":
        ui_vocabulary.draw(dataset)
    elif section == "Tree":
        ui_hierarchy.draw(workspace, dataset)
    else:
        _card(card)


def _facts(dataset: Dataset) -> None:
    card, profile = dataset.card, dataset.profile
    measure = (
        {"Lesions": ui.number(profile["groups"] or None), "Longer side, pixels": ui.number(profile["side"][1])}
        if dataset.item == "image"
        else {"Words, median": ui.number(profile["words"][50])}
    )
    each = f" · {profile['labels_per_row']:.1f} a row" if dataset.answer == "many" else " · one a row"
    ui.facts(
        {
            "Rows": ui.number(len(dataset)),
            "Labels": f"{len(dataset.labels):,}{each}" if dataset.labels else "none",
            **(
                {"Train / validation / test": " / ".join(map(ui.number, dataset.counts.values()))}
                if dataset.labels
                else {}
            ),
            **measure,
        }
    )
    st.code(dataset.id, language=None)
    split = card["split"]
    how = "the file's own" if split["method"] == "file" else f"stratified, seed {card['seed']}"
    how += ", by picture: lesions are torn apart" if split.get("part_groups") else ""
    told = [
        f"Created {ui.when(str(card['created']))}",
        f"Splits: {how}" if dataset.labels else "No labels: it can be classified, not trained",
        f"From: {', '.join(source['name'] for source in card['sources'][:5])}",
        f"Licence or terms: {card.get('licence') or 'not stated'}",
    ]
    st.caption(ui.plain(" · ".join(told)))


def _actions(workspace: Workspace, dataset: Dataset) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if dataset.labels:
            if st.button("Train a model on it", key="opened_train", type="primary", help="Opens the Train page."):
                st.switch_page("pages/train.py", query_params={"dataset": dataset.id})
        elif st.button(
            "Classify", key="opened_classify", type="primary", help="Opens the Classify page; drop the file there."
        ):
            st.switch_page("pages/classify.py")
        name = dataset.id
        ui.download(
            "CSV", lambda: ui.csv_bytes(_flat(dataset.frame())), f"{name}.csv", "opened_csv", "text/csv", "All rows."
        )
        ui.download(
            "JSON", lambda: _json(dataset), f"{name}.json", "opened_json", "application/json", "Card and all rows."
        )
        with st.popover("Delete", help="Asks before it deletes."):
            st.markdown("The rows and the verdict are removed from this machine. Models that learnt from it stay.")
            if st.button("Delete it for good", key="opened_delete", type="primary"):
                _delete(workspace, dataset)


def _delete(workspace: Workspace, dataset: Dataset) -> None:
    try:
        datasets.delete(workspace, dataset.id)
    except MedbenchError as error:
        ui.show_error(error)
        return
    st.query_params.clear()
    st.toast(f"Deleted {dataset.name}.")
    st.rerun()


# --- rows ------------------------------------------------------------------------------------------------------


def _rows(dataset: Dataset) -> None:
    import pandas as pd

    first, second, third = st.columns([3, 2, 1])
    words = first.text_input(
        "Search", key="rows_search", placeholder="words in title or text", help="Upper and lower case are the same."
    )
    label = second.selectbox(
        "Label",
        dataset.labels,
        index=None,
        placeholder="any",
        format_func=lambda one: dataset.label_names.get(one, one),
        key="rows_label",
        help="Only rows with this label.",
    )
    split = third.selectbox(
        "Split", SPLITS, index=None, placeholder="any", key="rows_split", help="Only rows of this split."
    )
    found = _positions(str(dataset.folder), words.strip(), label, split)
    if not found:
        st.info("No row matches.")
        return
    pages = (len(found) + PAGE - 1) // PAGE
    number = st.pagination(pages, key=f"rows_page_{len(found)}") if pages > 1 else 1
    shown = found[(number - 1) * PAGE : number * PAGE]
    st.caption(
        f"{ui.count_of(len(found), 'row')}; {shown[0] + 1:,} and on. Click one to read it."
        if pages > 1
        else ui.count_of(len(found), "row")
    )
    rows = dataset.rows(shown)
    picked = ui_grid.grid(
        ui_verdict.readable(pd.DataFrame(rows), dataset.label_names),
        "rows_grid",
        selection="one",
        widths=ui_verdict.WIDTHS,
        height=480,
    )
    if picked:
        ui_verdict.draw_row(rows[picked[0]], dataset.label_names)


@st.cache_resource(max_entries=8, show_spinner="Searching.")
def _positions(folder: str, words: str, label: str | None, split: str | None) -> range | list[int]:
    """Return the positions of the rows that match; the folder names the content, so nothing goes stale."""
    place = Path(folder)
    dataset = Dataset(place, read_json(place / "dataset.json"))
    if not (words or label or split):
        return range(len(dataset))
    return searching.find(dataset, words, label=label, split=split)


# --- export ----------------------------------------------------------------------------------------------------


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as a table that `medbench import` reads back."""
    made = ui_verdict.own_names(frame.drop(columns=["labelled", "cluster"]))
    result: pd.DataFrame = made.assign(labels=[";".join(found) for found in frame["labels"]])
    return result


def _json(dataset: Dataset) -> bytes:
    rows = dataset.frame().to_dict("records")
    return json.dumps({"dataset": dataset.card, "records": rows}, ensure_ascii=False, default=str).encode()


def _card(card: dict[str, Any]) -> None:
    st.dataframe(
        [{**source, "bytes": ui.size(source["bytes"])} for source in card["sources"]],
        hide_index=True,
        key="card_sources",
        column_order=["name", "format", "encoding", "bytes", "read", "repaired", "refused", "sha256"],
    )
    ui_verdict.draw_cleaning(card["cleaning"], [])
    st.json(card, expanded=1)
    ui.download(
        "Card as JSON",
        json.dumps(card, ensure_ascii=False, indent=1),
        "dataset.json",
        "opened_card",
        "application/json",
    )
