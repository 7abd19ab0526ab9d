"""The tree of a dataset's labels on the Datasets page: shown, set from a file or typed lines, taken away."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from medbench import hierarchy_reading, label_trees, ui
from medbench.datasets import Dataset
from medbench.errors import MedbenchError
from medbench.hierarchy import Hierarchy
from medbench.workspace import Workspace

_SHOWN = 400
_EXAMPLE = "Infections\n  influenza\n  pneumonia\nBrain\n  stroke"


def draw(workspace: Workspace, dataset: Dataset) -> None:
    """Draw the tree, or how to set one."""
    if not dataset.labels:
        st.info("These rows have no labels, so there is nothing to put into a tree.")
        return
    st.caption(
        "A tree puts labels under groups, or under wider labels. Runs started afterwards answer for the groups too, "
        "and every comparison shows hierarchical precision, recall and F1: a near miss inside a group counts half."
    )
    tree = dataset.hierarchy
    if tree is not None:
        _shown(workspace, dataset, tree)
    with st.expander("Set another tree" if tree else "Set a tree", expanded=tree is None, key="tree_set"):
        _set(workspace, dataset)


def draw_groups(card: dict[str, Any]) -> None:
    """Draw the figures of the groups of a model's tree; nothing for a model without one."""
    told = card.get("hierarchy")
    if not told or not told["per_group"]:
        return
    import pandas as pd

    st.markdown("**Each group of the label tree**")
    rows = [
        {
            "group": row["name"],
            "labels": row["labels"],
            "items": row["n"],
            "precision": row["precision"],
            "recall": row["recall"],
            "F1": row["f1"],
            "AUC": row["auc"],
        }
        for row in told["per_group"]
    ]
    numbers = {
        name: st.column_config.NumberColumn(name, format="%.3f") for name in ("precision", "recall", "F1", "AUC")
    }
    frame = pd.DataFrame(rows)
    st.dataframe(
        frame, hide_index=True, key="train_groups", height=min(38 + 35 * len(rows), 420), column_config=numbers
    )
    st.caption(
        f"A group is decided when one of its labels is. Calibration error of its probability: {told['ece']:.3f}."
    )
    ui.export(frame, "groups", "train_groups")


def _shown(workspace: Workspace, dataset: Dataset, tree: Hierarchy) -> None:
    if st.session_state.pop("tree_kept", None) == dataset.id:
        st.success("Kept. Runs you start from now on use it.", icon="✅")
    facts = tree.facts()
    told = {"Groups": ui.number(facts["groups"]), "Levels": ui.number(facts["levels"]), "From": tree.source or "–"}
    ui.facts(told)
    for sentence in tree.notes:
        st.caption(f"ℹ️ {ui.plain(sentence)}")
    lines = tree.outline(dataset.label_names)
    labels = set(dataset.labels)
    items = [_line(depth, node, name, node in labels) for depth, node, name in lines[:_SHOWN]]
    st.html(f"<div style='max-height: 26rem; overflow-y: auto'>{''.join(items)}</div>")
    if len(lines) > _SHOWN:
        st.caption(f"The first {_SHOWN:,} of {len(lines):,} lines; the file has them all.")
    with st.container(horizontal=True):
        ui.download("This tree as CSV", tree.as_csv, f"{dataset.id}-tree.csv", "tree_csv", "text/csv", "child,parent")
        if st.button("Take it away", key="tree_remove", help="Models that were trained with it keep it."):
            label_trees.take_away(workspace, dataset.id)
            st.rerun()


def _line(depth: int, node: str, name: str, is_label: bool) -> str:
    words = ui.escape(name if name == node or not is_label else f"{node} {name}")
    shown = words if is_label else f"<b>{words}</b>"
    return f"<div style='padding-left: {depth * 1.4}rem'>{shown}</div>"


def _set(workspace: Workspace, dataset: Dataset) -> None:
    if label_trees.has_ready(dataset):
        what = {"icd": "chapters, blocks and categories of the code tables", "lesion": "malignant and benign"}
        st.markdown(f"This job brings a tree of its own: {what.get(dataset.task, 'a ready-made one')}.")
        if st.button("Use it", key="tree_ready", type="primary", help="Made from the labels of this dataset."):
            _keep(workspace, dataset, lambda: label_trees.ready(dataset))
        st.divider()
    leave_out = st.checkbox(
        "Leave out names that are no labels here",
        key="tree_leave_out",
        help="For a tree larger than this dataset. Off: such a name is refused, since it may be a misspelling.",
    )
    dropped = st.file_uploader(
        "A file with the tree",
        type=list(hierarchy_reading.ENDINGS),
        key="tree_file",
        help="CSV or TSV with the columns child and parent; JSON or YAML; or labels indented under their group.",
    )
    typed = st.text_area(
        "Or type it",
        key="tree_text",
        height=160,
        placeholder=_EXAMPLE,
        help="One name a line; labels are indented under their group. Codes or names, in any case.",
    )
    if st.button("Keep this tree", key="tree_keep", help="Checks it against the labels first."):
        if dropped is not None:
            _keep(workspace, dataset, lambda: _from_upload(dataset, dropped.name, dropped.getvalue(), leave_out))
        else:
            _keep(workspace, dataset, lambda: label_trees.from_text(dataset, typed, leave_out=leave_out))


def _from_upload(dataset: Dataset, name: str, content: bytes, leave_out: bool) -> Hierarchy:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree"
        path.write_bytes(content)
        return label_trees.from_file(dataset, path, name, leave_out=leave_out)


def _keep(workspace: Workspace, dataset: Dataset, make: Callable[[], Hierarchy]) -> None:
    try:
        tree = make()
    except MedbenchError as error:
        ui.show_error(error)
        return
    label_trees.keep(workspace, dataset.id, tree)
    st.session_state["tree_kept"] = dataset.id
    st.rerun()
