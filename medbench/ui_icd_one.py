"""One note on the ICD page: where it comes from, its codes, what was settled on, and the ways out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from medbench import codes, coding, fhir, ui, ui_icd, ui_icd_note
from medbench.code_sheet import CodeSheet
from medbench.codes_references import Conflict, named
from medbench.coding import CodedNote
from medbench.coding_exports import as_csv, as_fhir, as_json, as_pdf, chosen
from medbench.errors import MedbenchError
from medbench.note_files import LARGEST, NoteFile, note_of
from medbench.ui_icd import Coder
from medbench.workspace import Workspace

_KEYS = "Keys: ↑ ↓ move · A accept · X reject · E replace · B back off to the category · F first · U undo"
_CONFLICT = {"excludes1": "⛔", "code_first": "↕️", "finer": "🔎"}


def draw_one(workspace: Workspace, coder: Coder) -> None:
    """Draw the boxes for a note, and its codes once there is one."""
    _take(workspace, coder)
    if ui_icd.current(workspace) is None:
        ui.empty("Paste a note or drop a file. The codes come out beside it, each with the words that support it.")
        return
    _worked_on(workspace, coder)


def _take(workspace: Workspace, coder: Coder) -> None:
    """Draw the boxes, and find codes when asked to; a problem is told and leaves what stands below as it is."""
    read: NoteFile | None = st.session_state.pop("icd_read", None)
    if read is not None:
        # The box is drawn after this: a text that came from a file has to be put there before.
        st.session_state["icd_text"] = read.text
    paste, drop = st.columns([3, 1])
    # No default is put into the session: after a restart of the server it would wipe what stands in an open browser.
    text = paste.text_area(
        "Clinical note",
        key="icd_text",
        height=170,
        help="What is coded. It stays on this machine.",
        placeholder="Paste a discharge summary, a letter or a report here.",
        persist_state="session",
    )
    uploaded = drop.file_uploader(
        "Or a file",
        type=["pdf", "txt"],
        max_upload_size=LARGEST // 1_000_000,
        key=f"icd_file_{st.session_state.get('icd_files', 0)}",
        help="A PDF or a text file with one document in it. Read on this machine; a scan has no text and says so.",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Find codes", key="icd_go", type="primary", shortcut="ctrl+enter", help="Propose codes (Ctrl + Enter)."
        )
        st.button("Use an example", key="icd_example", on_click=_example, help="An invented discharge summary.")
    if uploaded is not None:
        _read(uploaded.name, uploaded.getvalue())
    try:
        if problem := st.session_state.pop("icd_problem", None):
            raise problem
        if pressed or st.session_state.pop("icd_again", False):
            ui_icd.begin(workspace, text, coder, read)
    except MedbenchError as error:
        ui.show_error(error)


def _read(name: str, data: bytes) -> None:
    """Read a dropped file and draw the page again with its text and its codes, or with what is wrong with it."""
    bar = st.progress(0.0, f"Reading {ui.plain(name)}")
    try:
        st.session_state["icd_read"] = note_of(name, data, ui.teller(bar))
        st.session_state["icd_again"] = True
    except MedbenchError as error:
        st.session_state["icd_problem"] = error
    st.session_state["icd_files"] = st.session_state.get("icd_files", 0) + 1  # empties the box for files
    st.rerun()


def _example() -> None:
    st.session_state["icd_text"] = ui_icd.EXAMPLE
    st.session_state.pop("icd_coded", None)


@st.fragment
def _worked_on(workspace: Workspace, coder: Coder) -> None:
    """Draw the note, its codes and the chosen set; only this part is drawn again when a code is decided on."""
    with ui.guarded():
        found = ui_icd.current(workspace)
        if found is None:
            return
        coded, sheet = found
        _say(coded, coder)
        ui_icd_note.draw_note(
            coded,
            sheet,
            partial(ui_icd.find, version=coded.version),
            partial(ui_icd.decide, workspace),
            partial(ui_icd.undo, workspace),
            f"icd_{st.session_state.get('icd_round', 0)}",
        )
        st.caption(_KEYS)
        _chosen(workspace, coded, sheet)


def _say(coded: CodedNote, coder: Coder) -> None:
    told = []
    if coded.text != st.session_state.get("icd_text") or st.session_state.get("icd_coded_by", coder) != coder:
        told.append("The codes below belong to the note, or to the coder, as it was before your last change.")
    if coded.needs_human:
        told.append("👤 **A person should code this note**" + (f": {ui.plain(coded.why)}." if coded.why else "."))
    told += [ui.plain(remark) for remark in (*ui_icd.file_remarks(coded), *coded.remarks)]
    for sentence in told:
        st.markdown(sentence)
    ui.behind(coded.stands)
    held = " · ".join(f"{table}, {release}" for table, release in coded.releases.items())
    count = ui.count_of(len(coded.proposals), "code")
    shown = f"The first {count}; there may be more" if len(coded.proposals) == coding.MOST else count
    st.caption(f"{shown}. {coded.seconds:.1f} s. {held}.")


def _chosen(workspace: Workspace, coded: CodedNote, sheet: CodeSheet) -> None:
    st.subheader("Codes you settled on", anchor=False)
    held = codes.tables()
    for conflict in held.conflicts(sheet.chosen):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(
                f"{_CONFLICT.get(conflict.kind, '⚠️')} {ui.plain(conflict.sentence)}",
                help=ui.plain(conflict.note) or None,
                width="content",
            )
            for label, *act in _ways_out(held, conflict):
                st.button(
                    label,
                    key="_".join(("icd_fix", conflict.kind, *act)),
                    on_click=ui_icd.decide,
                    args=(workspace, *act),
                    help="Settles it; Undo takes it back.",
                )
    rows = chosen_rows(coded, sheet)
    if rows:
        import pandas as pd

        st.dataframe(pd.DataFrame(rows), hide_index=True, key="icd_chosen")
    else:
        st.caption("None yet: accept codes above, or add one here.")
    _wanted(held, sheet)
    _add(workspace, coded.version)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Your initials", key="icd_who", help="Kept with every decision.", persist_state="session", width=140
        )
        st.button(
            "Undo",
            key="icd_undo",
            disabled=not sheet.acts,
            on_click=ui_icd.undo,
            args=(workspace,),
            help="Take the last decision back (U).",
        )
        whole: tuple[Any, ...] = (coded, sheet)
        ui.download("CSV", lambda: as_csv(*whole), "codes.csv", "icd_csv", "text/csv", help="The codes, one a row.")
        ui.download("JSON", lambda: as_json(*whole), "codes.json", "icd_json", "application/json", help="Everything.")
        ui.download(
            "FHIR", lambda: as_fhir(*whole), "conditions.json", "icd_fhir", "application/json",
            help="A bundle of Condition resources (FHIR R4).",
        )  # fmt: skip
        ui.download(
            "PDF report", lambda: as_pdf(*whole), "codes.pdf", "icd_pdf", "application/pdf",
            help="The note with its evidence, and the codes.",
        )  # fmt: skip


def _ways_out(held: codes.Tables, conflict: Conflict) -> list[tuple[str, str, str, str]]:
    """Return (words of the button, act, label, new label) of what would settle a conflict."""
    labels = conflict.labels
    printed = [label.partition(":")[2] for label in labels]
    if conflict.kind == "excludes1":
        return [(f"Remove {code}", "reject", label, "") for code, label in zip(printed, labels, strict=True)]
    if conflict.kind == "code_first" and len(labels) > 1:
        return [(f"Put {printed[1]} first", "first", labels[1], "")]
    usual = held.usual(labels[0]) if conflict.kind == "finer" else None
    return [(f"Use {usual.code} {ui.plain(usual.text)}", "replace", labels[0], usual.label)] if usual else []


def _wanted(held: codes.Tables, sheet: CodeSheet) -> None:
    """Draw the notes "use additional code" and "code also" of the chosen codes that no chosen code answers."""
    told = []
    for label in sheet.chosen:
        notes, others = held.notes(label), [other.partition(":")[2] for other in sheet.chosen if other != label]
        lines = [
            line
            for line in (*notes.use_additional, *notes.code_also)
            if not any(named(line, other) for other in others)
        ]
        told += [f"- **{label.partition(':')[2]}**: {ui.plain(line)}" for line in lines]
    if told:
        with st.expander(f"➕ {ui.count_of(len(told), 'note')} on additional codes", key="icd_wanted"):
            st.caption("Add a code only if the note of the patient says so.")
            st.markdown("\n".join(told))


def chosen_rows(coded: CodedNote, sheet: CodeSheet) -> list[dict[str, Any]]:
    """Return what the exports carry, in the words of the page."""
    return [
        {
            "code": row["code"],
            "description": row["text"],
            "table": codes.TITLES[row["version"]],
            "billable": "yes" if row["billable"] else "no",
            "words in the note": row["evidence"] or "none",
            "by": row["who"] or "–",
            "when": ui_icd.moment(sheet.settled_by(one.label).at),
        }
        for one in chosen(coded, sheet)
        for row in fhir.rows([one])
    ]


def _add(workspace: Workspace, version: codes.Version) -> None:
    words = st.text_input(
        "Add a code",
        key="icd_add",
        help="Words, a code or its beginning. Press Enter to look.",
        placeholder="e.g. kidney failure, or N17",
    )
    if not words.strip():
        return
    hits: Sequence[codes.Code] = ui_icd.find(words, version)
    if not hits:
        st.caption("No code found for these words.")
    for code in hits:
        billable = "" if code.billable else " · not billable"
        st.button(
            f"{code.code} · {ui.plain(code.text)}{billable}",
            key=f"icd_add_{code.label}",
            type="tertiary",
            on_click=_added,
            args=(workspace, code.label),
            help="Add this code.",
        )


def _added(workspace: Workspace, label: str) -> None:
    ui_icd.decide(workspace, "add", label)
    st.session_state["icd_add"] = ""
