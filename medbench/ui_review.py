"""The Review page's frame: choosing a review, and beginning one on a dataset or a dropped file."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import streamlit as st

from medbench import review, ui
from medbench.datasets import list_datasets
from medbench.families import get_family
from medbench.review import Plan, Review
from medbench.review_choosing import STRATEGIES
from medbench.review_learning import FAMILIES
from medbench.workspace import Workspace

NEW, SIMULATE = "new", "simulate"
_WANTED = "review_wanted"
STRATEGY_NAMES = {
    "mixed": "Mixed: mostly the most relevant",
    "certainty": "Most likely relevant first",
    "uncertainty": "Most doubtful first",
    "diversity": "Least like those read first",
}
WHY = {
    "certainty": "🎯 most likely relevant",
    "uncertainty": "❓ the ranking is in most doubt",
    "diversity": "🧭 least like what was read",
    "order": "🎲 drawn at random, the order is being learnt",
    "sample": "🎲 random sample",
    "second": "👥 waits for another reader",
    "skipped": "⏭️ skipped before",
    "undone": "↩️ taken back",
}
UPLOAD = ["csv", "tsv", "ris", "nbib", "txt", "xml", "bib", "json", "jsonl", "xlsx", "gz"]


def choose(workspace: Workspace) -> Review | None:
    """Draw the choice of review; returns the chosen one, or None while a new one is described or one is simulated."""
    _just_deleted(workspace)
    plans = review.list_reviews(workspace)
    names = {plan.id: f"{plan.name} · {ui.when(plan.created)}" for plan in plans}
    names |= {NEW: "➕ Begin a new review", SIMULATE: "🧪 Simulate a review on a labelled dataset"}
    asked = st.query_params.get("review", next(iter(names)))
    wanted = st.session_state.pop(_WANTED, None)
    if wanted:  # set outright: the browser would go on showing what was chosen before
        st.session_state["review_chosen"] = wanted if wanted in names else next(iter(names))
    left, right = st.columns([6, 1], vertical_alignment="bottom")
    chosen = left.selectbox(
        "Review",
        list(names),
        index=list(names).index(asked) if asked in names else 0,
        format_func=names.__getitem__,
        key="review_chosen",
        help="Each has its own dataset, labels and decisions.",
    )
    if chosen == NEW:
        if not plans:
            ui.empty("No review yet. Choose what to read, and say what you look for.")
        _begin(workspace)
        _draw_deleted(workspace)
    if chosen in (NEW, SIMULATE):
        st.query_params["review"] = chosen
        return None
    with right:
        _draw_delete(workspace, next(plan for plan in plans if plan.id == chosen))
    st.query_params["review"] = chosen
    return review.load(workspace, chosen)


def simulating() -> bool:
    """True when a simulation was chosen in the place of a review."""
    return bool(st.session_state.get("review_chosen") == SIMULATE)


def _draw_delete(workspace: Workspace, plan: Plan) -> None:
    with st.popover("🗑️ Delete", help="Asks before it deletes."):
        st.markdown(f"“{ui.plain(plan.name)}” and all its decisions are put aside. You can bring them back.")
        if st.button("Delete this review", key="review_delete", type="primary"):
            review.delete(workspace, plan.id)
            st.session_state["review_deleted"] = plan
            st.query_params.pop("review", None)
            st.session_state[_WANTED] = "any"
            st.rerun()


def _show(plan: Plan) -> None:
    """Draw the page anew with this review chosen."""
    st.query_params["review"] = plan.id
    st.session_state[_WANTED] = plan.id
    st.rerun()


def _just_deleted(workspace: Workspace) -> None:
    """Say what was deleted last in this session, with the way back."""
    plan: Plan | None = st.session_state.get("review_deleted")
    if plan is None or plan.id not in {one.id for one in review.list_deleted(workspace)}:
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"Deleted “{ui.plain(plan.name)}”.", width="content")
        if st.button("↩️ Undo", key="review_restore", help="Bring it back with all its decisions."):
            _restore(workspace, plan)


def _restore(workspace: Workspace, plan: Plan) -> None:
    with ui.guarded():
        review.restore(workspace, plan.id)
        st.session_state.pop("review_deleted", None)
        _show(plan)


def _draw_deleted(workspace: Workspace) -> None:
    """Draw what was deleted before, to be brought back or removed from the disk."""
    plans = review.list_deleted(workspace)
    if not plans:
        return
    with st.expander(f"Deleted: {ui.count_of(len(plans), 'review')}", key="review_deleted_list"):
        for plan in plans:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"{ui.plain(plan.name)} · {ui.when(plan.created)}", width=320)
                if st.button("Bring back", key=f"review_back_{plan.id}", help="With all its decisions."):
                    _restore(workspace, plan)
                with st.popover("Delete for good", help="Asks before it deletes."):
                    st.markdown("Its decisions are removed from this machine. There is no way back.")
                    if st.button("Yes, delete for good", key=f"review_purge_{plan.id}", type="primary"):
                        review.delete_for_good(workspace, plan.id)
                        st.rerun()


def reader() -> str:
    """Draw who reads, or ask for the initials; returns them, "" until they are given.

    The box goes once it is filled: while it held the cursor, the keys that decide would only be typed into it.
    """
    who = str(st.session_state.get("review_who", ""))
    if not who:
        st.text_input(
            "Your initials", key="review_typed", on_change=_introduce, width=140,
            help="Kept with every decision you make. Press Enter.",
        )  # fmt: skip
    elif st.button(f"👤 {ui.plain(who)}", key="review_change_who", help="Who reads. Press to change the initials."):
        st.session_state["review_who"] = ""
        st.rerun()
    return who


def _introduce() -> None:
    st.session_state["review_who"] = str(st.session_state["review_typed"]).strip()


def _begin(workspace: Workspace) -> None:
    """Draw what a new review needs to know."""
    st.subheader("A new review", anchor=False)
    cards = {str(card["id"]): card for card in list_datasets(workspace) if card["item"] == "text"}
    source = st.segmented_control(
        "What to read", ["A dataset", "A file"], default="A dataset" if cards else "A file", key="review_source",
        help="A dataset that is here already, or the file of a search: PubMed, RIS, a table.", required=True,
    )  # fmt: skip
    dropped, dataset = None, ""
    if source == "A file":
        dropped = st.file_uploader(
            "File with the records",
            type=UPLOAD,
            key="review_file",
            help="Titles and abstracts are found by themselves.",
        )
    elif cards:
        dataset = st.selectbox(
            "Dataset",
            list(cards),
            format_func=lambda one: f"{cards[one]['name']} · {ui.count_of(int(cards[one]['n_rows']), 'row')}",
            key="review_dataset",
            help="Labels are not needed.",
        )
    else:
        ui.empty("No dataset of texts yet.", "Add a dataset", "pages/datasets.py", {"add": "1"})
    with st.form("review_new", border=False):
        asked = _asked(cards.get(dataset, {}))
        pressed = st.form_submit_button("Begin", type="primary", help="You can stop and come back at any time.")
    if pressed:
        if dropped is not None:
            with st.spinner("Reading the file…"), TemporaryDirectory() as folder:
                path = Path(folder) / "dropped"
                path.write_bytes(dropped.getvalue())
                dataset = review.import_file(workspace, path, dropped.name)
        if not dataset:
            st.warning("Choose what to read first: a dataset or a file.")
            return
        _show(review.create(workspace, dataset, **asked))


def _asked(card: dict[str, Any]) -> dict[str, Any]:
    """Draw the fields of a new review and return what `review.create` takes."""
    name = st.text_input(
        "Name", key="review_name", help="How you will find it again.", placeholder="Statins in children"
    )
    labels = st.multiselect(
        "Labels",
        [*(str(label) for label in card.get("labels", ())), "include"],
        default=["include"],
        accept_new_options=True,
        key="review_labels",
        help="What you decide on. One label means: include or exclude. Several: each record gets those that apply.",
    )
    question = st.text_area(
        "What you look for",
        key="review_question",
        height=90,
        help="Your question or inclusion criteria, in plain words. Ranks the records until you have read some.",
        placeholder="Randomised trials of statins in children with familial hypercholesterolaemia",
    )
    with st.expander("More options"):
        strategy = st.selectbox(
            "Order", STRATEGIES, format_func=STRATEGY_NAMES.__getitem__, key="review_strategy",
            help="Mixed finds relevant records early and still looks at what is doubtful or new.",
        )  # fmt: skip
        family = st.selectbox(
            "Who ranks", FAMILIES, format_func=lambda one: get_family(one).title, key="review_family",
            help="Linear learns in a moment. Sentence vectors know synonyms, but read every text first: minutes.",
        )  # fmt: skip
        readers = st.number_input(
            "Readers of each record", 1, 9, 1, key="review_readers", help="2 for double reading with settlement."
        )
        known = st.checkbox(
            "Labels that are there already count as read",
            key="review_known",
            help="Rows of the dataset that carry labels are learnt from, and not shown again.",
        )
    return {
        "name": name, "labels": labels, "question": question, "family": family, "strategy": strategy,
        "readers": int(readers), "begin_labelled": known,
    }  # fmt: skip
