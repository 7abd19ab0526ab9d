"""Cleaning of titles and texts. Each step counts the rows it changed; numbers, case and wording are never touched."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u2060\ufeff]")
_TAG = re.compile(
    r"</?(?:i|b|u|em|strong|sub|sup|p|br|div|span|h[1-6]|ul|ol|li|sec|title|italic|bold|jats:[a-z-]+|abstracttext)"
    r"(?:\s+[\w:-]+\s*=[^<>]{0,200})?\s*/?>",
    re.IGNORECASE,
)
_BREAKING_TAG = re.compile(r"</?(?:p|br|div|h[1-6]|li|sec|title|jats:(?:p|sec|title)|abstracttext)\b", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
_LIGATURE = re.compile("[" + "".join(_LIGATURES) + "]")
_SPACES = re.compile(
    r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]{2,}|[\t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]"
)
_LINE_EDGES = re.compile(r" *\n *")
_MANY_LINES = re.compile(r"\n{3,}")
_PLACEHOLDER = re.compile(
    r"[\[(]?\s*(?:no abstract(?: is)?(?: available)?|abstract (?:is )?not available|no abstract provided"
    r"|n/?a|null|none|nan)\s*\.?\s*[\])]?",
    re.IGNORECASE,
)
_STEPS = {
    "control": "Removed control and invisible characters",
    "tags": "Removed HTML or XML tags",
    "entities": "Replaced HTML entities (&amp;) by their characters",
    "ligatures": "Spelled out ligatures (ﬁ → fi)",
    "hyphens": "Removed soft hyphens",
    "unicode": "Composed accented letters (Unicode NFC)",
    "spaces": "Folded white space",
    "placeholder": "Emptied placeholders such as “[No abstract available]”",
}


@dataclass(slots=True)
class Cleaner:
    """Cleans the texts of rows and keeps count.

    Attributes:
        counts: Step -> number of rows changed by it.
    """

    counts: Counter[str] = field(default_factory=Counter)

    def row(self, *texts: str) -> tuple[str, ...]:
        """Return the texts of one row cleaned; a step that changed any of them counts once."""
        done: set[str] = set()
        cleaned = tuple(_clean(text, done) for text in texts)
        self.counts.update(done)
        return cleaned

    def sentences(self) -> list[str]:
        """Return one sentence per step that changed something: "Folded white space in 12 rows."."""
        return [
            f"{sentence} in {self.counts[step]:,} row{'s' if self.counts[step] != 1 else ''}."
            for step, sentence in _STEPS.items()
            if self.counts[step]
        ]


def clean_text(text: str) -> str:
    """Return one text cleaned, without counting."""
    return _clean(text, set())


def _clean(text: str, done: set[str]) -> str:
    if not text:
        return text
    if "&" in text and _ENTITY.search(text):
        text = _step(text, _ENTITY.sub(lambda found: html.unescape(found.group()), text), "entities", done)
    if "<" in text:
        text = _step(text, _TAG.sub(_tag_gap, text), "tags", done)
    if not text.isascii():
        text = _step(text, text.replace("\u00ad", ""), "hyphens", done)
        text = _step(text, _LIGATURE.sub(lambda found: _LIGATURES[found.group()], text), "ligatures", done)
        if not unicodedata.is_normalized("NFC", text):
            text = _step(text, unicodedata.normalize("NFC", text), "unicode", done)
    text = _step(text, _CONTROL.sub("", text), "control", done)
    text = _step(text, _fold(text), "spaces", done)
    if len(text) < 40 and _PLACEHOLDER.fullmatch(text):
        text = _step(text, "", "placeholder", done)
    return text


def _tag_gap(found: re.Match[str]) -> str:
    return " " if _BREAKING_TAG.match(found.group()) else ""


def _fold(text: str) -> str:
    """Fold runs of blanks, keep line breaks (at most one empty line), trim the ends."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _SPACES.sub(" ", text)
    if "\n" in text:
        text = _MANY_LINES.sub("\n\n", _LINE_EDGES.sub("\n", text))
    return text.strip()


def _step(before: str, after: str, name: str, done: set[str]) -> str:
    if before != after:
        done.add(name)
    return after
