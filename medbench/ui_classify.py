"""What the parts of the Classify page share: choosing a model, and drawing an answer with all it carries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from medbench import aliases, predicting, trust_figures, ui, ui_evidence
from medbench.evidence_sheet import STYLE
from medbench.predicting import Loaded
from medbench.records import Item, LabelScore, Prediction
from medbench.workspace import Workspace

_SHOWN = 8
_PROBABLE = 0.05
_FAR = 0.05
_MOVED = 3
_STYLE = f"""<style>
.mb-bars {{display: grid; grid-template-columns: minmax(6rem, 16rem) 1fr 7.5rem; gap: .3rem .8rem; align-items: center;
  font-size: .95rem; max-width: 52rem;}}
.mb-bars .mb-yes {{font-weight: 600;}}
.mb-bars .mb-no {{opacity: .72;}}
.mb-bar {{position: relative; height: .8rem; background: rgba(128, 128, 128, .18); border-radius: .2rem;}}
.mb-bar span {{position: absolute; inset: 0 auto 0 0; border-radius: .2rem; background: rgba(128, 128, 128, .55);}}
.mb-bar.mb-full span {{background: #0b7a86;}}
.mb-bar i {{position: absolute; top: -.2rem; bottom: -.2rem; width: 2px; background: currentColor;}}
.mb-bar b {{position: absolute; top: .2rem; width: .4rem; height: .4rem; margin-left: -.2rem; border-radius: 50%;
  background: #fff; box-shadow: 0 0 0 1.5px #444;}}
{STYLE}
</style>"""


def choose_model(workspace: Workspace) -> str | None:
    """Let the user choose a model, or a job's champion as `@job`, and show what it is. Loads nothing.

    None, and what to do, when there is no model.
    """
    cards = [card for card in predicting.list_models(workspace) if card.get("item", "text") == "text"]
    cards.sort(key=lambda card: card.get("task") == "icd")  # these have a page of their own
    if not cards:
        ui.empty("There is no model yet. Train one first.", "Train a model", "pages/train.py")
        return None
    known = aliases.offered(workspace, {str(card["id"]): card for card in cards})
    asked = st.query_params.get("model")
    if asked is not None:
        del st.query_params["model"]
        if asked in known:
            st.session_state["classify_model"] = asked
        else:
            st.warning(f"There is no model {ui.plain(repr(asked))} here. Choose another one.")
    if st.session_state.get("classify_model") not in known:
        st.session_state.pop("classify_model", None)
    chosen = st.selectbox(
        "Model",
        list(known),
        format_func=lambda name: _model_words(known[name]),
        key="classify_model",
        help="Who answers: first the champions of jobs, then all models, newest first, shipped starters last.",
        persist_state="session",
    )
    _draw_card(known[chosen])
    return chosen


def load_model(workspace: Workspace, model: str) -> Loaded:
    """Return the model, with a word while it is being loaded."""
    with st.spinner("Loading the model…"):
        return predicting.load(workspace, model)


def _model_words(card: dict[str, Any]) -> str:
    name = "micro_f1" if card["answer"] == "many" else "balanced_accuracy"
    words = {"micro_f1": "micro-F1", "balanced_accuracy": "balanced accuracy"}[name]
    return f"{card['name']} · {len(card['labels']):,} labels · {words} {ui.with_interval(card['metrics'].get(name))}"


def _draw_card(card: dict[str, Any]) -> None:
    dataset = card.get("dataset", {})
    kind = "one label per text" if card["answer"] == "one" else "any number of labels per text"
    learnt = f"Learnt from {ui.plain(str(dataset.get('name', '?')))}, {dataset.get('n_rows', 0):,} rows; {kind}."
    st.caption(f"{learnt} Measured on {ui.plain(str(card.get('judged_on', '?')))}.")
    with st.expander("More about this model", key="classify_card"):
        names = card.get("label_names", {})
        st.html(ui.chips([str(names.get(label, label)) for label in card["labels"]], quiet=True))
        lines = [card.get("intended_use", ""), *card.get("limits", []), *card.get("notes", [])]
        if licence := card.get("licence"):
            lines.append(f"Data licence and terms: {licence}")
        for line in filter(None, lines):
            st.markdown(f"- {ui.plain(str(line))}")
        st.caption(f"Method {card['family']} · model id `{card['id']}`")


def draw_answer(
    workspace: Workspace,
    loaded: Loaded,
    item: Item,
    answer: Prediction,
    key: str,
    more: Callable[[], None] | None = None,
) -> None:
    """Draw one answer: flags, labels, conformal set, evidence, similar training items, and what `more` adds.

    Args:
        workspace: For the training items.
        loaded: The model that answered.
        item: What was asked.
        answer: What it said.
        key: Prefix of the widget keys.
        more: Draws the last tab ("Correct it").
    """
    st.html(_STYLE)
    if answer.problem:
        st.warning(ui.plain(answer.problem))
        return
    _flags(loaded, item, answer)
    if not answer.chosen:
        st.markdown("**No label reaches its threshold.** The most probable ones:")
    shown = _most_telling(answer.labels)
    st.html(bars(shown))
    if loaded.model.answer == "many":
        st.caption(f"The upright line is the threshold of each label. {ui.plain(company(shown))}")
    _promises(loaded, answer)
    _groups(answer)
    names = ["Why", "Similar training texts", "All labels", *(["Correct it"] if more else [])]
    tabs = st.tabs(names, key=f"{key}_tabs", on_change="rerun")
    if tabs[0].open:
        with tabs[0], ui.guarded():
            ui_evidence.draw(loaded, item, {score.label: score.name for score in shown}, key)
    elif tabs[1].open:
        with tabs[1], ui.guarded():
            _similar(workspace, loaded, item)
    elif tabs[2].open:
        with tabs[2]:
            _all_labels(answer, key)
    elif more:
        with tabs[3], ui.guarded():
            more()


def _most_telling(labels: Sequence[LabelScore]) -> list[LabelScore]:
    """Return the decided labels and the probable others: at least three in all, rarely more than eight."""
    decided = [score for score in labels if score.chosen]
    others = [score for score in labels if not score.chosen]
    probable = [score for score in others if score.probability >= _PROBABLE]
    count = min(max(len(probable), 3 - len(decided)), max(_SHOWN - len(decided), 0))
    return [*decided, *others[:count]]


def bars(labels: Sequence[LabelScore]) -> str:
    """Return labels as HTML bars: decided ones bold, the threshold as a tick, a moved label's own probability as a dot.

    Everything is escaped.
    """
    rows = []
    for score in labels:
        weight = "mb-yes" if score.chosen else "mb-no"
        tick = f'<i style="left: {score.threshold * 100:.1f}%"></i>' if score.threshold > 0 else ""
        dot = (
            f'<b style="left: {score.alone * 100:.1f}%"></b>'
            if score.alone is not None and _far(score.alone, score.probability)
            else ""
        )
        said = _said(score.probability)
        rows.append(
            f'<div class="{weight}">{"✓ " if score.chosen else ""}{ui.escape(score.name)}</div>'
            f'<div class="mb-bar {"mb-full" if score.chosen else ""}">'
            f'<span style="width: {score.probability * 100:.1f}%"></span>{tick}{dot}</div>'
            f'<div class="{weight}">{said}</div>'
        )
    return f'<div class="mb-bars">{"".join(rows)}</div>'


def company(labels: Sequence[LabelScore]) -> str:
    """Say which of these labels the others moved far, the furthest first, in one sentence; "" for none."""
    by = {score.name: (score.alone, score.probability) for score in labels if score.alone is not None}
    far = sorted((name for name in by if _far(*by[name])), key=lambda name: -abs(by[name][1] - by[name][0]))
    if not far:
        return ""
    told = ", ".join(f"{name} {by[name][0]:.2f} → {by[name][1]:.2f}" for name in far[:_MOVED])
    return f"The dot is a label's probability by itself; labels that go together in the training data moved it: {told}."


def _far(alone: float, together: float) -> bool:
    return abs(together - alone) >= _FAR


def _said(probability: float) -> str:
    if 0.005 <= probability < 0.995:
        return f"{probability:.2f}"
    return "&lt; 0.01" if probability < 0.5 else "&gt; 0.99"


def _flags(loaded: Loaded, item: Item, answer: Prediction) -> None:
    told = []
    if answer.needs_human:
        told.append(f"👤 **A person should read this:** {ui.plain(answer.why)}.")
    if answer.unlike:
        told.append(
            f"🧭 **Unlike the training data:** stranger than {answer.unlikeness:.0%} of the texts it was checked on. "
            + ui.plain(answer.strange)
        )
    if answer.cut > 0:
        told.append(f"✂️ **Cut:** the model does not read the last {ui.share(answer.cut)} of the words.")
    if bool(predicting.seen_in_training(loaded, [item])[0]):
        told.append("📚 **Seen in training:** the model learnt from this very text, so its answer proves little.")
    if told:
        with st.container(border=True):
            st.markdown("  \n".join(told))


def _promises(loaded: Loaded, answer: Prediction) -> None:
    """Draw what is promised of answers without a person and of the conformal set; folded away, what holds for all."""
    if answer.promise:
        st.caption(f"👤 {ui.plain(answer.promise)}")
    if answer.conformal and answer.coverage is not None:
        names = ", ".join(loaded.name_of(label) for label in answer.conformal)
        words = trust_figures.set_words(loaded.card, answer.coverage, "texts")
        st.caption(f"🎯 {ui.plain(words)}: **{ui.plain(names)}**.")
    measured = trust_figures.beside_unlike(loaded.card)
    if measured and answer.unlike:
        st.caption(f"🧭 {ui.plain(measured)}")
    elif measured:
        measured = f"No sign that this text is unlike the training data. {measured}"
    ui.behind([trust_figures.calibrated(loaded.card), "" if answer.unlike else measured])


def _groups(answer: Prediction) -> None:
    """Draw the groups of the model's label tree; an unlikely one only when it is decided."""
    shown = [score for score in answer.groups if score.chosen or score.probability >= _PROBABLE][:_SHOWN]
    if not shown:
        return
    st.markdown("**Groups**", help="From the tree of labels that the model was trained with.")
    st.html(bars(shown))
    told = "A group is decided with one of its labels."
    if any(score.probability >= 0.5 and not score.chosen for score in shown):
        told += " Some are probable though none of their labels is decided: the labels share the probability."
    st.caption(told)


def _similar(workspace: Workspace, loaded: Loaded, item: Item) -> None:
    with st.spinner("Looking among the training texts…"):
        found, reason = predicting.neighbours(workspace, loaded, item)
    if reason:
        st.info(ui.plain(reason))
    for one in found:
        labels = ui.chips([loaded.name_of(label) for label in one.labels])
        text = one.text if len(one.text) <= 400 else f"{one.text[:400]}…"
        st.html(
            f"<p><b>{ui.escape(one.title or one.id)}</b> <span class='mb-fact'>similarity {one.similarity:.2f}</span>"
            f"<br>{labels}<br><span class='mb-fact'>{ui.escape(text)}</span></p>"
        )


def _all_labels(answer: Prediction, key: str) -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "label": [score.name for score in answer.labels],
            "probability": [score.probability for score in answer.labels],
            "threshold": [score.threshold for score in answer.labels],
            "decided": [score.chosen for score in answer.labels],
            **({"by itself": [score.alone for score in answer.labels]} if answer.labels[0].alone is not None else {}),
        }
    )
    bar = st.column_config.ProgressColumn("probability", min_value=0, max_value=1, format="%.3f")
    st.dataframe(frame, hide_index=True, key=f"{key}_all", column_config={"probability": bar})


def as_json(pairs: Sequence[tuple[Item, Prediction]]) -> bytes:
    """Return answers as JSON: one object for one item, else a list."""
    rows = [{**answer.as_json(), "title": item.title, "text": item.text} for item, answer in pairs]
    return json.dumps(rows if len(rows) != 1 else rows[0], ensure_ascii=False, indent=1).encode()


def as_pdf(
    loaded: Loaded,
    pairs: Sequence[tuple[Item, Prediction]],
    corrections: Mapping[int, Sequence[str]] | None = None,
) -> bytes:
    """Return answers as a PDF report; a single one with its evidence.

    Args:
        loaded: The model that answered.
        pairs: Items with their answers.
        corrections: Position in `pairs` -> labels a reader decided on.
    """
    from medbench import reports

    reasons = {}
    if len(pairs) == 1:
        item, answer = pairs[0]
        reasons = {item.id: [predicting.explain(loaded, item, label) for label in answer.chosen[:5]]}
    items, answers = [item for item, _ in pairs], [answer for _, answer in pairs]
    return reports.predictions_pdf(answers, items, loaded.card, reasons, corrections)


def draw_correction(
    loaded: Loaded,
    answer: Prediction,
    standing: tuple[list[str], str] | None,
    keep: Callable[[list[str], str], None],
    undo: Callable[[], None],
    key: str,
    asked: str = "",
) -> None:
    """Draw the boxes to correct an answer, and to take a correction back.

    Args:
        loaded: The model that answered.
        answer: What it said.
        standing: The correction that stands: labels and note.
        keep: Keeps a correction.
        undo: Takes the standing one back.
        key: Prefix of the widget keys.
        asked: What is asked for; the right label when empty.
    """
    if standing is not None:
        names, note = ui.chips([loaded.name_of(label) for label in standing[0]]) or "no label", standing[1]
        st.html(f"{ui.escape(asked or 'Corrected to')}: {names} <span class='mb-fact'>{ui.escape(note)}</span>")
        if st.button(
            "Take it back" if asked else "Undo the correction",
            key=f"{key}_undo",
            help="The model's answer, or an earlier one, counts again.",
        ):
            undo()
            st.rerun()
        return
    one = loaded.model.answer == "one"
    chosen = st.multiselect(
        asked or ("The right label" if one else "The right labels"),
        loaded.labels,
        default=list(answer.chosen),
        format_func=loaded.name_of,
        max_selections=1 if one else None,
        key=f"{key}_right",
        help="What a reader says. Empty means: none of them.",
    )
    note = st.text_input("Note", key=f"{key}_note", help="Why, in a few words. Kept with the correction.")
    if st.button(
        "Keep it" if asked else "Keep the correction",
        key=f"{key}_keep",
        type="primary",
        help="Goes to the history and the exports.",
    ):
        keep(list(chosen), note)
        st.rerun()
