"""The words that matter for each label of a model, and a way to look for them where nobody has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from medbench import class_words, explaining_jobs, ui
from medbench.class_words import ClassWords
from medbench.explaining_jobs import Asked
from medbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

_EVERY = 1.0
_HELD = {"test": "of the test split", "validation": "of the validation split", "out-of-fold": "it was fitted on"}


def draw(workspace: Workspace, card: dict[str, Any]) -> None:
    """Draw the table of words, or the button that looks for them."""
    st.markdown("**Words that matter for each label**")
    found = class_words.load(workspace.model(str(card["id"])))
    if found is None:
        _look(workspace, str(card["id"]))
        return
    names = {str(label): str(name) for label, name in card.get("label_names", {}).items()}
    st.caption(told(found))
    if not found.words:
        st.info("No word made a difference when it was left out.")
        return
    st.dataframe(
        overview(found, names),
        hide_index=True,
        key="train_class_words",
        height=min(38 + 35 * len(found.words), 420),
        column_config={"words": st.column_config.TextColumn("words", width="large", help="Strongest first.")},
    )
    chosen = st.selectbox(
        "Look closer at",
        list(found.words),
        format_func=lambda label: names.get(label, label),
        key="train_class_words_label",
        help="Each word of one label, with its weight.",
    )
    frame = table(found, names)
    st.dataframe(
        frame[frame["label"] == names.get(chosen, chosen)].drop(columns="label"),
        hide_index=True,
        key="train_class_words_one",
        column_config={
            "weight": st.column_config.NumberColumn(
                "weight", format="%.2f", help="Mean fall of the label's log-odds when the word is left out of a text."
            ),
            "left out of": st.column_config.NumberColumn("left out of", help="Texts it was left out of."),
            "texts": st.column_config.NumberColumn("texts", help="Texts with the word that got this label."),
        },
    )
    ui.export(frame, "words", "train_class_words")


def told(found: ClassWords) -> str:
    """Say how the words were found."""
    where = f"{ui.count_of(found.items, 'text')} {_HELD.get(found.split, '')}".strip()
    words = f"Each word was left out of up to five of {where} that got the label; what the answer loses counts."
    if found.seen:
        words += " The weights that were asked have learnt from these texts."
    if not found.complete:
        words += f" The time was up after {found.readings:,} readings, so some words were tried in fewer texts."
    return words


def table(found: ClassWords, names: dict[str, str]) -> pd.DataFrame:
    """Return one row for every word."""
    import pandas as pd

    rows = pd.DataFrame(found.rows(names), columns=["label", "rank", "word", "weight", "measured", "texts"])
    return rows.rename(columns={"measured": "left out of"})


def overview(found: ClassWords, names: dict[str, str]) -> pd.DataFrame:
    """Return one row for every label with its words in a line."""
    import pandas as pd

    rows = [
        {"label": names.get(label, label), "words": " · ".join(word.word for word in words)}
        for label, words in found.words.items()
    ]
    return pd.DataFrame(rows)


def _look(workspace: Workspace, model_id: str) -> None:
    key = f"class_words_{model_id}"
    job: Asked[ClassWords] | None = st.session_state.get(key)
    if job is not None and job.running:
        st.fragment(_progress, run_every=_EVERY)(job)
        return
    if job is not None and job.problem is not None:
        ui.show_error(job.problem)
    st.caption("Nobody has looked yet. It takes about a minute, or less for models that are quick.")
    if st.button("Find the words", key="train_find_words", help="Leaves words out of held-out texts and watches."):
        st.session_state[key] = explaining_jobs.find_class_words(workspace, model_id)
        st.session_state[key].wait(1.0)
        st.rerun()


def _progress(job: Asked[ClassWords]) -> None:
    if not job.running:
        st.rerun()
    st.progress(job.share, text="Leaving words out…")
    if st.button("Stop", key="train_find_words_stop", help="Keeps what has been found by then."):
        job.stop()
