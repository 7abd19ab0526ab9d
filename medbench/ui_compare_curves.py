"""Curves of the Compare page: ROC and precision-recall, reliability, net benefit, a threshold to move."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from medbench import comparing_areas, comparing_figures, ui
from medbench.comparing_figures import Curve
from medbench.comparing_judged import Answered
from medbench.comparing_records import TRUTH, Kind, Said, Selection
from medbench.comparing_verdict import p_words
from medbench.ui_compare import GREY, Compared, beside, choose_label, plot, signed
from medbench.ui_compare_records import draw_cells
from medbench.workspace import Workspace

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def draw_curves(workspace: Workspace, compared: Compared) -> None:
    """Draw ROC and precision-recall curves of one label for all models, and whether their areas differ."""
    label = choose_label(compared, "compare_curve_label", "The label that is told from all others.")
    if label is None:
        return
    truth = compared.models[0].truth[:, compared.models[0].labels.index(label)]
    prevalence = float(truth.mean())
    row = beside("curves")
    with row.container():
        found = _drawn(compared, lambda model: comparing_figures.roc(model, label), "1 − specificity", "sensitivity")
        found.update_layout(title="ROC")
        _diagonal(found)
        plot(found, "roc", "compare_roc")
    with row.container():
        found = _drawn(
            compared,
            lambda model: comparing_figures.precision_recall(model, label),
            "recall (sensitivity)",
            "precision",
        )
        found.update_layout(title="Precision and recall")
        found.update_xaxes(range=[-0.01, 1.01])
        found.update_yaxes(range=[-0.01, 1.01])
        found.add_hline(y=prevalence, line={"color": GREY, "dash": "dot"})
        plot(found, "precision-recall", "compare_pr")
    st.caption(
        f"{int(truth.sum()):,} of {len(truth):,} items carry it. Dotted: guessing. Hover for the threshold of a point."
    )
    _areas(workspace, compared, label)


def _areas(workspace: Workspace, compared: Compared, label: str) -> None:
    import pandas as pd

    found = comparing_areas.label_areas(compared.models, label)
    if found is None:
        st.caption("Too few items carry this label, or lack it, to compare areas.")
        return
    rows = []
    for name, (area, low, high) in found.areas.items():
        behind = found.behind(name)
        rows.append(
            {
                "run": compared.names[name],
                "AUC": area,
                "95 % interval": f"{low:.3f} to {high:.3f}",
                "behind the best by": ""
                if behind is None
                else f"{signed(behind.value)} ({signed(behind.low)} to {signed(behind.high)})",
                "DeLong, Holm": "" if behind is None else p_words(behind.p_holm),
            }
        )
    order = list(found.areas)

    def opens(row: int, column: str) -> Selection:
        second = order[0] if row and column in ("behind the best by", "DeLong, Holm") else ""
        return Selection(order[row], second, labels=(label,))

    st.caption(
        "Areas under the ROC curve with DeLong's test; items count as independent. p is corrected for all "
        "pairs of runs, since which one is best is seen in the same items."
    )
    draw_cells(workspace, compared, pd.DataFrame(rows), "auc", "compare_auc", opens, of=label)


def draw_probabilities(workspace: Workspace, compared: Compared) -> None:
    """Draw how far probabilities can be trusted, what acting on them is worth, and a threshold to try."""
    _reliability(compared)
    st.markdown("#### What deciding is worth")
    label = choose_label(compared, "compare_benefit_label", "The label that is acted on.")
    if label is None:
        return
    _benefit(compared, label)
    _explorer(workspace, compared, label)


def _reliability(compared: Compared) -> None:
    import plotly.graph_objects as go

    found = go.Figure()
    without = []
    for model in compared.models:
        colour, name = compared.colour(model.id), compared.names[model.id]
        after, raw = map(comparing_figures.enough_pairs, (comparing_figures.reliability(model), model.raw_reliability))
        if len(model.raw_reliability):
            found.add_scatter(
                x=raw[:, 0], y=raw[:, 1], customdata=raw[:, 2], name=f"{name}, before", mode="lines+markers",
                line={"color": colour, "dash": "dot", "width": 1}, hovertemplate=_BIN, legendgroup=name,
                showlegend=False,
            )  # fmt: skip
        else:
            without.append(name)
        found.add_scatter(
            x=after[:, 0], y=after[:, 1], customdata=after[:, 2], name=name, mode="lines+markers",
            line={"color": colour}, hovertemplate=_BIN, legendgroup=name,
        )  # fmt: skip
    _diagonal(found)
    found.update_layout(title="Reliability on the judged items", xaxis_title="claimed probability", yaxis_title="true")
    plot(found, "reliability", "compare_reliability")
    st.caption(
        "On the dotted diagonal a claim of 30 % comes true in 30 %. Thin and dotted: before calibration. "
        f"Claims that fewer than {comparing_figures.FEWEST_PAIRS} pairs of item and label share are left out."
    )
    if without:
        names = ui.plain(", ".join(without))
        st.caption(f"Probabilities before calibration were not kept by {names}, trained with an earlier version.")


_BIN = "claimed %{x:.2f}, true %{y:.2f}<br>%{customdata:,.0f} pairs<extra></extra>"


def _benefit(compared: Compared, label: str) -> None:
    found = _drawn(
        compared, lambda model: comparing_figures.benefit(model, label), "threshold probability", "net benefit"
    )
    everybody = comparing_figures.benefit_of_all(compared.models[0], label)
    top = float(compared.models[0].truth[:, compared.models[0].labels.index(label)].mean())
    found.add_scatter(
        x=everybody.x, y=everybody.y, name="act on all", mode="lines", line={"color": GREY, "dash": "dot"}
    )
    found.add_hline(y=0, line={"color": GREY})
    found.update_layout(title="Net benefit (decision curve)")
    found.update_yaxes(range=[-0.25 * top, 1.1 * top])
    found.update_xaxes(range=[0, 1])
    plot(found, "net-benefit", "compare_benefit")
    st.caption(
        "The threshold says how many false alarms one case found is worth. The highest curve at your threshold serves "
        "best; a curve under 0 or under “act on all” serves worse than no model."
    )


def _explorer(workspace: Workspace, compared: Compared, label: str) -> None:
    import pandas as pd

    share = st.slider(
        "Decide for it from this probability on, %", 1, 99, 50, key="compare_threshold", help="For all runs alike."
    )
    rows = []
    for model in compared.models:
        one = comparing_figures.at_threshold(model, label, share / 100)
        rows.append(
            {
                "run": compared.names[model.id],
                "decided": one.decided,
                "sensitivity": one.sensitivity,
                "specificity": one.specificity,
                "precision": one.precision,
                "F1": one.f1,
                "own threshold": _own_threshold(model, label),
            }
        )

    def opens(row: int, column: str) -> Selection:
        model = compared.models[row]
        behind = {
            "decided": (Said(model.id, label),),
            "sensitivity": (Said(TRUTH, label), Said(model.id, label, False)),
            "specificity": (Said(TRUTH, label, False), Said(model.id, label)),
            "precision": (Said(TRUTH, label, False), Said(model.id, label)),
        }
        kind: Kind = "all" if column in behind else "differ"
        return Selection(model.id, "", kind, (label,), behind.get(column, ()), threshold=share / 100)

    st.caption(
        "Own threshold: what the run tuned without the test items. One chosen here, on the test items, flatters. "
        "Behind sensitivity stand the cases missed, behind specificity and precision the false alarms."
    )
    draw_cells(workspace, compared, pd.DataFrame(rows), "threshold", "compare_threshold_table", opens, of=label)


def _own_threshold(model: Answered, label: str) -> float | None:
    found = [row.get("threshold") for row in model.card.get("per_label", ()) if row["label"] == label]
    return float(found[0]) if found and found[0] is not None else None


def _drawn(compared: Compared, curve: Callable[[Answered], Curve], x: str, y: str) -> Figure:
    import plotly.graph_objects as go

    found = go.Figure()
    for model in compared.models:
        points = curve(model)
        found.add_scatter(
            x=points.x, y=points.y, customdata=points.threshold, name=compared.names[model.id], mode="lines",
            line={"color": compared.colour(model.id)},
            hovertemplate=f"{x} %{{x:.3f}}, {y} %{{y:.3f}}<br>threshold %{{customdata:.3f}}",
        )  # fmt: skip
    found.update_layout(xaxis_title=x, yaxis_title=y)
    return found


def _diagonal(figure: Figure) -> None:
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"color": GREY, "dash": "dot"})
    figure.update_xaxes(range=[-0.01, 1.01])
    figure.update_yaxes(range=[-0.01, 1.01])
