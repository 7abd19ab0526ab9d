"""What the parts of the Train page share: opening a run, and the table of scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from medbench import datasets, ui
from medbench.workspace import Workspace

TITLES = {
    "micro_f1": "Micro-F1",
    "macro_f1": "Macro-F1",
    "balanced_accuracy": "Balanced accuracy",
    "exact_match": "All labels right",
    "h_f1": "Hierarchical F1",
    "ece": "Calibration error",
}
STATES = {
    "queued": ("🕓", "waiting"),
    "running": ("🔵", "running"),
    "finished": ("✅", "finished"),
    "failed": ("❌", "failed"),
    "cancelled": ("⏹️", "cancelled"),
    "lost": ("⚠️", "lost"),
}
_STYLE = """<style>
.mb-table {border-collapse: collapse; width: 100%; font-size: .92rem;}
.mb-table th {text-align: right; font-weight: 500; opacity: .75; padding: .15rem .6rem;}
.mb-table td {text-align: right; padding: .25rem .6rem; border-top: 1px solid rgba(128, 128, 128, .25);
  font-variant-numeric: tabular-nums;}
.mb-table small {opacity: .7; white-space: nowrap; font-weight: 400;}
.mb-table td:first-child, .mb-table th:first-child {text-align: left; padding-left: 0;}
.mb-table tr.mb-ours td {font-weight: 600;}
</style>"""


def open_run(run_id: str | None) -> None:
    """Go to the view of one run, or with None back to all runs. Does not return."""
    if run_id is None:
        st.query_params.pop("run", None)
    else:
        st.query_params["run"] = run_id
    st.rerun()


def run_name(workspace: Workspace, spec: Mapping[str, Any]) -> str:
    """Return what the user reads for a run: its own name, else method and dataset name."""
    if spec.get("name"):
        return str(spec["name"])
    dataset = str(spec.get("dataset", "?"))
    return f"{spec.get('family', 'run')} on {dataset_names(workspace).get(dataset, dataset)}"


def dataset_names(workspace: Workspace) -> dict[str, str]:
    """Return dataset id -> name."""
    return {str(card["id"]): str(card["name"]) for card in datasets.list_datasets(workspace)}


def draw_scores(rows: Mapping[str, Mapping[str, Any]], ours: str = "") -> None:
    """Draw one line of scores per method.

    Args:
        rows: What the user reads of the method -> metric name -> a value in 0-1 or {value, low, high}.
        ours: The row that is set in bold.
    """
    names = [name for name in TITLES if any(name in scores for scores in rows.values())]
    head = "".join(f"<th>{TITLES[name]}</th>" for name in names)
    body = "".join(
        f'<tr class="{"mb-ours" if words == ours else ""}"><td>{ui.escape(words)}</td>'
        + "".join(f"<td>{_cell(scores.get(name))}</td>" for name in names)
        + "</tr>"
        for words, scores in rows.items()
    )
    table = f'<table class="mb-table"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>'
    st.html(f'<div style="overflow-x: auto">{table}</div>{_STYLE}')


def _cell(score: Any) -> str:
    if not isinstance(score, Mapping):
        return ui.score(score)
    low, high = score.get("low"), score.get("high")
    interval = f"<br><small>{low:.3f}–{high:.3f}</small>" if low is not None and high is not None else ""
    return ui.score(score.get("value")) + interval
