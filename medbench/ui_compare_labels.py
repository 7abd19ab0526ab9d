"""Label by label: the confusion matrix, scores per label and by how often training saw it, and groups of items."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from medbench import comparing_errors, comparing_figures, metrics, ui
from medbench.comparing_judged import Answered
from medbench.comparing_verdict import title_of
from medbench.lesion_figures import UNKNOWN
from medbench.lesion_photo import TONES
from medbench.ui_compare import SEED, Compared, cell_table, choose_label, choose_model, plot, table
from medbench.ui_compare_records import draw_records
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

MATRIX_LABELS = 30
_FEWEST = 5


def draw_labels(compared: Compared) -> None:
    """Draw F1 of every label and of every frequency, for all models."""
    import pandas as pd

    learnt = comparing_figures.learnt_counts(compared.models[0], compared.items)
    names = {f"f1 {model.id}": f"F1 {compared.names[model.id]}" for model in compared.models}
    st.markdown("#### By how often training saw the label")
    bands = pd.DataFrame(comparing_figures.by_frequency(compared.models, learnt))
    table(
        bands.rename(columns={"band": "training items", "n": "judged items", **names}), "frequency", "compare_frequency"
    )
    st.markdown("#### Each label")
    frame = pd.DataFrame(comparing_figures.label_table(compared.models, learnt))
    frame["label"] = [compared.name_of(label) for label in frame["label"]]
    shown = frame.rename(columns={"n": "judged items", "learnt": "training items", **names})
    widths = {name: min(70 + 9 * len(name), 280) for name in names.values()}
    ui.grid(
        shown,
        "compare_labels_grid",
        decimals=dict.fromkeys(names.values(), 3),
        widths={"label": 300, **dict.fromkeys(["judged items", "training items"], 150), **widths},
        page_size=25,
    )
    ui.export(shown, "labels", "compare_labels_export")
    _bars(compared, frame.head(MATRIX_LABELS))


def _bars(compared: Compared, frame: pd.DataFrame) -> None:
    import plotly.graph_objects as go

    found = go.Figure()
    for model in compared.models:
        found.add_bar(
            y=frame["label"], x=frame[f"f1 {model.id}"], name=compared.names[model.id], orientation="h",
            marker={"color": compared.colour(model.id)},
        )  # fmt: skip
    found.update_yaxes(autorange="reversed")
    title = "F1 of each label" if len(frame) < MATRIX_LABELS else f"F1 of the {len(frame)} most frequent labels"
    found.update_layout(title=title, xaxis_title="F1", xaxis_range=[0, 1])
    plot(found, "labels", "compare_label_bars", height=160 + 14 * len(frame) * max(len(compared.models), 2))


def draw_confusion(workspace: Workspace, compared: Compared) -> None:
    """Draw what one model took for what; a click on a number opens the records."""
    model = choose_model(compared, "Model", "compare_confusion_model")
    if model.answer == "many":
        _one_label(workspace, compared, model)
    else:
        _matrix(workspace, compared, model)


def _matrix(workspace: Workspace, compared: Compared, model: Answered) -> None:
    import pandas as pd

    counts = metrics.confusion(model.truth, model.decided)
    order = np.argsort(-model.truth.sum(axis=0), kind="stable")[:MATRIX_LABELS]
    labels = [model.labels[at] for at in order]
    shown = [compared.short(label) for label in labels]
    frame = pd.DataFrame(counts[np.ix_(order, order)], columns=shown)
    frame.insert(0, "true ↓ decided →", [compared.name_of(label) for label in labels])
    if len(model.labels) > MATRIX_LABELS:
        st.caption(f"The {MATRIX_LABELS} most frequent of {len(model.labels):,} labels.")
    st.caption("Rows: the true label. Columns: what was decided. Click a number to read its records.")

    def chosen(row: int, column: str) -> None:
        st.session_state["compare_confusion_true"] = labels[row]
        if column in shown:
            st.session_state["compare_confusion_said"] = labels[shown.index(column)]

    cell_table(frame, "compare_confusion_table", chosen)
    ui.export(frame, "confusions", "compare_confusion_export")
    _begin_at(model, counts, labels)
    left, right = st.columns(2)
    with left:
        true = choose_label(compared, "compare_confusion_true", "The label that is true.", labels, "True label")
    with right:
        said = choose_label(compared, "compare_confusion_said", "What the model said.", labels, "Decided label")
    if true and said:
        rows = comparing_errors.confused(model, true, said)
        draw_records(workspace, compared, [model], rows, "compare_confusion", said, "the surest first")


def _begin_at(model: Answered, counts: npt.NDArray[np.int64], labels: list[str]) -> None:
    """Open the commonest confusion of a model when its matrix is first shown."""
    if st.session_state.get("compare_confusion_of") == model.id:
        return
    wrong = counts - np.diag(np.diag(counts))
    true, said = np.unravel_index(int(wrong.argmax()), wrong.shape)
    st.session_state["compare_confusion_of"] = model.id
    if wrong.any() and {model.labels[true], model.labels[said]} <= set(labels):
        st.session_state["compare_confusion_true"] = model.labels[true]
        st.session_state["compare_confusion_said"] = model.labels[said]


def _one_label(workspace: Workspace, compared: Compared, model: Answered) -> None:
    """With many labels per item every label has its own 2 × 2 table; the table lists them all."""
    import pandas as pd

    rows = []
    for at, label in enumerate(model.labels):
        true, said = model.truth[:, at], model.decided[:, at]
        if true.any() or said.any():
            found, extra, missed = (int(part.sum()) for part in (true & said, ~true & said, true & ~said))
            rows.append((label, found, extra, missed, len(true) - found - extra - missed))
    rows.sort(key=lambda row: -(row[2] + row[3]))
    kinds = ("found", "wrongly given", "missed", "rightly left out")
    frame = pd.DataFrame(rows, columns=["label", *kinds])
    labels = list(frame["label"])
    frame["label"] = [compared.name_of(label) for label in labels]
    st.caption("Each label against the rest, most errors first. Click a number to read its records.")

    def chosen(row: int, column: str) -> None:
        st.session_state["compare_confusion_label"] = labels[row]
        if column in kinds:
            st.session_state["compare_confusion_kind"] = column

    cell_table(frame, "compare_confusion_table", chosen)
    ui.export(frame, "confusions", "compare_confusion_export")
    left, right = st.columns(2)
    label = left.selectbox(
        "Label", labels, format_func=compared.name_of, key="compare_confusion_label", help="Most errors first."
    )
    kind = right.selectbox("Which records", kinds, index=1, key="compare_confusion_kind", help="Of this label.")
    if label is None:
        return
    column = model.labels.index(label)
    true, said = model.truth[:, column], model.decided[:, column]
    wanted = {
        "found": true & said, "wrongly given": ~true & said, "missed": true & ~said, "rightly left out": ~true & ~said
    }[kind]  # fmt: skip
    found_rows = np.flatnonzero(wanted)
    prob = model.probabilities[found_rows, column]
    order = np.argsort(prob if kind == "missed" else -prob, kind="stable")
    first = "the least probable first" if kind == "missed" else "the most probable first"
    draw_records(workspace, compared, [model], found_rows[order], "compare_confusion", label, first)


def _in_order(value: str) -> tuple[bool, int, str]:
    """Return what bands sort by: "under 100 words" before "100 to 199 words", "unknown" last."""
    number = re.search(r"\d+", value.replace(",", ""))
    below = value.startswith("under")
    return value == UNKNOWN, int(number.group()) - below if number else _tone(value), value


def _tone(value: str) -> int:
    names = [name for _, name in TONES]
    return names.index(value) if value in names else len(names)


def draw_groups(workspace: Workspace, compared: Compared, metric: str) -> None:
    """Draw one metric for every group of the judged items (length, year, age, sex, site, skin tone), with n."""
    import pandas as pd

    facts = comparing_errors.item_facts(workspace, compared.models[0])
    if not facts:
        st.caption("Nothing is known of these items that would part them into groups.")
        return
    rng = np.random.default_rng(SEED)
    rows = []
    for fact, values in facts.items():
        held = np.asarray(values)
        for value in sorted(set(values), key=_in_order):
            mine = np.flatnonzero(held == value)
            row: dict[str, object] = {"group": f"{fact}: {value}", "n": len(mine)}
            for model in compared.models:
                if len(mine) < _FEWEST:
                    row[compared.names[model.id]] = "too few"
                    continue
                found = comparing_figures.subgroup_metric(model, mine, compared.items, metric, rng)
                shown = {"value": found.value, "low": found.low, "high": found.high}
                row[compared.names[model.id]] = ui.with_interval(shown)
            rows.append(row)
    table(pd.DataFrame(rows), "groups", "compare_groups")
    st.caption(
        f"{title_of(metric)} with 95 % intervals. Wide intervals mean few items; differences inside them say nothing."
    )
