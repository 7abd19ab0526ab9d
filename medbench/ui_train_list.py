"""The queue of living runs and the table of the others."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import runs, ui, ui_grid
from medbench.runs import Run
from medbench.ui_train import STATES, dataset_names, open_run, run_name
from medbench.workspace import Workspace, read_json

if TYPE_CHECKING:
    import pandas as pd

_EVERY = 2.0


def draw_runs(workspace: Workspace) -> None:
    """Draw what works and waits (kept fresh while something does), then every run that has ended."""
    found = runs.list_runs(workspace)
    if not found:
        ui.empty("There is no run yet. Plan one under **New run**.")
        return
    living = [run for run in found if run.alive]
    if living:
        st.fragment(_draw_living, run_every=_EVERY)(workspace, [run.id for run in living])
    ended = [run for run in found if not run.alive]
    if ended:
        _draw_ended(workspace, ended)


def _draw_living(workspace: Workspace, shown: list[str]) -> None:
    with ui.guarded():
        living = {run.id: run for run in runs.list_runs(workspace) if run.alive}
        if sorted(living) != sorted(shown):
            st.rerun()
        waiting = [run_id for run_id in runs.queue(workspace) if run_id in living]
        st.markdown("**At work and waiting**")
        for run in living.values():
            if run.id not in waiting:
                _living_line(workspace, run, "")
        for position, run_id in enumerate(waiting, start=1):
            _living_line(workspace, living[run_id], str(position))


def _living_line(workspace: Workspace, run: Run, position: str) -> None:
    with st.container(border=True, key=f"train_living_{run.id}"):
        name, said, up, opening = st.columns([5, 5, 2, 1.3], vertical_alignment="center")
        word = f"{position} in the queue" if position else "running"
        name.markdown(f"{STATES[run.state][0]} **{ui.plain(run_name(workspace, run.spec))}** · {word}")
        said.caption(ui.plain(str(run.last.get("sentence") or run.last.get("reason") or "")))
        if position not in ("", "1") and up.button("Move up", key=f"train_up_{run.id}", help="Start this one next."):
            runs.move_up(workspace, run.id)
            st.rerun()
        if opening.button("Open", key=f"train_open_{run.id}", help="Watch it, or stop it."):
            open_run(run.id)


def _draw_ended(workspace: Workspace, ended: list[Run]) -> None:
    st.markdown("**Runs that ended**")
    frame = _frame(workspace, ended)
    picked = ui_grid.grid(
        frame,
        "train_runs_grid",
        selection="one",
        hide=("id", "method", "took"),
        decimals={"micro-F1": 3, "macro-F1": 3},
        widths={"state": 115, "micro-F1": 100, "macro-F1": 100, "began": 160},
        page_size=20,
    )
    st.caption("Click a run to open it.")
    ui.download("All runs as CSV", lambda: ui.csv_bytes(frame), "runs.csv", "train_runs_csv", "text/csv")
    if picked:
        open_run(str(frame["id"].iloc[picked[0]]))


def _frame(workspace: Workspace, ended: list[Run]) -> pd.DataFrame:
    import pandas as pd

    names = dataset_names(workspace)
    rows = []
    for run in ended:
        figures = _figures(workspace, run)
        dataset = str(run.spec.get("dataset", ""))
        icon, word = STATES[run.state]
        rows.append(
            {
                "state": f"{icon} {word}",
                "name": run_name(workspace, run.spec),
                "method": run.spec.get("family", ""),
                "dataset": names.get(dataset, dataset),
                "micro-F1": figures.get("micro_f1"),
                "macro-F1": figures.get("macro_f1"),
                "took": ui.duration(run.last["t"] - run.created) if run.state != "lost" else "",
                "began": time.strftime("%Y-%m-%d %H:%M", time.localtime(run.created)),
                "id": run.id,
            }
        )
    return pd.DataFrame(rows)


def _figures(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Return the headline figures: from the last event, else from the model's card."""
    told = run.last.get("metrics")
    if isinstance(told, dict):
        return told
    card = workspace.models / str(run.model) / "model.json"
    return _card_figures(card, card.stat().st_mtime_ns) if run.model and card.exists() else {}


@st.cache_data(max_entries=2000, show_spinner=False)
def _card_figures(path: Path, changed: int) -> dict[str, Any]:
    return {name: entry["value"] for name, entry in read_json(path).get("metrics", {}).items()}
