"""How far a review is, whether reading may stop, how well readers agree, and the ways out of it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from medbench import review_exports, ui
from medbench.comparing_verdict import p_words
from medbench.records import Metric
from medbench.review import Review
from medbench.review_decisions import Standing
from medbench.review_readers import agreement_of
from medbench.review_stopping import Estimate
from medbench.ui_review import reader
from medbench.workspace import Workspace


def draw_progress(held: Review) -> None:
    """Draw counts, the curve of what was found, stop advice, the random sample, and the readers' agreement."""
    standing = held.journal.standing()
    answers = standing.answers
    counts = {
        "Records": len(held),
        "Decided": len(standing.by_record),
        "Relevant": sum(bool(labels) for labels in answers.values()),
        "To be settled": len(standing.disagreements),
        "Readers": len(standing.readers),
    }
    if held.plan.readers > 1:
        counts["Wait for another reader"] = len(held.waiting(standing))
    ui.facts({name: f"{count:,}" for name, count in counts.items()})
    if not answers:
        ui.empty("Nothing is read yet. The curve and the stop advice come with the first decisions.")
        return
    st.subheader("Found so far", anchor=False)
    curves = {label: np.cumsum([0, *(label in labels for labels in answers.values())]) for label in held.plan.labels}
    st.line_chart(curves, x_label="records read", y_label="found", height=220)
    st.subheader("May reading stop?", anchor=False)
    for label in held.plan.labels:
        advice = held.advice(standing, label)
        st.markdown(f"{'✅' if advice.may_stop else '📖'} {ui.plain(held.told(standing, label))}")
        hints = [f"{p_words(advice.p)} that so few would have come lately if 95 % were not found."] * (advice.p < 0.995)
        hints += [f"A hint, no proof: the last {advice.streak:,} in a row were irrelevant."] * (advice.streak > 1)
        if hints:
            st.caption(" ".join(hints))
    st.caption(
        "After Callaghan and Müller-Hansen (2020). It trusts that the order is better than chance; a random sample of "
        "the unread needs no such trust."
    )
    _sample(held, standing)
    _agreement(held, standing)


def _sample(held: Review, standing: Standing) -> None:
    st.subheader("Check with a random sample", anchor=False)
    for label in held.plan.labels:
        told = held.sampled(standing, label)
        if told is not None:
            st.markdown(f"“{ui.plain(label)}”: {_told(told)}")
    if standing.samples:
        newest = standing.samples[-1].records
        unread = sum(record not in standing.by_record and record not in standing.settled for record in newest)
        waiting = [record for record in newest if record in standing.by_record and record not in standing.answers]
        unsettled = sum(record in standing.disagreements for record in waiting)
        if unsettled:
            st.caption(
                f"Under “Settle” still: {ui.count_of(unsettled, 'drawn record')}; until then the sample does not count."
            )
        if len(waiting) > unsettled:
            skipped = ui.count_of(len(waiting) - unsettled, "drawn record")
            st.caption(f"{skipped} were skipped; they come again at the end of “Read”.")
        if unread:
            st.caption(f"{unread:,} of the {len(newest):,} drawn records are unread; they come first under “Read”.")
            return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        who = reader()
        count = st.number_input(
            "Records to draw", 10, 500, 50, 10, key="review_draw_count", help="More: a narrower interval."
        )
        if st.button(
            "Draw", key="review_draw", disabled=not who, help="They are read next. Best when you think you are done."
        ):
            drawn = held.draw(who, int(count), np.random.default_rng())
            st.success(f"{ui.count_of(drawn, 'record')} drawn. Read them under “Read”.")


def _told(found: Estimate) -> str:
    """Say what a random sample of the unread tells of recall."""
    drawn = f"{found.hits:,} relevant in {found.sampled:,} drawn of {found.urn:,} unread records"
    if found.recall is None:
        return (
            f"nothing relevant is known, so recall has no value yet; {drawn}, so at most {found.left_most:,} are left."
        )
    interval = f"{ui.share(found.low)} to {ui.share(found.high)}, 95 %"
    return f"recall **{ui.share(found.recall)}** ({interval}), from {drawn}."


def _agreement(held: Review, standing: Standing) -> None:
    st.subheader("How well readers agree", anchor=False)
    if len(standing.readers) < 2:
        ui.empty("Only one reader so far. With two or more, κ and α appear here.")
        return
    rows = []
    for one in agreement_of(standing, held.plan.labels):
        rows += [_row(one.label, "all", "Krippendorff's α", one.alpha)] if one.alpha else []
        rows += [_row(one.label, f"{pair[0]} and {pair[1]}", "Cohen's κ", kappa) for pair, kappa in one.pairs]
        rows += [_row(one.label, "all", "Fleiss' κ", one.fleiss)] if one.fleiss else []
    if not rows:
        st.caption("No two readers have read the same records yet, or all said the same of every one.")
        return
    import pandas as pd

    frame = pd.DataFrame(rows)
    st.dataframe(frame, hide_index=True, key="review_agreement")
    st.caption(
        "1 is full agreement, 0 what chance gives. Before anything was settled; unsure and skipped left out. "
        "No interval where fewer than 10 records were read by both, or where leaving out any record changes nothing."
    )
    ui.export(frame, "agreement", "review_agreement")


def _row(label: str, readers: str, name: str, metric: Metric) -> dict[str, str | int]:
    interval = "" if metric.low is None or metric.high is None else f"{metric.low:.2f} to {metric.high:.2f}"
    return {
        "label": label, "readers": readers, "statistic": name, "value": f"{metric.value:.3f}", "95 %": interval,
        "records": metric.n,
    }  # fmt: skip


def draw_exports(workspace: Workspace, held: Review) -> None:
    """Draw the ways out: a table, RIS, a dataset to train on."""
    standing = held.journal.standing()
    if not standing.by_record:
        ui.empty("Nothing is read yet.")
        return
    st.caption(f"{ui.count_of(len(standing.by_record), 'record')} with decisions, readers, notes and times.")
    with st.container(horizontal=True):
        ui.download(
            "CSV", lambda: review_exports.as_csv(held), "review.csv", "review_csv", "text/csv", "For spreadsheets."
        )
        ui.download(
            "RIS",
            lambda: review_exports.as_ris(held),
            "review.ris",
            "review_ris",
            "application/x-research-info-systems",
            "For EndNote, Zotero and others: labels as key words.",
        )
    st.subheader("Train on it", anchor=False)
    name = st.text_input(
        "Name of the dataset", f"{held.plan.name}, read", key="review_dataset_name", help="Shown in lists."
    )
    if st.button("Make a dataset of it", key="review_make", type="primary", help="Answered records with their labels."):
        with st.spinner("Making the dataset…"):
            st.session_state["review_made"] = review_exports.as_dataset(workspace, held, name)
    made = st.session_state.get("review_made")
    if made:
        ui.link("Open the dataset", "pages/datasets.py", {"dataset": made})
        ui.link("Train on it", "pages/train.py", {"dataset": made})
