"""Which column is what: the guess on the user's own first rows, and the boxes to change it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from medbench import mapping as mapping_of
from medbench import ui, uploads
from medbench.records import ColumnMap, LabelStyle
from medbench.tasks import Task
from medbench.uploads import Group

ROWS = 6
CUT = 300
LOOKED_AT = 2_000
STYLES: dict[LabelStyle, str] = {
    "one": "one label in a cell",
    "separated": "several, with a separator",
    "json": 'a list: ["a", "b"]',
    "columns": "one 0/1 column per label",
}
SEPARATORS = {";": "; semicolon", "|": "| bar", ",": ", comma", "/": "/ slash", ":": ": colon"}


def draw(group: Group, key: str, task: Task, *, expanded: bool) -> ColumnMap:
    """Draw one group of files with its map; returns the map as the user has it now."""
    look = group.first
    some = any(one.preview.n_records >= LOOKED_AT for one in group.looks)
    known = f"{'more than ' if some else ''}{ui.count_of(group.n_records, 'record')}"
    names = ui.plain(look.name) if len(group.looks) == 1 else ui.count_of(len(group.looks), "file")
    encoding = f" · {look.encoding}" if look.encoding else ""
    size = ui.size(sum(one.path.stat().st_size for one in group.looks))
    with st.expander(f"**{names}** · {look.reader.title}{encoding} · {size} · {known}", expanded=expanded):
        if len(group.looks) > 1:
            st.caption(
                ui.plain(", ".join(one.name for one in group.looks[:12])) + (" …" if len(group.looks) > 12 else "")
            )
        if not look.preview.columns:
            st.error("No record of this file can be used. The account below says why.")
            return look.preview.mapping
        chosen = _boxes(group, key)
        if chosen.title is None and chosen.text is None:
            st.warning("Choose the column that holds the title or the text.")
        st.markdown("\n".join(f"- {ui.plain(sentence)}" for sentence in _sentences(group, chosen)))
        _rows(group, chosen, task, key)
    return chosen


def _sentences(group: Group, chosen: ColumnMap) -> list[str]:
    """Return what the reader assumed about the file, and what the map means on its records."""
    preview = group.first.preview
    notices = [one for one in preview.sentences if one not in mapping_of.explain(preview.mapping, preview.sample)]
    return [*notices, *mapping_of.explain(chosen, preview.sample)]


def _boxes(group: Group, key: str) -> ColumnMap:
    guessed, columns = group.first.preview.mapping, group.columns
    first, second = st.columns(3), st.columns(3)
    title = _box(
        first[0], "Title", columns, guessed.title, f"{key}_title", "The title. Leave empty when there is none."
    )
    text = _box(first[1], "Abstract or text", columns, guessed.text, f"{key}_text", "What is read and classified.")
    labels = first[2].multiselect(
        "Labels",
        columns,
        default=[column for column in guessed.labels if column in columns],
        key=f"{key}_labels",
        help="The column of the answers. Several when each label has its own 0/1 column. None: nothing to learn from.",
    )
    style, separator = _style(group, key, tuple(labels))
    identity = _box(second[0], "Id", columns, guessed.id, f"{key}_id", "Each item's own id, for example the PMID.")
    kept = _box(
        second[1],
        "Keep together",
        columns,
        guessed.group,
        f"{key}_group",
        "Rows with the same value stay in one split: patient, article.",
    )
    split = _box(
        second[2],
        "The file's own split",
        columns,
        guessed.split,
        f"{key}_split",
        "The column that says train, dev, test.",
    )
    return ColumnMap(title, text, tuple(labels), identity, kept, split, style, separator)


def _box(
    place: DeltaGenerator, label: str, columns: Sequence[str], guessed: str | None, key: str, told: str
) -> str | None:
    chosen: str | None = place.selectbox(
        label,
        columns,
        index=columns.index(guessed) if guessed in columns else None,
        placeholder="none",
        key=key,
        help=told,
    )
    return chosen


def _style(group: Group, key: str, labels: tuple[str, ...]) -> tuple[LabelStyle, str | None]:
    """Draw how labels stand in their cell; begins with what the sample of that column says."""
    if len(labels) != 1:
        return ("columns", None) if labels else ("one", None)
    guessed = group.first.preview.mapping
    style, separator = guessed.label_style, guessed.separator
    if labels != guessed.labels:
        style, separator = mapping_of.guess_labels(labels[0], group.first.preview.sample)
    where = f"{key}_{labels[0]}"
    left, right = st.columns(2)
    options: list[LabelStyle] = ["one", "separated", "json", "columns"]
    chosen = left.selectbox(
        "How labels stand in their cell",
        options,
        index=options.index(style),
        format_func=STYLES.__getitem__,
        key=f"{where}_style",
        help="Look at the labels in the rows below: they must be whole.",
    )
    if chosen != "separated":
        return chosen, None
    known = [*SEPARATORS, *([separator] if separator and separator not in SEPARATORS else [])]
    mark = right.selectbox(
        "Separator",
        known,
        index=known.index(separator or ";"),
        format_func=lambda one: SEPARATORS.get(one, one),
        accept_new_options=True,
        key=f"{where}_separator",
        help="What stands between two labels. You can type another one.",
    )
    return chosen, mark or ";"


def _rows(group: Group, chosen: ColumnMap, task: Task, key: str) -> None:
    """Show the first rows as they are understood, and as they stand in the file."""
    look = group.first
    rows = uploads.understood(look, chosen, task.clean_label, ROWS)
    used = {"line", "title", "text", "labels", "id", "group", "split"}
    used -= {name for name in used if not any(row[name] for row in rows)}
    shown = [{name: _short(value) for name, value in row.items() if name in used} for row in rows]
    st.caption("The first rows, as they are understood now")
    st.dataframe(
        shown,
        hide_index=True,
        key=f"{key}_understood",
        column_config={
            "line": st.column_config.TextColumn("line", width=60),
            "labels": st.column_config.TextColumn("labels", width=190),
            "title": st.column_config.TextColumn("title", width=300),
        },
    )
    if st.toggle(
        "Show all columns as they stand in the file", key=f"{key}_raw", help="The first rows, nothing changed."
    ):
        raw = [{name: _short(value) for name, value in row.items()} for row in look.preview.rows[:ROWS]]
        st.dataframe(raw, hide_index=True, key=f"{key}_raw_rows")


def _short(text: str) -> str:
    return text if len(text) <= CUT else f"{text[:CUT]}…"
