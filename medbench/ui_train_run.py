"""One run while it works, and how it ended: state, curves, what the model sees, mistakes, log, stop, resume, remedy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import runs, ui
from medbench.errors import MedbenchError
from medbench.records import RunSpec
from medbench.runs import Run
from medbench.ui_train import STATES, open_run, run_name
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import altair
    import pandas as pd

_EVERY = 1.0
_POINTS = 400
_LOG_TAIL = 12_000
_COLOURS = ["#0b7a86", "#d98a29"]


@dataclass
class Told:
    """A run's events, read as far as `offset`; only what the page shows is kept.

    Attributes:
        offset: Byte to read on from.
        newest: Kind -> the newest event of that kind.
        losses: (step, loss) of the training.
        scores: One row per evaluation: step, split and its figures.
        stages: (time, sentence) in order.
        began: Unix time of the newest start or resume.
        pace: (time, share done) of the first and the newest progress of the stage at work.
    """

    offset: int = 0
    newest: dict[str, dict[str, Any]] = field(default_factory=dict)
    losses: list[tuple[int, float]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    stages: list[tuple[float, str]] = field(default_factory=list)
    began: float = 0.0
    pace: list[tuple[float, float]] = field(default_factory=list)

    def hear(self, events: list[dict[str, Any]]) -> None:
        """Take in further events."""
        for event in events:
            kind = str(event["kind"])
            self.newest[kind] = event
            if kind in ("created", "resumed"):
                self.began = float(event["t"])
                for ending in ("finished", "failed", "cancelled", "stopping", "progress"):
                    self.newest.pop(ending, None)
            if kind == "stage":
                self.newest.pop("progress", None)  # the steps of the stage before
                self.pace.clear()
            if kind == "progress" and (share := share_of(event)) is not None:
                if self.pace and share < self.pace[-1][1]:
                    self.pace.clear()  # other steps than those before
                self.pace[1:] = [(float(event["t"]), share)]
            if kind == "progress" and event.get("loss") is not None:
                self.losses.append((int(event["step"]), float(event["loss"])))
            elif kind == "metric":
                self.scores.append(event)
            if event.get("sentence") and kind in ("stage", "started", "resumed", "stopping"):
                self.stages.append((float(event["t"]), str(event["sentence"])))

    def left(self, now: float) -> float | None:
        """Return the seconds that the stage at work still takes, as it said or by its pace; None if unknown."""
        step = self.newest.get("progress", {})
        if step.get("eta") is not None:
            return max(float(step["eta"]) - (now - float(step["t"])), 0.0)
        if len(self.pace) < 2 or not self.pace[0][1] < self.pace[1][1] < 1:
            return None
        (first, before), (newest, share) = self.pace
        return max((1 - share) * (newest - first) / (share - before) - (now - newest), 0.0)


def share_of(event: Mapping[str, Any]) -> float | None:
    """Return how far a stage is by one of its progress events, 0-1; None when it does not tell."""
    step, steps = event.get("step"), event.get("steps")
    share = event.get("share", None if step is None or not steps else step / steps)
    return None if share is None else min(float(share), 1.0)


def told_by(workspace: Workspace, run_id: str) -> Told:
    """Return what the run has told so far; each session reads every event once."""
    kept: dict[str, Told] = st.session_state.setdefault("train_told", {})
    told = kept.setdefault(run_id, Told())
    events, told.offset = runs.events(workspace, run_id, told.offset)
    told.hear(events)
    return told


def spec_of(workspace: Workspace, run_id: str) -> RunSpec:
    """Return the spec a run was started with."""
    return runs.read_spec(workspace.run(run_id) / "run.yaml", [])


def draw_run(workspace: Workspace, run_id: str) -> Run:
    """Draw one run; while it lives the view keeps itself fresh. Returns the run as it stands."""
    if st.button("← All runs", key="train_back", help="Back to the list."):
        st.session_state["train_tab"] = "Runs"
        open_run(None)
    run = runs.get(workspace, run_id)
    if run.alive:
        st.fragment(_draw_living, run_every=_EVERY)(workspace, run_id)
    else:
        told = told_by(workspace, run_id)
        _head(workspace, run, told)
        _ending(workspace, run, told)
    return run


def _draw_living(workspace: Workspace, run_id: str) -> None:
    with ui.guarded():
        run = runs.get(workspace, run_id)
        if not run.alive:
            st.rerun()
        told = told_by(workspace, run_id)
        _head(workspace, run, told)
        _progress(run, told)
        _stop_button(workspace, run, told)
        draw_course(told)
        draw_engineering(workspace, run_id, told)


def _head(workspace: Workspace, run: Run, told: Told) -> None:
    icon, word = STATES[run.state]
    st.subheader(ui.plain(run_name(workspace, run.spec)), anchor=False)
    device = told.newest.get("started", {}).get("device", "")
    parts = [f"{icon} **{word}**", f"{run.spec.get('family')}", f"seed {run.spec.get('seed', 0)}"]
    parts += [str(device)] if device else []
    parts += [f"began {ui.when(told.began or run.created)}", f"`{run.id}`"]
    st.markdown(" · ".join(parts))


def _progress(run: Run, told: Told) -> None:
    step = told.newest.get("progress", {})
    done, steps = step.get("step"), step.get("steps")
    now = [words for at, words in told.stages if at >= told.began]  # not what was said before it was resumed
    sentence = str(run.last.get("sentence") or run.last.get("reason") or (now[-1] if now else ""))
    if run.state == "queued":
        sentence = sentence or "Waiting for its worker to start."
    st.progress(share_of(step) or 0.0, text=ui.plain(sentence) or "Starting.")
    facts = {
        "Waiting for" if run.state == "queued" else "Running for": ui.duration(time.time() - told.began)
        if told.began
        else "–"
    }
    if done is not None and steps:
        facts["Step"] = f"{done:,} of {steps:,}"
    if step.get("rate") is not None:
        facts["Rate"] = f"{step['rate']:.1f} items/s"
    if (left := told.left(time.time())) is not None:
        facts["Left in this step"] = "about " + ui.duration(left) if left else "any moment"
    if step.get("loss") is not None:
        facts["Loss"] = f"{step['loss']:.4f}"
    if step.get("memory") is not None:
        facts["Memory"] = ui.size(step["memory"])
    if step.get("gpu_memory"):
        facts["Card memory"] = ui.size(step["gpu_memory"])
    ui.facts(facts)


def _stop_button(workspace: Workspace, run: Run, told: Told) -> None:
    if "stopping" in told.newest:
        st.info("Stopping after the step in hand. What has been learnt is kept where possible.")
        return
    with st.popover("Stop this run", help="Ends it after the step in hand."):
        st.markdown("Stop it? The best model so far is kept, if there is one.")
        if st.button("Yes, stop it", key="train_cancel", type="primary", help="This cannot be undone, only resumed."):
            runs.cancel(workspace, run.id)
            st.rerun()


def draw_course(told: Told) -> None:
    """Draw the curves, the first batch as the model sees it, and the worst current mistakes."""
    drawn = {"loss": _loss_chart(told), "score": _score_chart(told)}
    charts = {name: chart for name, chart in drawn.items() if chart is not None}
    if charts:
        for column, (name, chart) in zip(st.columns(len(charts)), charts.items(), strict=True):
            column.altair_chart(chart, key=f"train_chart_{name}", height=280)
    if rows := told.newest.get("first_batch", {}).get("rows"):
        with st.expander("The first batch as the model sees it", key="train_first_batch"):
            st.caption("Struck through: beyond what the model reads.")
            for row in rows:
                st.html(_batch_row(row))
    if items := told.newest.get("mistakes", {}).get("items"):
        with st.expander("Worst current mistakes on the validation split", key="train_mistakes"):
            for item in items:
                st.html(_mistake(item))


def _batch_row(row: Mapping[str, Any]) -> str:
    read, cut = str(row.get("read", row.get("text", ""))), str(row.get("cut", ""))
    struck = f' <s style="opacity: .55">{ui.escape(cut)}</s>' if cut else ""
    return f"<p>{ui.chips([str(one) for one in row.get('labels', [])])}<br>{ui.escape(read)}{struck}</p>"


def _mistake(item: Mapping[str, Any]) -> str:
    truth = item.get("truth")
    probability = float(item.get("probability", 0.0))
    if isinstance(truth, bool):
        words = f"{'has' if truth else 'does not have'} it, the model says {probability:.2f}"
    else:
        names = truth if isinstance(truth, str) else ", ".join(str(one) for one in truth or [])
        words = f"true: {names or 'none'}; the model says {probability:.2f}"
    return (
        f"<p>{ui.chips([str(item.get('label', ''))])} <span class='mb-fact'>{ui.escape(words)}</span><br>"
        f"{ui.escape(str(item.get('text', '')))}</p>"
    )


def _loss_chart(told: Told) -> altair.Chart | None:
    import pandas as pd

    validation = [(int(row["step"]), float(row["loss"]), "validation") for row in told.scores if row.get("loss")]
    every = max(1, len(told.losses) // _POINTS)
    training = [(step, loss, "training") for step, loss in told.losses[::every]]
    if len(training) + len(validation) < 2:
        return None
    frame = pd.DataFrame([*training, *validation], columns=["step", "loss", "on"])
    return _chart(frame, "loss", "Loss", zero=False)


def _score_chart(told: Told) -> altair.Chart | None:
    import pandas as pd

    names = {"micro_f1": "micro-F1", "macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy"}
    rows = [
        (int(row["step"]), float(row[name]), words)
        for row in told.scores
        for name, words in names.items()
        if row.get(name) is not None
    ]
    if not rows:
        return None
    return _chart(pd.DataFrame(rows, columns=["step", "score", "on"]), "score", "Validation split", zero=True)


def _chart(frame: pd.DataFrame, column: str, title: str, *, zero: bool) -> altair.Chart:
    import altair

    base = altair.Chart(frame, title=title).encode(
        x=altair.X("step:Q", title="step"),
        y=altair.Y(f"{column}:Q", title=None, scale=altair.Scale(zero=zero)),
        color=altair.Color("on:N", title=None, scale=altair.Scale(range=_COLOURS), legend=altair.Legend(orient="top")),
        tooltip=["step:Q", altair.Tooltip(f"{column}:Q", format=".4f"), "on:N"],
    )
    few = len(frame) <= 60
    chart: altair.Chart = base.mark_line(point=few)
    return chart


def draw_engineering(workspace: Workspace, run_id: str, told: Told) -> None:
    """Draw what engineers look for, folded: stages with times, the end of the log, command and YAML."""
    with st.expander("For engineers: stages, log, command", key="train_engineering"):
        for moment, sentence in told.stages[-20:]:
            st.caption(f"{time.strftime('%H:%M:%S', time.localtime(moment))} · {ui.plain(sentence)}")
        log = _tail(workspace.run(run_id) / "log.txt")
        st.code(log or "The log is empty.", language=None, height=240)
        spec = spec_of(workspace, run_id)
        st.code(runs.command_line(spec), language="bash", wrap_lines=True)
        st.code(runs.to_yaml(spec), language="yaml")


def _tail(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_TAIL))
        return file.read().decode("utf-8", "replace")


def _ending(workspace: Workspace, run: Run, told: Told) -> None:
    """Say how the run ended and offer the next step."""
    if run.state == "finished":
        return
    if run.state == "failed":
        _failure(workspace, run)
    elif run.state == "lost":
        st.error("The worker died without a word: the machine was restarted, or ran out of memory. Resume it.")
    elif run.state == "cancelled":
        st.info(ui.plain(str(run.last.get("sentence", "Cancelled."))))
    if st.button(
        "Resume",
        key="train_resume",
        type="secondary" if run.last.get("remedy") else "primary",
        help="Goes on from its newest checkpoint or finished trials; begins again when it left none.",
    ):
        runs.resume(workspace, run.id)
        st.rerun()


def _failure(workspace: Workspace, run: Run) -> None:
    st.error(ui.plain(str(run.last.get("sentence", "The run failed."))))
    if line := run.last.get("line"):
        st.code(str(line), language=None, wrap_lines=True)
    remedy = run.last.get("remedy")
    if not isinstance(remedy, Mapping):
        return
    spec = spec_of(workspace, run.id)
    changed = {**spec.options, **remedy.get("options", {})}
    words = ", ".join(f"{name} {value}" for name, value in remedy.get("options", {}).items())
    if st.button(
        f"Try again with {words}" if words else "Try again",
        key="train_remedy",
        type="primary",
        help=str(remedy.get("sentence", "")),
    ):
        try:
            started = runs.start(workspace, spec.model_copy(update={"options": changed}))
        except MedbenchError as error:
            ui.show_error(error)
        else:
            open_run(started)
