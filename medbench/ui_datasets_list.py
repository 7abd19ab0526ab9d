"""The list of datasets: what each holds, what stands against it, and the way to open it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import mimic_jobs, ui
from medbench.datasets import list_datasets
from medbench.tasks import all_tasks
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


def draw(workspace: Workspace) -> None:
    """Draw the list; a click on a dataset opens it."""
    if (job := mimic_jobs.current(workspace)) is not None and job.running:
        watch = {"add": "1", "task": "icd", "from": "mimic"}
        ui.empty(f"At work: {ui.plain(job.sentence)}", "Watch it", "pages/datasets.py", watch)
    cards = list_datasets(workspace)
    if not cards:
        ui.empty(
            "No dataset yet. Drop a PubMed export, a table or PDFs; or begin with the sample.",
            "Add a dataset",
            "pages/datasets.py",
            {"add": "1"},
        )
        return
    if st.button(
        "Add a dataset", key="list_add", type="primary", help="From files of yours, or the sample.", shortcut="Alt+N"
    ):
        st.query_params["add"] = "1"
        st.rerun()
    frame = _table(cards)
    st.caption(f"{ui.count_of(len(cards), 'dataset')}. Click one to open it.")
    picked = st.dataframe(
        frame,
        key="datasets_list",
        hide_index=True,
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
        column_config={
            "rows": st.column_config.NumberColumn(format="localized"),
            "⛔": st.column_config.NumberColumn(help="Serious findings: results would be wrong."),
            "⚠️": st.column_config.NumberColumn(help="Findings to look at."),
        },
    )
    chosen = [*picked.selection.rows, *(row for row, _ in picked.selection.cells)]
    if chosen:
        st.query_params["dataset"] = str(cards[chosen[0]]["id"])
        st.rerun()
    ui.download("Download this list", lambda: ui.csv_bytes(frame), "datasets.csv", "list_download", "text/csv")


def _table(cards: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    titles = {name: task.title.split(":")[0] for name, task in all_tasks().items()}
    tasks = [titles.get(str(card["task"]), str(card["task"])) for card in cards]
    return pd.DataFrame(
        {
            "name": [str(card["name"]) for card in cards],
            **({"task": tasks} if len(set(tasks)) > 1 else {}),
            "rows": [int(card["n_rows"]) for card in cards],
            "labels": [len(card["labels"]) for card in cards],
            "train / validation / test": [splits_told(card) for card in cards],
            "⛔": [_found(card, "stop") for card in cards],
            "⚠️": [_found(card, "warn") for card in cards],
            "created": [ui.when(str(card["created"])) for card in cards],
            "id": [str(card["id"]) for card in cards],
        }
    )


def splits_told(card: dict[str, Any]) -> str:
    """Return the sizes of the splits as "4,400 / 943 / 943"; what unlabelled datasets are for."""
    if not card["labels"]:
        return "to classify, not to train"
    return " / ".join(f"{count:,}" for count in card["splits"].values())


def _found(card: dict[str, Any], severity: str) -> int:
    return sum(finding["severity"] == severity for finding in card["findings"])
