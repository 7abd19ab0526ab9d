"""The medical terms of a text, marked where they stand, with the lists that are looked up."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from medbench import dictionaries, entities, entity_files, terms_reading, ui
from medbench.entities import Entity
from medbench.errors import MedbenchError
from medbench.predicting import Loaded
from medbench.records import Item
from medbench.workspace import Workspace

# Colour and line: told apart without colours, too.
_LOOK = {
    "present": ("11, 122, 134", "solid"),
    "negated": ("120, 120, 120", "dashed"),
    "family": ("124, 58, 173", "double"),
    "historical": ("150, 95, 20", "dotted"),
    "uncertain": ("190, 120, 0", "wavy"),
}
_STYLE = """<style>.mb-terms {white-space: pre-wrap; line-height: 1.9; max-width: 56rem;}
.mb-terms mark {color: inherit; border-radius: .2rem; padding: .05rem .1rem; text-underline-offset: .2rem;
  text-decoration-thickness: 2px;}</style>"""


def draw(workspace: Workspace, loaded: Loaded, item: Item, key: str) -> None:
    """Draw the toggle, and what it shows: the text with its terms, the table, the way to add a list."""
    shown = st.toggle(
        "🔬 Medical terms in this text",
        key=f"{key}_terms",
        help="Marks what the text names, by the ICD-10-CM tables, your lists of terms and the labels of the model, and "
        "whether it is present, denied, a relative's, past or uncertain. No model is asked.",
    )
    if not shown:
        return
    with ui.guarded():
        chosen, scispacy = _sources(workspace, key)
        with st.spinner("Looking up the terms…"):
            held = [dictionaries.load(workspace, one) for one in chosen]
            held.append(entities.of_labels(loaded.card.get("label_names", {})))
            found = entities.find(item.joined, held, scispacy=scispacy)
        if not found:
            st.info("No term of these lists stands in the text.")
            return
        st.html(
            f'{_STYLE}<p class="mb-terms">{legend(found)}</p><div class="mb-terms">{marked(item.joined, found)}</div>'
        )
        table = _table(found)
        st.dataframe(table, hide_index=True, key=f"{key}_terms_table", height=min(38 + 35 * len(table), 320))
        ui.download(
            "These terms as CSV", lambda: _csv(found), "terms.csv", f"{key}_terms_csv", "text/csv", "A line each."
        )


def _sources(workspace: Workspace, key: str) -> tuple[list[str], str]:
    """Draw what is looked up; return the ids of the lists and the scispaCy model, "" for none."""
    cards = {str(card["id"]): card for card in dictionaries.cards(workspace)}
    left, right = st.columns(2)
    chosen = left.multiselect(
        "Lists of terms",
        list(cards),
        default=list(cards),
        format_func=lambda one: f"{cards[one]['name']} · {cards[one]['concepts']:,} concepts",
        key=f"{key}_terms_lists",
        placeholder="none yet" if not cards else "none",
        help="Beside ICD-10-CM and the labels of the model.",
    )
    models = entities.scispacy_models()
    scispacy = right.selectbox(
        "scispaCy",
        models,
        index=None,
        key=f"{key}_terms_scispacy",
        placeholder="not used" if models else "not installed",
        disabled=not models,
        help="Adds what a scispaCy model marks. It is used when scispacy and one of its models are installed.",
    )
    with st.popover("Add a list of terms", help="It stays on this machine."):
        _add(workspace, key)
    return list(chosen), scispacy or ""


def _add(workspace: Workspace, key: str) -> None:
    name = st.text_input("Name", key=f"{key}_terms_name", help="For example MeSH.")
    file = st.file_uploader(
        "MeSH descriptors or a table of terms",
        key=f"{key}_terms_file",
        help="d2026.bin or desc2026.xml as the NLM gives them, or a CSV or TSV with the column term, and id and name.",
        max_upload_size=1000,
    )
    if st.button("Keep this list", key=f"{key}_terms_keep", disabled=file is None, type="primary") and file is not None:
        with tempfile.TemporaryDirectory() as folder, st.spinner("Reading the terms…"):
            path = Path(folder) / "terms"
            path.write_bytes(file.getbuffer())
            try:
                listed = terms_reading.read_terms(path, file.name)
                made = dictionaries.made(name.strip() or file.name.split(".")[0], listed)
                dictionaries.keep(workspace, made, file.name)
            except MedbenchError as error:
                ui.show_error(error)
                return
        st.session_state.pop(f"{key}_terms_lists", None)
        st.rerun()


def file_of_terms(workspace: Workspace, path: Path, name: str) -> bytes:
    """Return a file with the terms of each record as columns, in its own format where that can be written."""
    held = [dictionaries.load(workspace, str(card["id"])) for card in dictionaries.cards(workspace)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"terms{Path(name).suffix}"
        entity_files.annotate(path, out, lambda text: entities.find(text, held), name=name)
        return out.read_bytes()


def marked(text: str, found: Sequence[Entity]) -> str:
    """Return the text as escaped HTML with its entities marked by status; pointing at one shows what it means."""
    pieces, at = [], 0
    for one in found:
        meant = "; ".join(f"{concept.name} [{concept.id or '–'}, {concept.source}]" for concept in one.concepts)
        title = f"{entities.STATUSES[one.status]}: {meant}"
        pieces.append(ui.escape(text[at : one.start]))
        pieces.append(_mark(one.status, ui.escape(one.text), ui.escape(title)))
        at = one.end
    return "".join([*pieces, ui.escape(text[at:])])


def _mark(status: str, words: str, title: str) -> str:
    colour, line = _LOOK[status]
    style = f"background: rgba({colour}, .16); text-decoration: underline {line} rgb({colour})"
    return f'<mark style="{style}" title="{title}">{words}</mark>'


def legend(found: Sequence[Entity]) -> str:
    """Return the key to the marks that occur, as HTML."""
    held = {one.status for one in found}
    return " ".join(_mark(status, words, words) for status, words in entities.STATUSES.items() if status in held)


def _table(found: Sequence[Entity]) -> list[dict[str, str]]:
    return [
        {
            "words": one.text,
            "is": entities.STATUSES[one.status],
            "means": "; ".join(concept.name for concept in one.concepts),
            "id": "; ".join(concept.id or "–" for concept in one.concepts),
            "source": "; ".join(concept.source for concept in one.concepts),
        }
        for one in found
    ]


def _csv(found: Sequence[Entity]) -> bytes:
    import pandas as pd

    return ui.csv_bytes(pd.DataFrame(entities.rows(found), columns=list(entities.ROWS)))
