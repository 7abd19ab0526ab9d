"""How labels stand in a cell: one, separated, or a list."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from medbench.records import AnswerKind, ColumnMap, LabelStyle

MAX_LABEL_WORDS = 8
_SURE_SEPARATORS = (";", "|")
_UNSURE_SEPARATORS = (",", "/")
# Codes of ICD-10-CM, ICD-9-CM and ICD-10-PCS, with or without dot: in a cell they need not come back in others.
_CODE_SEPARATORS = (",", " ")
_CODE = re.compile(
    r"(?:icd\w+:)?(?:[a-z]\d[0-9a-z](?:\.?[0-9a-z]{1,4})?|[ev]?\d{2,3}(?:\.?\d{1,2})?|[0-9a-hj-np-z]{7})", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class LabelRules:
    """What a task says about the labels of a file.

    Attributes:
        cleaner: Given the file's labels as they stand there, returns their cleaning.
        remarks: Given the dataset's cleaned labels, returns what the user should know, one sentence each.
        answers: Kinds of answer the task allows; data with one label in each row may still be of a task with many.
    """

    cleaner: Callable[[Collection[str]], Callable[[str], str]]
    remarks: Callable[[Sequence[str]], list[str]]
    answers: tuple[AnswerKind, ...]


def label_style(cells: Sequence[str]) -> tuple[LabelStyle, str | None]:
    """Return how labels stand in these cells: the style and, when separated, the separator."""
    some = [cell for cell in cells if cell]
    if some and sum(json_list(cell) is not None for cell in some) >= 0.8 * len(some):
        return "json", None
    for separator in _SURE_SEPARATORS:
        held = [cell for cell in some if separator in cell.strip(separator + " ")]
        pieces = [piece for cell in held for piece in split(cell, separator)]
        if held and all(len(piece.split()) <= MAX_LABEL_WORDS for piece in pieces):
            return "separated", separator
    for separator in _CODE_SEPARATORS:
        pieces = [piece for cell in some for piece in split(cell, separator)]
        if len(pieces) > len(some) and all(_CODE.fullmatch(piece) for piece in pieces):
            return "separated", separator
    for separator in _UNSURE_SEPARATORS:
        if _recurs(some, separator):
            return "separated", separator
    return "one", None


def _recurs(cells: Sequence[str], separator: str) -> bool:
    """Tell whether the parts between separators come back in other combinations, as labels do and names do not."""
    wholes = set(cells)
    held_by: dict[str, set[str]] = {}
    for whole in wholes:
        for piece in split(whole, separator):
            held_by.setdefault(piece, set()).add(whole)
    parts = {piece for whole in wholes if separator in whole for piece in split(whole, separator)}
    if not parts or any(len(piece.split()) > MAX_LABEL_WORDS for piece in parts):
        return False
    return sum(len(held_by[piece]) >= 2 for piece in parts) >= 0.8 * len(parts)


def split(cell: str, separator: str) -> list[str]:
    """Return the parts of a cell between separators, trimmed, blanks left out."""
    return [piece.strip() for piece in cell.split(separator) if piece.strip()]


def json_list(cell: str) -> list[str] | None:
    """Return the entries of '["a", "b"]' or "['a', 'b']" as strings; None when the cell is not such a list."""
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and all(isinstance(entry, str | int | float) for entry in found):
            return [str(entry) for entry in found]
    return None


def pieces_of(mapping: ColumnMap, cell: str) -> list[str]:
    """Return the labels, uncleaned, that stand in one cell of the label column."""
    cell = cell.strip()
    if not cell:
        return []
    if mapping.label_style == "json":
        listed = json_list(cell)
        return [cell] if listed is None else listed
    if mapping.label_style == "separated" and mapping.separator:
        return split(cell, mapping.separator)
    return [cell]
