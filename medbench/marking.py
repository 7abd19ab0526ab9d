"""Evidence columns: which words of an item the annotators marked for which label.

A cell is a JSON list of objects with the label ("label" or "code"), the stretches ("spans": [[start, end], ...] in
characters) and, if the file has it, the words themselves ("text"). The stretches may lie in the item's own text or in
another column that holds the same text in the language the annotators read; those are carried over to the item's text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medbench.projection import Stretch, Tell, project
from medbench.records import Mark, join_text

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("evidence", "marks", "mentions")
"""Names of the columns that may hold evidence, best first."""
_SAMPLE = 200
_RIGHT = 0.8
_Cell = list[tuple[str, tuple[Stretch, ...], str]]


def column_of(names: Sequence[str]) -> str | None:
    """Return which of a file's columns holds evidence by its name, or None."""
    return next((name for wanted in COLUMNS for name in names if name.lower() == wanted), None)


def place_marks(frame: pd.DataFrame, clean_label: Callable[[str], str], say: Tell | None = None) -> list[str]:
    """Turn a draft's evidence column, if it has one, into the column "marks"; return what to tell the user.

    The evidence column itself is taken out of the frame: it spells the labels out.
    """
    others = [str(name) for name in frame.columns if str(name).startswith("x_")]
    column = column_of([name.removeprefix("x_") for name in others])
    if column is None:
        return []
    cells = frame[f"x_{column}"].tolist()
    texts = {name.removeprefix("x_"): frame[name].tolist() for name in others if name != f"x_{column}"}
    mine = [frame[name].tolist() for name in ("title", "text", "labels")]
    marks, sentence = marks_of(cells, mine[0], mine[1], mine[2], texts, clean_label, say)
    if not marks:
        return []
    del frame[f"x_{column}"]
    frame["marks"] = marks
    return [sentence]


def marks_of(
    cells: Sequence[str],
    titles: Sequence[str],
    texts: Sequence[str],
    labels: Sequence[Sequence[str]],
    others: Mapping[str, Sequence[str]],
    clean_label: Callable[[str], str],
    say: Tell | None = None,
) -> tuple[list[str], str]:
    """Turn evidence cells into marks on the items' texts.

    Args:
        cells: n evidence cells.
        titles: n titles, cleaned.
        texts: n texts, cleaned.
        labels: The labels of each row; marks for other labels are left out.
        others: The file's other columns, any of which may hold the text that was marked.
        clean_label: The task's one spelling of a label.
        say: Told (share done 0-1, sentence) on the way.

    Returns:
        For each row its marks as JSON, [[label, start, end], ...] in characters of the joined title and text, and a
        sentence that says what was found; both empty when the cells hold no such evidence.
    """
    read = [_read(cell, clean_label) for cell in cells]
    items = [join_text(title, text) for title, text in zip(titles, texts, strict=True)]
    n_read = sum(map(len, read))
    columns = {"": items, **others}
    share = {name: _agreement(read, column) for name, column in columns.items()}
    source = max(share, key=share.__getitem__)
    if not n_read or share[source] < _RIGHT:
        return [], ""
    if source == "":
        places: list[list[Stretch | None]] = [[_hull(spans) for _, spans, _ in row] for row in read]
        how = ""
    else:
        places = project(columns[source], items, [[spans for _, spans, _ in row] for row in read], say)
        how = f", carried over from the column {source}"
    found = [
        [Mark(label, *place) for (label, _, _), place in zip(row, where, strict=True) if place and label in set(mine)]
        for row, where, mine in zip(read, places, labels, strict=True)
    ]
    wanted = sum(label in set(mine) for row, mine in zip(read, labels, strict=True) for label, _, _ in row)
    sentence = f"Marked evidence: {sum(map(len, found)):,} of {wanted:,} marks were placed in the texts{how}."
    return [json.dumps([[one.label, one.start, one.end] for one in row]) for row in found], sentence


def marks_from(cell: str) -> tuple[Mark, ...]:
    """Read what `marks_of` wrote for one row."""
    return tuple(Mark(str(label), int(start), int(end)) for label, start, end in json.loads(cell or "[]"))


def _read(cell: str, clean_label: Callable[[str], str]) -> _Cell:
    try:
        entries = json.loads(cell) if cell else []
    except ValueError:
        return []
    return [found for entry in entries if (found := _entry(entry, clean_label))] if isinstance(entries, list) else []


def _entry(entry: Any, clean_label: Callable[[str], str]) -> tuple[str, tuple[Stretch, ...], str] | None:
    try:
        label = clean_label(str(entry.get("label") or entry["code"]))
        spans = tuple((int(start), int(end)) for start, end in entry["spans"])
        return (label, spans, str(entry.get("text", ""))) if label and spans else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _hull(spans: tuple[Stretch, ...]) -> Stretch:
    return min(start for start, _ in spans), max(end for _, end in spans)


def _agreement(read: Sequence[_Cell], texts: Sequence[str]) -> float:
    """Return the share of quoted words that stand where the spans say; without quotes, of spans inside the text."""
    right = asked = 0
    for row, text in list(zip(read, texts, strict=True))[:_SAMPLE]:
        for _, spans, words in row:
            asked += 1
            shown = " ".join(text[start:end] for start, end in spans)
            right += shown.split() == words.split() if words else _hull(spans)[1] <= len(text)
    return right / asked if asked else 0.0
