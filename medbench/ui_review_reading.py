"""One record after another on the Review page: read it, press a key, the next is there. And disagreements to settle."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from medbench import ui
from medbench.evidence_sheet import marked
from medbench.records import Span, join_text
from medbench.review import Next, Review
from medbench.review_decisions import Decision, Standing, Verdict
from medbench.ui_review import STRATEGY_NAMES, WHY, reader

_STRONGEST = 12
_PATIENCE = 20.0  # seconds; with more records than that takes, the first record is one at random


def draw_reading(held: Review) -> None:
    """Draw the record to be read now and the keys that decide on it."""
    held.learn()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        who = reader()
        _draw_order(held)
    if not who:
        ui.empty("Type your initials to begin. They are kept with every decision, so that readers can be told apart.")
        return
    if held.ranker.current is None and held.journal.standing().decisions:
        with st.spinner("Learning the order again from what was decided…"):
            held.ranker.first(_PATIENCE)  # once, on coming back: else the first record would be any
    _read(held, who)


def _draw_order(held: Review) -> None:
    with st.popover("⚙️ Order and marks", help="What is offered next, and which words are marked."):
        st.selectbox(
            "Order", list(STRATEGY_NAMES), index=list(STRATEGY_NAMES).index(held.plan.strategy),
            format_func=STRATEGY_NAMES.__getitem__, key=f"review_order_{held.plan.id}",
            help="What is offered next; change it at any time.", width=320,
        )  # fmt: skip
        st.toggle(
            "Mark words", value=True, key="review_marks", help="Blue words spoke for the label so far, orange against."
        )


@st.fragment
def _read(held: Review, who: str) -> None:
    """Draw the record; only this part is drawn again after a key."""
    with ui.guarded():
        top = st.container()  # filled last: once the count moves, the keys belong to the next record
        now, standing = _now(held, who), held.journal.standing()
        if now is None:
            with top:
                _so_far(held, standing, who)
            st.success("Nothing is left for you to read. See “Progress and stopping”, or take the labels out.")
            _undo_button(held, who, standing)
            return
        if len(held.plan.labels) > 1:
            _labels(held)
        # Above the record, so that they stay where they are however long it is.
        with st.container(horizontal=True, vertical_alignment="center"):
            _keys(held, who, now)
            _undo_button(held, who, standing)
            st.text_input(
                "Note",
                key=f"review_note_{now.record}",
                placeholder="Note: why? (optional)",
                help="Kept with your next decision.",
                label_visibility="collapsed",
                width=260,
            )
        _record(held, now.record, f"{WHY.get(now.why, now.why)}", bool(st.session_state.get("review_marks", True)))
        with top:
            _so_far(held, standing, who)


def _so_far(held: Review, standing: Standing, who: str) -> None:
    answers = standing.answers
    found = sum(bool(labels) for labels in answers.values())
    decided = len(standing.by_record)
    whole = max(len(held) - len(held.given), 1)
    learnt = held.ranker.current
    told = f"{decided:,} of {whole:,} decided ({len(standing.of(who)):,} by you), {found:,} relevant."
    told += f" The order has learnt from {learnt.known:,}." if learnt is not None and learnt.known else ""
    told += " It is learning…" if held.ranker.busy else ""
    st.progress(min(decided / whole, 1.0), told)
    if held.ranker.problem:
        st.caption(f"⚠️ {ui.plain(held.ranker.problem)} The linear ranking is used instead.")
    if len(answers) >= 20 and all(held.advice(standing, label).may_stop for label in held.plan.labels):
        st.info("✅ Reading may stop: 95 % of what is relevant is found. See “Progress and stopping”.")


def _now(held: Review, who: str) -> Next | None:
    """Return the record before this reader; the same one until it is decided on, whatever the ranking learns."""
    kept: tuple[str, str, Next] | None = st.session_state.get("review_now")
    if kept is not None and kept[:2] == (held.plan.id, who):
        return kept[2]
    now = held.next(who, st.session_state.get(f"review_order_{held.plan.id}"))
    if now is not None:
        held.journal.open(now.record, who)
        st.session_state["review_now"] = (held.plan.id, who, now)
        st.session_state["review_chosen_labels"] = []
    return now


def _record(held: Review, record: int, why: str, marks: bool) -> None:
    (row,) = held.dataset.rows([record])
    title, text = str(row["title"]), str(row["text"])
    with st.container(border=True):
        st.caption(
            f"{why} · {ui.plain(str(row['id']))}" + (f" · {ui.plain(held.plan.question)}" if held.plan.question else "")
        )
        spans = _spans(held, join_text(title, text)) if marks else ()
        head = len(title.strip())
        first = [span for span in spans if span.end <= head]
        body = join_text(title, text)[head:].lstrip("\n") if head else text.strip()
        shift = len(join_text(title, text)) - len(body)
        rest = [Span(span.start - shift, span.end - shift, span.weight) for span in spans if span.start >= shift]
        st.html(
            f'<div class="mb-value">{marked(title.strip(), first)}</div>'
            f'<div style="max-width: 60rem; line-height: 1.6; white-space: pre-wrap;">{marked(body, rest)}</div>'
        )
        if not body and not title:
            st.caption("This record has no text.")


def _spans(held: Review, text: str) -> Sequence[Span]:
    """Return the words that mattered to the ranking so far, all labels together; none before anything is learnt."""
    ranking, pool = held.ranker.current, held.ranker.pool
    if ranking is None or pool is None or not ranking.learnt:
        return ()
    spans = pool.words(text, ranking.weights.sum(axis=1))
    return sorted(spans, key=lambda span: -abs(span.weight))[:_STRONGEST]


def _labels(held: Review) -> None:
    chosen: list[str] = st.session_state.setdefault("review_chosen_labels", [])
    with st.container(horizontal=True):
        for number, label in enumerate(held.plan.labels, start=1):
            st.button(
                f"{'☑️' if label in chosen else '⬜'} {ui.plain(label)}",
                key=f"review_label_{number}",
                shortcut=str(number) if number < 10 else None,
                on_click=_toggle,
                args=(label,),
                help="On or off.",
            )


def _keys(held: Review, who: str, now: Next) -> None:
    labels = held.plan.labels
    if len(labels) > 1:
        chosen = tuple(st.session_state["review_chosen_labels"])
        _button("💾 Keep", "Y", held, who, now, "read", chosen, "The labels that are on apply.", primary=True)
        _button("❌ None of them", "N", held, who, now, "read", (), "No label applies.")
    else:
        name = ui.plain(labels[0])
        yes, no = ("✅ Include", "❌ Exclude") if name == "include" else (f"✅ {name}", f"❌ Not {name}")
        _button(yes, "Y", held, who, now, "read", labels, "It is relevant.", primary=True)
        _button(no, "N", held, who, now, "read", (), "It is not.")
    _button("❓ Unsure", "U", held, who, now, "unsure", (), "Somebody looks at it again, under Settle.")
    _button("⏭️ Skip", "S", held, who, now, "skip", (), "Not now: it comes again at the end.")


def _toggle(label: str) -> None:
    chosen: list[str] = st.session_state["review_chosen_labels"]
    st.session_state["review_chosen_labels"] = (
        [one for one in chosen if one != label] if label in chosen else [*chosen, label]
    )


def _button(
    words: str, key: str, held: Review, who: str, now: Next, verdict: Verdict, labels: tuple[str, ...], help: str,
    primary: bool = False,
) -> None:  # fmt: skip
    st.button(
        words,
        key=f"review_key_{key}",
        shortcut=key,
        type="primary" if primary else "secondary",
        on_click=_decide,
        args=(held, who, now, verdict, labels),
        help=help,
    )


def _decide(held: Review, who: str, now: Next, verdict: Verdict, labels: tuple[str, ...]) -> None:
    with ui.guarded():
        if st.session_state.get("review_now") != (held.plan.id, who, now):
            return  # pressed twice before the next record was drawn: nobody has read that one yet
        note = str(st.session_state.get(f"review_note_{now.record}", ""))
        held.journal.decide(now.record, verdict, labels, who, note=note, why=now.why)
        st.session_state.pop("review_now", None)
        held.learn()


def _undo_button(held: Review, who: str, standing: Standing) -> None:
    st.button(
        "↩️ Undo", key="review_key_Z", shortcut="Z", disabled=not standing.of(who), on_click=_undo, args=(held, who),
        help="Take your last decision back and see that record again.",
    )  # fmt: skip


def _undo(held: Review, who: str) -> None:
    with ui.guarded():
        record = held.journal.undo(who)
        if record is not None:
            st.session_state["review_now"] = (held.plan.id, who, Next(record, "undone"))
            st.session_state["review_chosen_labels"] = []
            held.learn()


# --- disagreements -----------------------------------------------------------------------------------------------


def draw_settling(held: Review) -> None:
    """Draw the records that readers disagree on, one after another, with what each said."""
    st.caption("Records that readers labelled differently, or were unsure of. What is settled here holds.")
    who = reader()
    if not who:
        ui.empty("Type your initials: they are kept with what you settle.")
        return
    _settle_one(held, who)


@st.fragment
def _settle_one(held: Review, who: str) -> None:
    with ui.guarded():
        standing = held.journal.standing()
        waiting = standing.disagreements
        settled = ui.count_of(len(standing.settled), "record is", "records are")
        if not waiting:
            st.success(f"Nothing waits to be settled. {settled} settled.")
            _unsettle_button(held, who, standing)
            return
        st.caption(f"{ui.count_of(len(waiting), 'record waits', 'records wait')}; {settled} settled.")
        record = waiting[0]
        _record(held, record, "⚖️ to be settled", False)
        for decision in standing.by_record[record]:
            st.markdown(f"- **{ui.plain(decision.who)}**: {_said(decision)}")
        key = f"review_settle_{record}"
        chosen = st.pills(
            "What holds", held.plan.labels, selection_mode="multi", key=key, help="Leave all off when none applies."
        )
        note = st.text_input("Why", key=f"{key}_why", placeholder="optional", help="Kept with the settlement.")
        with st.container(horizontal=True):
            st.button(
                "Settle", key="review_settle_go", type="primary", shortcut="Enter", on_click=_settle,
                args=(held, record, list(chosen or []), who, note),
                help="Counts for training, exports and stop advice.",
            )  # fmt: skip
            _unsettle_button(held, who, standing)


def _unsettle_button(held: Review, who: str, standing: Standing) -> None:
    mine = any(decision.who == who for decision in standing.settled.values())
    st.button(
        "↩️ Undo", key="review_unsettle", disabled=not mine, on_click=_unsettle, args=(held, who),
        help="Take back what you settled last; the record waits here again.",
    )  # fmt: skip


def _unsettle(held: Review, who: str) -> None:
    with ui.guarded():
        if held.journal.undo(who, kinds=("settle",)) is not None:
            held.learn()


def _said(decision: Decision) -> str:
    said = {"unsure": "unsure", "skip": "skipped"}.get(decision.verdict)
    said = said or (", ".join(map(ui.plain, decision.labels)) if decision.labels else "none of the labels")
    return said + (f" · “{ui.plain(decision.note)}”" if decision.note else "") + f" · {ui.when(decision.at)}"


def _settle(held: Review, record: int, labels: list[str], who: str, note: str) -> None:
    with ui.guarded():
        held.journal.settle(record, labels, who, note)
        held.learn()
