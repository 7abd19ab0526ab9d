"""Quality against what it costs, speed measured here and now, and how each run learnt."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import comparing_figures, datasets, energy, events, predicting, ui
from medbench.comparing_judged import Answered
from medbench.comparing_verdict import LOWER_IS_BETTER, title_of
from medbench.errors import MedbenchError
from medbench.records import join_text
from medbench.tasks import get_task
from medbench.ui_compare import GREY, Compared, beside, log_axis, plot
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MEASURED = 64
_FEW = 40  # steps that are drawn as points as well
_AXES = {
    "Seconds to train": ("seconds", ui.number),
    "Energy of training": ("energy", energy.watt_hours),
    "Size on disk": ("size", ui.size),
    "Peak memory of training": ("peak_memory", ui.size),
    "Seconds for one item": ("answer", ui.number),
}


def draw_cost(workspace: Workspace, compared: Compared, metric: str) -> None:
    """Draw quality against cost, the profile of every model, and a button that measures speed."""
    row = beside("cost")
    with row.container():
        _pareto(compared, metric)
    with row.container():
        _radar(compared)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            f"Measure items per second ({MEASURED} judged items each)",
            key="compare_measure",
            help="Loads every chosen model and lets it answer; the machine's other work counts in.",
        ):
            _measure(workspace, compared)
            st.rerun()
    speeds: dict[str, float] = st.session_state.get("compare_speeds", {})
    told = [
        f"{compared.names[model.id]} {ui.number(speeds[model.id])}" for model in compared.models if model.id in speeds
    ]
    if told:
        st.caption(f"Items per second, measured here, one process: {ui.plain(', '.join(told))}.")


def _costs(compared: Compared, what: str) -> dict[str, float]:
    speeds: dict[str, float] = st.session_state.get("compare_speeds", {})
    found = {}
    for model in compared.models:
        cost = model.card.get("cost", {})
        value = energy.joules_of(cost) if what == "energy" else cost.get(what)
        if what == "answer" and model.id in speeds:
            value = 1 / speeds[model.id]
        if value:
            found[model.id] = float(value)
    return found


def _pareto(compared: Compared, metric: str) -> None:
    import plotly.graph_objects as go

    axis: str = st.selectbox("Cost", list(_AXES), key="compare_cost_axis", help="What is weighed against quality.")
    what, words = _AXES[axis]
    costs = _costs(compared, what)
    places = {model.id: at for at, model in enumerate(compared.models) if model.id in costs}
    if not costs:
        st.caption("Not known yet: measure it below." if what == "answer" else "Not known of these runs.")
        return
    quality = {name: float(compared.comparison.point[metric][at]) for name, at in places.items()}
    best = comparing_figures.pareto(quality, costs, metric)
    found = go.Figure()
    for name, at in places.items():
        interval = compared.comparison.interval(at, metric) or (quality[name], quality[name])
        found.add_scatter(
            x=[costs[name]], y=[quality[name]], name=compared.names[name], mode="markers",
            marker={"size": 14, "color": compared.colour(name), "symbol": "circle" if name in best else "circle-open"},
            error_y={"type": "data", "symmetric": False, "array": [interval[1] - quality[name]],
                     "arrayminus": [quality[name] - interval[0]]},
        )  # fmt: skip
    line = sorted(best, key=lambda name: costs[name])
    found.add_scatter(
        x=[costs[name] for name in line], y=[quality[name] for name in line], mode="lines", showlegend=False,
        line={"color": GREY, "dash": "dot"}, hoverinfo="skip",
    )  # fmt: skip
    found.update_layout(title="Quality against cost", xaxis_title=axis, yaxis_title=title_of(metric))
    log_axis(found, costs.values(), words)
    plot(found, "quality-cost", "compare_pareto")
    better = "lower" if metric in LOWER_IS_BETTER else "higher"
    st.caption(f"Filled: no other run is both {better} and cheaper. Bars: 95 % intervals.")


def _radar(compared: Compared) -> None:
    import plotly.graph_objects as go

    task = get_task(str(compared.models[0].card["task"]))
    known = compared.models[0].card["metrics"]
    names = [name for name in task.metrics if name in known and name not in LOWER_IS_BETTER]
    found = go.Figure()
    for model in compared.models:
        values = [float(model.card["metrics"].get(name, {}).get("value", 0)) for name in names]
        found.add_scatterpolar(
            r=[*values, values[0]], theta=[_folded(one) for one in (*names, names[0])], name=compared.names[model.id],
            line={"color": compared.colour(model.id)},
        )  # fmt: skip
    ring = {"gridcolor": GREY, "linecolor": GREY, "tickcolor": GREY}
    around = {"bgcolor": "rgba(0, 0, 0, 0)", "radialaxis": {"range": [0, 1], **ring}, "angularaxis": ring}
    found.update_layout(title="Profile", polar=around)
    plot(found, "profile", "compare_radar", sides=90)
    st.caption("Metrics for which more is better, 0 to 1.")


def _folded(metric: str) -> str:
    """Return a metric's title in lines that fit beside a circle."""
    return "<br>".join(textwrap.wrap(title_of(metric), 12))


def _measure(workspace: Workspace, compared: Compared) -> None:
    """Let every model answer the first judged items: a few to warm up, then all of them timed."""
    speeds: dict[str, float] = dict(st.session_state.get("compare_speeds", {}))
    bar = st.progress(0.0, "Measuring…")
    items = _items(workspace, compared.models[0])
    for at, model in enumerate(compared.models):
        bar.progress(at / len(compared.models), f"Measuring {compared.names[model.id]}…")
        try:
            loaded = predicting.load_for(workspace, model.id, "image" if model.card.get("item") == "image" else "text")
        except MedbenchError as error:
            st.caption(f"{ui.plain(compared.names[model.id])}: {ui.plain(str(error))}")
            continue
        with loaded.lock:
            loaded.model.scores(items[:4])
            began = time.perf_counter()
            loaded.model.scores(items)
            speeds[model.id] = len(items) / (time.perf_counter() - began)
    bar.empty()
    st.session_state["compare_speeds"] = speeds


def _items(workspace: Workspace, model: Answered) -> Sequence[str]:
    dataset = datasets.load(workspace, str(model.card["dataset"]["id"]))
    frame = dataset.frame().iloc[model.positions[:MEASURED]]
    if dataset.item == "image":
        return datasets.picture_items(frame, dataset.folder.absolute() / "images")
    return [join_text(title, text) for title, text in zip(frame["title"], frame["text"], strict=True)]


# --- how each run learnt ---------------------------------------------------------------------------------------


def draw_training(workspace: Workspace, compared: Compared) -> None:
    """Draw loss and validation metrics over the steps of training, all runs in one picture."""
    import plotly.graph_objects as go

    loss, score = go.Figure(), go.Figure()
    for model in compared.models:
        told = _told(workspace, model)
        name, line = compared.names[model.id], {"color": compared.colour(model.id)}
        steps = [one for one in told if one["kind"] == "progress" and one.get("loss") is not None]
        if len(steps) > 1:
            _add(loss, steps, "loss", f"{name}, training", {**line, "width": 1})
        judged = [one for one in told if one["kind"] == "metric" and one.get("split") == "validation"]
        if len(judged) > (len(steps) < 2):  # one epoch judged once is a point beside the line of its steps
            _add(loss, [one for one in judged if one.get("loss") is not None], "loss", name, {**line, "dash": "dash"})
            for metric, dash in (("micro_f1", "solid"), ("macro_f1", "dot"), ("balanced_accuracy", "dash")):
                found = [one for one in judged if one.get(metric) is not None]
                if found:
                    _add(score, found, metric, f"{name}, {title_of(metric)}", {**line, "dash": dash})
    if not loss.data and not score.data:
        st.caption("These runs were fitted at once: they have no curve over time. Networks have one.")
        return
    for figure, title, key in ((loss, "Loss", "loss"), (score, "Validation split", "scores")):
        if figure.data:
            figure.update_layout(title=title, xaxis_title="step")
            plot(figure, key, f"compare_{key}")


def _told(workspace: Workspace, model: Answered) -> list[dict[str, Any]]:
    run = str(model.card.get("run") or model.id)
    return events.read_events(workspace.run(run) / "events.jsonl")[0]


def _add(figure: Figure, rows: Sequence[dict[str, Any]], what: str, name: str, line: dict[str, Any]) -> None:
    if rows:
        kept = rows[:: max(1, len(rows) // 400)]
        steps, values = [one.get("step") for one in kept], [one[what] for one in kept]
        mode = "lines+markers" if len(kept) < _FEW else "lines"
        figure.add_scatter(x=steps, y=values, name=name, line=line, mode=mode)
