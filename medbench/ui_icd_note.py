"""The note beside its codes: click a code and its words light up, click a word and its codes light up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import streamlit as st

from medbench import ui
from medbench.code_sheet import CodeSheet
from medbench.codes import Code
from medbench.coding import Apart, CodedNote, Evidence, Proposal
from medbench.coding_history import digest

_ASSETS = files("medbench") / "assets"
_note_and_codes = st.components.v2.component(
    "medbench_icd_note",
    html='<div class="mb-icd"><div class="mb-icd-text" tabindex="0"></div><div class="mb-icd-codes"></div></div>',
    css=(_ASSETS / "icd_note.css").read_text(encoding="utf-8"),
    js=(_ASSETS / "icd_note.js").read_text(encoding="utf-8"),
)
NOTHING = "No code was found in this note. Add codes below."
UNSUPPORTED = "⚠️ No words of the note support it."
UNSOUGHT = "Its words were not looked for: the note is long."


def draw_note(
    coded: CodedNote,
    sheet: CodeSheet,
    find: Callable[[str], Sequence[Code]],
    decide: Callable[[str, str, str], None],
    undo: Callable[[], None],
    key: str,
) -> None:
    """Draw the note and its codes.

    Args:
        coded: The note with its proposals.
        sheet: What has been decided so far.
        find: Words -> codes, for the type-ahead.
        decide: Told (act, label, new label) before the page is drawn anew.
        undo: Takes the last act back.
        key: Prefix of the widget keys; a new note needs a new one.
    """
    place = f"{key}_note"

    def acted() -> None:
        act = dict(st.session_state[place].get("act") or {})
        decide(str(act.get("kind", "")), str(act.get("label", "")), str(act.get("to", "")))

    query = dict((st.session_state.get(place) or {}).get("query") or {})
    words = str(query.get("words", "")).strip()
    hits = [{"label": code.label, "code": code.code, "text": code.text} for code in (find(words) if words else ())]
    _note_and_codes(
        data={**as_data(coded, sheet), "query": query, "hits": hits},
        key=place,
        on_act_change=acted,
        on_undo_change=undo,
        on_query_change=lambda: None,
    )


def as_data(coded: CodedNote, sheet: CodeSheet) -> dict[str, Any]:
    """Return what the component draws, positions in UTF-16 units, which is how a browser counts characters."""
    units = _Units(coded.text)
    marks = [
        _mark(units, one.code, each, f"{one.code.code} {one.code.text}")
        for one in coded.proposals
        for each in one.evidence
    ]
    marks += [
        _mark(units, one.code, each, f"{one.code.code}: {_why(each)}") for one in coded.apart for each in one.mentions
    ]
    return {
        "note": f"{digest(coded.text)} {coded.model}",
        "text": coded.text,
        "marks": marks,
        "codes": [_card(one, sheet) for one in coded.proposals],
        "apart": [_apart_card(one, sheet) for one in coded.apart],
        "nothing": NOTHING,
    }


class _Units:
    """Code points -> UTF-16 units; the two differ behind characters such as emoji."""

    def __init__(self, text: str) -> None:
        self._wide = [at for at, letter in enumerate(text) if ord(letter) > 0xFFFF]

    def at(self, position: int) -> int:
        from bisect import bisect_left

        return position + bisect_left(self._wide, position)


def _mark(units: _Units, code: Code, one: Evidence, title: str) -> dict[str, Any]:
    place = {"start": units.at(one.start), "end": units.at(one.end)}
    return {**place, "label": code.label, "status": one.status, "title": title}


def _why(one: Evidence) -> str:
    words = {"negated": "denied", "family": "a relative's", "historical": "past", "uncertain": "uncertain"}
    return f"{words.get(one.status, one.status)} (“{one.trigger}”)" if one.trigger else words.get(one.status, "")


def _card(one: Proposal, sheet: CodeSheet) -> dict[str, Any]:
    code = one.code
    replaced = sheet.replaced(code.label)
    category = (code.category or "").partition(":")[2]
    return {
        "label": code.label,
        "code": code.code,
        "text": code.text,
        "share": one.share,
        "facts": facts_of(one) + (f" · replaced by {replaced.partition(':')[2]}" if replaced else ""),
        "warning": "" if one.evidence else UNSUPPORTED if one.sought else UNSOUGHT,
        "standing": sheet.standing(code.label),
        "category": category if category and category != code.code else "",
    }


def _apart_card(one: Apart, sheet: CodeSheet) -> dict[str, Any]:
    return {
        "label": one.code.label,
        "code": one.code.code,
        "text": one.code.text,
        "why": _why(one.evidence),
        "standing": "accepted" if one.code.label in sheet.chosen else "open",
        "also": [{"code": code.code, "text": code.text} for code in one.also],
    }


def facts_of(one: Proposal) -> str:
    """Return what is known of a proposal in one line: probability, billable or not, how often it was seen."""
    parts = []
    if one.probability is not None:
        shown = "over 0.99" if one.probability > 0.99 else f"{one.probability:.2f}"
        parts.append(f"probability {shown}")
    if one.match is not None:
        parts.append(f"dictionary match {one.match:.2f}")
    parts.append("billable" if one.code.billable else "not billable: a finer code exists")
    if one.seen is not None:
        parts.append("never seen in training" if one.seen == 0 else f"seen {ui.count_of(one.seen, 'time')} in training")
    return " · ".join(parts)
