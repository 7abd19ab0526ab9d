"""The code tables to look things up in: search by words, typos or the beginning of a code; tree, notes, mappings."""

from __future__ import annotations

import streamlit as st

from medbench import codes, ui, ui_icd
from medbench.codes import Code, Notes

_SAID = (
    ("inclusion", "Also called"),
    ("includes", "Includes"),
    ("excludes1", "Excludes1: never together with this code"),
    ("excludes2", "Excludes2: not included here, may be coded beside it"),
    ("code_first", "Code first"),
    ("use_additional", "Use additional code"),
    ("code_also", "Code also"),
    ("note", "Note"),
    ("seventh_note", "Seventh character"),
)
_CHILDREN = 60


def draw_codes() -> None:
    """Draw the search box, what it finds, and the code that was opened."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            "Find a code",
            key="icd_search",
            help="Words (typos are forgiven), a code, or the beginning of one. Press Enter.",
            placeholder="e.g. type 2 diabetes, hart failure, E11",
            on_change=_close,
            persist_state="session",
        )
        version = st.selectbox(
            "Table",
            codes.VERSIONS,
            format_func=codes.TITLES.__getitem__,
            key="icd_table",
            help="Which classification to look in.",
            width=220,
        )
    held = codes.tables()
    st.caption(f"{codes.TITLES[version]}, {held.release(version)}; {len(held.labels(version)):,} codes and categories.")
    opened = st.session_state.get("icd_opened")
    code = held.get(opened) if opened else None
    if code is not None:
        # Above the list: below it, a click would seem to do nothing.
        with st.container(border=True):
            _opened(held, code)
    if words.strip():
        _found(words, version)
    elif code is None:
        ui.empty("Type what you are looking for. A code opens with its place in the tree, its notes and its mappings.")


def _found(words: str, version: codes.Version) -> None:
    hits = ui_icd.find(words, version, 12)
    if not hits:
        st.info("No code found for these words. Try fewer or other words.")
    with st.container(gap="xxsmall"):
        for hit in hits:
            _line(hit, "hit")


def _line(code: Code, place: str) -> None:
    billable = "" if code.billable else " · not billable"
    st.button(
        f"{code.code} · {ui.plain(code.text)}{billable}",
        key=f"icd_{place}_{code.label}",
        type="tertiary",
        on_click=_open,
        args=(code.label,),
        help="Open it.",
    )


def _open(label: str) -> None:
    st.session_state["icd_opened"] = label


def _close() -> None:
    st.session_state.pop("icd_opened", None)


def _opened(held: codes.Tables, code: Code) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        st.subheader(f"{code.code} {ui.plain(code.text)}", anchor=False, width="content")
        st.button("Close", key="icd_close", on_click=_close, help="Back to the list.")
    kind = "billable" if code.billable else "not billable: choose a finer code"
    st.caption(f"{codes.TITLES[code.version]}, {code.kind}, {kind}.")
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Where it stands**")
        for above in reversed(held.ancestors(code.label)):
            _line(above, "above")
        below = held.children(code.label)
        if below:
            st.markdown("**Finer codes**")
        for one in below[:_CHILDREN]:
            _line(one, "below")
        if len(below) > _CHILDREN:
            st.caption(f"… {len(below) - _CHILDREN} more.")
    with right:
        _notes(held.notes(code.label))
        _mappings(held, code)


def _notes(notes: Notes) -> None:
    for name, title in _SAID:
        lines: tuple[str, ...] = getattr(notes, name)
        if lines:
            st.markdown(f"**{title}**")
            st.markdown("\n".join(f"- {ui.plain(line)}" for line in lines))
    if notes.seventh:
        st.markdown("**Seventh characters**")
        st.markdown("\n".join(f"- {ui.plain(char)}: {ui.plain(meaning)}" for char, meaning in notes.seventh))


def _mappings(held: codes.Tables, code: Code) -> None:
    group = held.ccsr(code.label)
    if group is not None:
        st.markdown(f"**CCSR group:** {group.category}, {ui.plain(group.system)}")
    offers = held.to_icd10(code.label)
    if offers:
        st.markdown("**In ICD-10-CM (general equivalence mapping)**")
        for offer in offers:
            about = " (about the same)" if offer.approximate else ""
            st.markdown(f"- {offer.code.code} {ui.plain(offer.code.text)}{about}")
