"""What labels are called, learnt from a column that stands beside them: "label_names" beside "labels"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from medbench import mapping as mapping_of
from medbench.labelcells import pieces_of
from medbench.records import ColumnMap, Record


def learn(
    mapping: ColumnMap, records: Sequence[Record], clean_label: Callable[[str], str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Learn code -> name from a parallel column, when both always have equally many entries.

    Args:
        mapping: Where the labels stand.
        records: The file's records.
        clean_label: The task's one spelling of a label.

    Returns:
        The column's name, if there is one and it fits, and the names.
    """
    nothing: tuple[tuple[str, ...], dict[str, str]] = ((), {})
    if not mapping.labels or mapping.label_style == "columns":
        return nothing
    beside = _column(mapping.labels[0], mapping_of.columns_of(records[:100]))
    if beside is None:
        return nothing
    found: dict[str, str] = {}
    for record in records:
        codes = pieces_of(mapping, record.first(mapping.labels[0]))
        cell = record.first(beside).strip()
        texts = [cell] if len(codes) == 1 else _as_many(cell, len(codes))
        if len(texts) != len(codes):
            continue
        for code, text in zip(codes, texts, strict=True):
            if found.setdefault(clean_label(code), text) != text:
                return nothing
    return (beside,), {code: text for code, text in found.items() if text}


def _column(labels: str, columns: Sequence[str]) -> str | None:
    stem = labels.lower().removesuffix("s").removesuffix("_code")
    wanted = {f"{stem}_names", f"{stem}_name", f"{stem}names", f"{stem}name", f"{stem}s_names"}
    return next((column for column in columns if column.lower().replace(" ", "_") in wanted), None)


def _as_many(cell: str, count: int) -> list[str]:
    for separator in ("|", ";", ","):
        parts = [part.strip() for part in cell.split(separator)]
        if len(parts) == count:
            return parts
    return []
