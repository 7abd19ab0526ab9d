"""Cross-validation on the Train page: the choice on the form, and what the folds came to on the result page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import fold_figures, ui
from medbench.families import Family
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

ONE, MANY = "One split", "Cross-validation"
CHOICE, COUNT = "train_measured", "train_folds"
_USUAL = 5


def draw_choice(family: Family[Any]) -> dict[str, Any]:
    """Draw how the run is measured; return the spec's "folds", or nothing for one split."""
    if family.combines:
        return {}  # its members have learnt from the rows of every fold
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    chosen = left.radio(
        "Measured by",
        [ONE, MANY],
        key=CHOICE,
        horizontal=True,
        help="One split: learn from train and validation, be judged once on test. Cross-validation: before that, the "
        "train and validation rows are dealt into folds, and each fold is answered by a fit on the others. It shows "
        "how far the figures depend on the rows. Patients, lesions and duplicates stay together; the test split takes "
        "no part.",
        persist_state="session",
    )
    if chosen != MANY:
        return {}
    start: dict[str, Any] = {} if COUNT in st.session_state else {"value": _USUAL}
    folds = right.number_input(
        "Folds",
        min_value=2,
        max_value=10,
        step=1,
        key=COUNT,
        **start,
        help="How many folds, a count. The run takes about so many times as long as with one split.",
        persist_state="session",
    )
    return {"folds": folds}


def fill(folds: int | None) -> None:
    """Put a spec's folds into the form's widgets."""
    st.session_state[CHOICE] = ONE if folds is None else MANY
    if folds is not None:
        st.session_state[COUNT] = folds


def draw_found(workspace: Workspace, card: dict[str, Any]) -> None:
    """Draw what the folds came to, beside the majority rule, with its exports; nothing for a run with one split."""
    if "folds" not in card:
        return
    frame = fold_figures.frame(card)
    st.markdown("**Cross-validation**")
    st.markdown(ui.plain(fold_figures.sentence(card)))
    st.dataframe(frame, hide_index=True, key="train_folds_table", height=38 + 35 * len(frame))
    st.caption(fold_figures.CAUTION)
    with st.container(horizontal=True):
        ui.export(frame, "folds", "train_folds_export")
        if (workspace.model(str(card["id"])) / fold_figures.FILE).exists():
            ui.download(
                "Answers of every fold",
                lambda: ui.csv_bytes(_answers(workspace, card)),
                "folds-answers.csv",
                "train_folds_answers",
                "text/csv",
                help="One line per row and label, from 1 % on: fold, calibrated probability, decision, truth.",
            )


def _answers(workspace: Workspace, card: dict[str, Any]) -> pd.DataFrame:
    return fold_figures.answers(workspace.model(str(card["id"])), card["labels"])
