"""What a run left: its figures beside the trivial answers, calibration, each label, the card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import (
    energy,
    trust_figures,
    ui,
    ui_accepted,
    ui_class_words,
    ui_code_figures,
    ui_deploy,
    ui_grid,
    ui_hierarchy,
    ui_lesion_judged,
    ui_train_folds,
    ui_train_search,
)
from medbench.comparing_verdict import TITLES, title_of
from medbench.ui_train import draw_scores
from medbench.workspace import Workspace, read_json

if TYPE_CHECKING:
    import pandas as pd

_MANY = 60  # labels; more are paged
_PAGE = 25
_NUMBERS = ("items", "precision", "recall", "F1", "AUC", "threshold")
_BASELINES = {
    "majority": "Always the most frequent label",
    "keywords": "Keywords learnt from the rows",
    "before tuning": "The base before tuning",
}


def draw_result(workspace: Workspace, model_id: str) -> None:
    """Draw the model a run left."""
    path = workspace.model(model_id) / "model.json"
    if not path.exists():
        st.info("The model of this run has been deleted.")
        return
    card = read_json(path)
    st.caption(f"Measured on {ui.plain(str(card['judged_on']))}. Small print: 95 % intervals.")
    rows = {"This run": card["metrics"]}
    rows |= {_BASELINES.get(name, name): figures for name, figures in card.get("baselines", {}).items()}
    draw_scores(rows, ours="This run")
    calibration, cost = card["calibration"], card["cost"]
    ui.facts(
        {
            "Calibration error before": ui.score(calibration["ece_before"]),
            "after fitting": ui.score(calibration["ece_after"]),
            "Took": ui.duration(cost["seconds"]),
            "Peak memory": ui.size(cost["peak_memory"]),
            "Size": ui.size(cost["size"]),
        }
    )
    if used := energy.words(cost):
        st.caption(f"⚡ Energy: {ui.plain(used)}.")
    how = ui.plain(trust_figures.how_calibrated(calibration))
    st.caption(f"Calibrated by {how}. It was fitted, and these two errors measured, without the test split.")
    if told := trust_figures.sentences(card.get("promises", {}), card["answer"]):
        with st.expander("How far its answers can be relied on", key="train_promises"):
            st.markdown("\n".join(f"- {ui.plain(sentence)}" for sentence in told))
    ui_accepted.draw_folded(workspace, model_id, "train")
    for note in card.get("notes", []):
        st.caption(f"ℹ️ {ui.plain(note)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Classify with it", key="train_classify", type="primary", help="Open the page where it answers."):
            st.switch_page(ui.page_of(str(card["task"])), query_params={"model": model_id})
        _downloads(workspace, card)
        ui.export(figures_frame(rows), "figures", "train_figures")
    use = st.expander("👑 Put it to use", key="train_deploy", on_change="rerun")
    if use.open:
        with use, ui.guarded():
            ui_deploy.draw_in_use(workspace, {model_id: card}, "train_deploy_in")
    if "codes" in card:
        ui_code_figures.draw(card)
    ui_train_folds.draw_found(workspace, card)
    ui_train_search.draw_found(card)
    _per_label(card)
    ui_hierarchy.draw_groups(card)
    if card.get("item") == "image":
        ui_lesion_judged.draw_judged(workspace, card)
    else:
        ui_class_words.draw(workspace, card)


def figures_frame(rows: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return every figure of the run and of the trivial answers with its 95 % interval, one answer a row."""
    import pandas as pd

    names = [name for name in TITLES if any(name in figures for figures in rows.values())]
    return pd.DataFrame(
        {"": words, **{title_of(name): ui.with_interval(figures.get(name)) for name in names}}
        for words, figures in rows.items()
    )


def _downloads(workspace: Workspace, card: dict[str, Any]) -> None:
    import json

    from medbench import bundles, reports, run_report

    name = str(card["id"])
    ui.download(
        "Report (PDF)",
        lambda: run_report.as_pdf(workspace, name),
        f"{name}.pdf",
        "train_report_pdf",
        "application/pdf",
        help="Figures, labels, calibration, limits, and drafts of the reporting checklists.",
    )
    ui.download(
        "Everything (zip)",
        lambda: bundles.zipped(bundles.everything(workspace, name)),
        f"{name}.zip",
        "train_everything",
        "application/zip",
        help="Model card, report as HTML and PDF, checklists with their gaps, and what is needed to repeat the run.",
    )
    ui.download(
        "Model card", lambda: reports.model_card_markdown(card).encode(), f"{name}.md", "train_card_md", "text/markdown"
    )
    whole = json.dumps(card, ensure_ascii=False, indent=1)
    ui.download("Model card as JSON", whole, f"{name}.json", "train_card_json", "application/json")


def _per_label(card: dict[str, Any]) -> None:
    frame = label_frame(card)
    st.markdown("**Each label**")
    if len(frame) <= _MANY:
        _short_table(frame)
    else:
        ui_grid.grid(
            frame,
            f"train_per_label_{card['id']}",
            page_size=_PAGE,
            widths={"code": 130, **dict.fromkeys(_NUMBERS, 110)},
            decimals=dict.fromkeys(_NUMBERS[1:], 3),
        )
        st.caption("Click a heading to sort; its menu filters. The download has all rows.")
    ui.export(frame, "labels", "train_labels")


def label_frame(card: dict[str, Any]) -> pd.DataFrame:
    """Return the figures of every label of a card, one a row, the most frequent first; codes have their own column."""
    import pandas as pd

    names = card.get("label_names", {})
    coded = "codes" in card
    rows = []
    for row in card["per_label"]:
        name = names.get(row["label"], row["label"])
        code = {"code": row["label"].partition(":")[2] or row["label"]} if coded else {}
        figures = (row["n"], row["precision"], row["recall"], row["f1"], row.get("auc"), row.get("threshold"))
        rows.append({**code, "label": name, **dict(zip(_NUMBERS, figures, strict=True))})
    return pd.DataFrame(rows).sort_values("items", ascending=False, kind="stable", ignore_index=True)


def _short_table(frame: pd.DataFrame) -> None:
    st.dataframe(
        frame,
        hide_index=True,
        key="train_per_label",
        height=min(38 + 35 * len(frame), 420),
        column_config={
            "F1": st.column_config.ProgressColumn(
                "F1", min_value=0, max_value=1, format="%.3f", help="F1 of this label."
            ),
            **{
                name: st.column_config.NumberColumn(name, format="%.3f")
                for name in ("precision", "recall", "AUC", "threshold")
            },
        },
    )
