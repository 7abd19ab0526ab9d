"""The vocabulary of a dataset on its page: what each label's texts say more often, and rules made of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from medbench import ui, ui_train_form, vocabulary
from medbench.datasets import Dataset
from medbench.records import RunSpec
from medbench.vocabulary import Vocabulary
from medbench.workspace import read_json

if TYPE_CHECKING:
    import pandas as pd

_FIRST = 10


def draw(dataset: Dataset) -> None:
    """Draw the words of all labels, those of one closely, and the way to make rules of them."""
    if not dataset.labels:
        st.info("These rows have no labels, so no words can be told to go with one.")
        return
    left, right = st.columns(2)
    words = left.number_input(
        "Longest term, words", 1, 3, 2, key="vocabulary_words", help="2: “heart” and “heart failure”."
    )
    least = right.number_input(
        "In at least so many texts", 1, 1000, 3, key="vocabulary_least", help="Rarer terms are not looked at."
    )
    mark = dataset.hierarchy.digest if dataset.hierarchy else ""
    with st.spinner("Counting the words…"):
        found = _found(str(dataset.folder), mark, int(words), int(least))
    st.caption(
        f"{ui.count_of(found.n_texts, 'text')} of the train split, {ui.count_of(found.n_terms, 'term')}. The other "
        "splits are not read, so that rules made of these words can be judged on them. What a trained model goes by "
        "stands with its run."
    )
    if not found.terms:
        st.info("No term tells a label's texts from the others.")
        return
    names = dataset.label_names
    st.dataframe(
        _overview(found, names),
        hide_index=True,
        key="vocabulary_all",
        height=min(38 + 35 * len(found.terms), 420),
        column_config={"terms": st.column_config.TextColumn("terms", width="large", help="Most certain first.")},
    )
    _one_label(found, names)
    ui.export(_table(found, names), f"{dataset.id}-vocabulary", "vocabulary")
    _rules(dataset, found, names)


@st.cache_resource(max_entries=8, show_spinner=False)
def _found(folder: str, tree: str, words: int, least: int) -> Vocabulary:
    """Return the vocabulary; the folder names the content, and `tree` what its labels imply."""
    place = Path(folder)
    dataset = Dataset(place, read_json(place / "dataset.json"))
    return vocabulary.of_dataset(dataset, words=words, min_texts=least)


def _overview(found: Vocabulary, names: dict[str, str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "label": names.get(label, label),
                "texts": found.counts[label],
                "terms": " · ".join(one.term for one in terms[:_FIRST]),
            }
            for label, terms in found.terms.items()
        ]
    )


def _table(found: Vocabulary, names: dict[str, str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(found.rows(names), columns=list(vocabulary.COLUMNS))


def _one_label(found: Vocabulary, names: dict[str, str]) -> None:
    label = st.selectbox(
        "Look closer at",
        list(found.terms),
        format_func=lambda one: names.get(one, one),
        key="vocabulary_label",
        help="Each term of one label with its counts.",
    )
    import pandas as pd

    n_texts = found.counts[label]
    frame = pd.DataFrame(
        [
            {
                "term": one.term,
                "log-odds": one.log_odds,
                "95 % interval": f"{one.low:.2f} to {one.high:.2f}",
                "z": one.z,
                "beyond chance": one.beyond_chance,
                "with the label": one.texts,
                "share": 100 * one.share,
                "without it": one.rest,
                "their share": 100 * one.rest_share,
            }
            for one in found.terms[label]
        ]
    )
    percent = {name: st.column_config.NumberColumn(name, format="%.1f %%") for name in ("share", "their share")}
    st.dataframe(
        frame,
        hide_index=True,
        key="vocabulary_one",
        height=min(38 + 35 * len(frame), 420),
        column_config={
            **percent,
            "log-odds": st.column_config.NumberColumn(
                "log-odds", format="%.2f", help="0.7: the odds are twice as high with the label; 2.3: ten times."
            ),
            "z": st.column_config.NumberColumn("z", format="%.1f", help="Log-odds over standard error."),
            "beyond chance": st.column_config.CheckboxColumn(
                "beyond chance", help="Even the largest of so many terms that tell nothing would hardly reach this z."
            ),
            "with the label": st.column_config.NumberColumn("with the label", help=f"Texts, of {n_texts:,}."),
        },
    )


def _rules(dataset: Dataset, found: Vocabulary, names: dict[str, str]) -> None:
    with st.expander("Make rules of these words", key="vocabulary_rules"):
        st.caption(
            "A keyword model goes by these terms alone, with their log-odds as weights. You may change them there."
        )
        most = st.number_input(
            "Terms of each label", 1, vocabulary.KEPT, _FIRST, key="vocabulary_most", help="The most certain ones."
        )
        label = str(st.session_state.get("vocabulary_label") or next(iter(found.terms)))
        own = st.multiselect(
            f"Terms of {names.get(label, label)}",
            [one.term for one in found.terms[label]],
            default=[one.term for one in found.terms[label][: int(most)]],
            key=f"vocabulary_terms_{label}_{most}",
            help="Those of the label chosen above; take out what does not belong.",
        )
        if st.button("Open as a keyword run", key="vocabulary_send", help="Fills the form on the Train page."):
            chosen = {one: [term.term for term in terms[: int(most)]] for one, terms in found.terms.items()}
            rules = vocabulary.lexicon(found, {**chosen, label: own})
            options = {"learn": False, "lexicon": rules}
            ui_train_form.fill(RunSpec(task=dataset.task, family="keywords", dataset=dataset.id, options=options))
            st.switch_page("pages/train.py", query_params={"dataset": dataset.id})
