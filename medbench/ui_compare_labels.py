"""Label by label: the confusion matrix, scores per label and by how often training saw it, and groups of items."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from medbench import comparing_errors, comparing_figures, metrics, ui
from medbench.comparing_judged import Answered
from medbench.comparing_records import TRUTH, Said, Selection
from medbench.comparing_verdict import title_of
from medbench.lesion_figures import UNKNOWN
from medbench.lesion_photo import TONES
from medbench.ui_compare import SEED, Compared, choose_model, plot
from medbench.ui_compare_records import Opens, draw_cells
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

MATRIX_LABELS = 30
_FEWEST = 5


def draw_labels(workspace: Workspace, compared: Compared) -> None:
    """Draw F1 of every label and of every frequency, for all models; a click opens the records."""
    import pandas as pd

    learnt = comparing_figures.learnt_counts(compared.models[0], compared.items)
    names = {f"f1 {model.id}": f"F1 {compared.names[model.id]}" for model in compared.models}
    shown = {"label": "label", "n": "judged items", "learnt": "training items", **names}
    st.markdown("#### By how often training saw the label")
    bands = pd.DataFrame(comparing_figures.by_frequency(compared.models, learnt))
    told = [comparing_figures.band_of(count) for count in learnt]
    inside = [
        tuple(label for label, one in zip(compared.models[0].labels, told, strict=True) if one == band)
        for band in bands["band"]
    ]
    frame = bands.rename(columns={"band": "training items", "n": "judged items", **names})
    draw_cells(workspace, compared, frame, "frequency", "compare_frequency", _by_labels(compared, inside))
    st.markdown("#### Each label")
    table = pd.DataFrame(comparing_figures.label_table(compared.models, learnt))
    each = [(str(label),) for label in table["label"]]
    table["label"] = [compared.name_of(label) for label in table["label"]]
    draw_cells(workspace, compared, table.rename(columns=shown), "labels", "compare_labels", _by_labels(compared, each))
    _bars(compared, table.head(MATRIX_LABELS))


def _by_labels(compared: Compared, labels: Sequence[tuple[str, ...]]) -> Opens:
    """Return what stands behind a table with the F1 of labels: items on which two models differ in them."""
    columns = {f"F1 {compared.names[model.id]}": model.id for model in compared.models}

    def opens(row: int, column: str) -> Selection:
        first = columns.get(column, compared.models[0].id)
        if column != "judged items":
            return Selection(first, "", labels=labels[row])
        said = (Said(TRUTH, labels[row][0]),) if len(labels[row]) == 1 else ()
        return Selection(first, "", "all", labels=labels[row], said=said)

    return opens


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
    st.caption(
        "Rows: the true label. Columns: what was decided. The deeper the colour, the larger the share of its row: "
        "green where right, orange where wrong."
    )
    shares = counts[np.ix_(order, order)] / np.maximum(model.truth.sum(axis=0)[order], 1)[:, None]
    tinted = np.where(np.eye(len(order), dtype=bool), shares, -shares)
    columns = dict(zip(shown, labels, strict=True))

    def opens(row: int, column: str) -> Selection:
        said = (Said(TRUTH, labels[row]), *([Said(model.id, columns[column])] if column in columns else []))
        return Selection(model.id, "", "all", said=said)

    wrong = frame[shown].to_numpy() * ~np.eye(len(order), dtype=bool)
    worst, taken = np.unravel_index(int(wrong.argmax()), wrong.shape)  # at first the commonest confusion
    begin = (int(worst), shown[taken]) if wrong.any() else None
    of = ("matrix", model.id)
    draw_cells(workspace, compared, frame, "confusions", "compare_confusion", opens, of=of, begin=begin, tinted=tinted)


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
    st.caption("Each label against the rest, most errors first.")

    def opens(row: int, column: str) -> Selection:
        label = labels[row]
        if column not in kinds:
            return Selection(model.id, "", labels=(label,))
        true, given = column in ("found", "missed"), column in ("found", "wrongly given")
        said = (Said(TRUTH, label, true), Said(model.id, label, given))
        return Selection(model.id, "", "all", labels=(label,), said=said)

    begin = (0, kinds[1]) if labels else None
    draw_cells(
        workspace, compared, frame, "confusions", "compare_confusion", opens, of=("labels", model.id), begin=begin
    )


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
    rows, groups = [], []
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
            groups.append((fact, value))
    columns = {compared.names[model.id]: model.id for model in compared.models}

    def opens(row: int, column: str) -> Selection:
        first = columns.get(column, compared.models[0].id)
        return Selection(first, "", "all" if column == "n" else "differ", group=groups[row])

    st.caption(
        f"{title_of(metric)} with 95 % intervals. Wide intervals mean few items; differences inside them say nothing."
    )
    draw_cells(workspace, compared, pd.DataFrame(rows), "groups", "compare_groups", opens, facts=facts)
