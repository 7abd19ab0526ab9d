"""The sentences that speak for the labels of every record of a file: found on demand, listed, exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from medbench import explaining, explaining_jobs, ui, ui_evidence
from medbench.batch_jobs import Job
from medbench.explaining import METHODS, Study
from medbench.explaining_jobs import Asked
from medbench.record_evidence import shown_sentence

if TYPE_CHECKING:
    import pandas as pd

_EVERY = 1.0
_STUDIED = 50


def draw(job: Job) -> None:
    """Draw the button, the progress, or the found sentences with their exports."""
    with st.expander("🔎 Evidence for every record", key=f"classify_evidence_{job.id}"):
        at_work = explaining_jobs.at_work(job)
        if at_work is not None and at_work.running:
            st.fragment(_progress, run_every=_EVERY)(
                at_work, "Leaving out one sentence after the other…", "classify_ev"
            )
            return
        if at_work is not None and at_work.problem is not None:
            ui.show_error(at_work.problem)
        done = len(explaining_jobs.evidence_of(job))
        if done < job.done:
            _ask(job, done)
        if done:
            _found(job)
        _methods(job)


def _ask(job: Job, done: int) -> None:
    left = ui.count_of(job.done - done, "record")
    st.caption(
        "Finds, for each label of each record, the sentences whose removal costs it most: seconds for models that "
        f"count words, about a minute for 100 abstracts with a network. {left} to go."
    )
    words = "Go on" if done else "Find the evidence"
    if st.button(words, key="classify_find_evidence", help="Works in the background; what is found is kept."):
        explaining_jobs.find_evidence(job).wait(1.0)
        st.rerun()


def _progress(job: Asked[int] | Asked[Study], sentence: str, key: str) -> None:
    if not job.running:
        st.rerun()
    st.progress(job.share, text=sentence)
    if st.button("Stop", key=f"{key}_stop", help="Ends after the records in hand; what is found is kept."):
        job.stop()


def _found(job: Job) -> None:
    frame = sentences(job)
    st.dataframe(
        frame,
        hide_index=True,
        key="classify_evidence_table",
        column_config={
            "strongest sentence": st.column_config.TextColumn("strongest sentence", width=420),
            "faithfulness": st.column_config.NumberColumn(
                "faithfulness",
                format="%.2f",
                help="How much more the score falls without this sentence than without any one sentence.",
            ),
        },
    )
    key, heading = "classify_evidence_out", f"Evidence in {job.name}"
    ui_evidence.downloads(lambda: list(explaining_jobs.told_of(job)), f"{job.stem}-evidence", key, heading)


def sentences(job: Job) -> pd.DataFrame:
    """Return a row for every label of every record: its strongest sentence and how faithful that is."""
    import pandas as pd

    rows = [
        {
            "id": told.item.id,
            "label": told.name,
            "strongest sentence": shown_sentence(told.item.joined, told.explanation),
            "faithfulness": told.explanation.faithfulness,
        }
        for told in explaining_jobs.told_of(job)
    ]
    return pd.DataFrame(rows, columns=["id", "label", "strongest sentence", "faithfulness"])


# --- methods over the file ---------------------------------------------------------------------------------------


def _methods(job: Job) -> None:
    """Draw which methods are worth most on this file, and how often two of them agree."""
    st.markdown("**Which method to trust on this file**")
    fitting = explaining.methods_for(job.batch.loaded)
    chosen = st.multiselect(
        "Methods to compare",
        [method.name for method in fitting],
        default=explaining.quick_for(job.batch.loaded),
        format_func=lambda name: METHODS[name].title,
        key=f"classify_study_methods_{job.id}",
        help=f"On {_STUDIED} records, evenly spread over the file.",
    )
    key = f"classify_study_{job.id}"
    asked: Asked[Study] | None = st.session_state.get(key)
    if asked is not None and asked.running:
        st.fragment(_progress, run_every=_EVERY)(asked, "Comparing methods…", "classify_study")
        return
    if st.button(
        "Compare on this file",
        key="classify_study_go",
        disabled=len(chosen) < 2,
        help="Two methods or more.",
    ):
        st.session_state[key] = asked = explaining_jobs.study_methods(job, chosen, _STUDIED)
        asked.wait(1.0)
        st.rerun()
    if asked is None:
        return
    if asked.problem is not None:
        ui.show_error(asked.problem)
    if asked.result is not None and asked.result.items:
        _studied(asked.result)


def _studied(found: Study) -> None:
    worth, agreed = study_tables(found)
    st.caption(f"Means over {ui.count_of(found.items, 'record')}.")
    st.dataframe(worth, hide_index=True, key="classify_study_worth")
    ui.export(worth, "methods", "classify_study_worth_export")
    st.dataframe(agreed, hide_index=True, key="classify_study_agreed")
    ui.export(agreed, "agreement", "classify_study_agreed_export")


def study_tables(found: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what each method is worth, and how often each two agree, as tables."""
    import pandas as pd

    titles = [METHODS[name].title for name in found.methods]
    worth = pd.DataFrame([{"method": title, **row} for title, row in zip(titles, found.rows, strict=True)])
    pairs = [
        {
            "methods": f"{titles[one]} and {titles[other]}",
            "rank correlation": round(float(found.correlation[one, other]), 2),
            "strongest words shared": round(float(found.overlap[one, other]), 2),
            "same first place": round(float(found.same_top[one, other]), 2),
        }
        for one in range(len(titles))
        for other in range(one + 1, len(titles))
    ]
    return worth, pd.DataFrame(pairs)
