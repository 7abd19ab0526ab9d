"""What is known of a patient beside the picture: age, sex and site, in one spelling, from the columns files use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

FACTS = ("age", "sex", "site")
_COLUMNS = {
    "age": ("age", "age_approx", "age_years", "patient_age"),
    "sex": ("sex", "gender", "patient_sex"),
    "site": (
        "localization",
        "localisation",
        "anatom_site_general",
        "anatom_site_general_challenge",
        "anatom_site",
        "anatom_site_1",
        "site",
        "body_site",
        "location",
    ),
}
UNKNOWN = frozenset({"", "unknown", "unk", "nan", "na", "n/a", "none", "null", "-", "?", "not specified"})
"""Words, lower-case, that stand for a blank cell."""
_SEXES = {"m": "male", "man": "male", "f": "female", "w": "female", "woman": "female"}
_SPACE = re.compile(r"\s+")
_OLDEST = 120


_CONFIRMED_BY = ("dx_type", "diagnosis_confirm_type")
_CONFIRMED = {
    "histo": "histopathology",
    "follow": "follow-up without change",
    "serial": "follow-up without change",
    "confocal": "confocal microscopy",
    "consensus": "expert consensus",
    "single": "expert consensus",
}
"""How a word of HAM10000 (dx_type) or of the ISIC archive (diagnosis_confirm_type) begins -> what it stands for."""


def confirmation(row: Mapping[str, object]) -> str:
    """Return how a row's diagnosis was confirmed, e.g. "histopathology"; "" where its file does not say."""
    plain = {str(name).removeprefix("x_").strip().lower(): value for name, value in row.items()}
    told = next((str(plain[name]).strip().lower() for name in _CONFIRMED_BY if plain.get(name)), "")
    return next((words for begins, words in _CONFIRMED.items() if told.startswith(begins)), "")


def fact_columns(columns: Iterable[str]) -> dict[str, str]:
    """Return fact -> the column that carries it, by name; facts without a column are left out.

    Args:
        columns: Column names; a leading "x_" (a dataset's own mark for a file's other columns) is looked through.
    """
    plain = {name.removeprefix("x_").strip().lower(): name for name in columns}
    found = {fact: next((plain[name] for name in names if name in plain), None) for fact, names in _COLUMNS.items()}
    return {fact: column for fact, column in found.items() if column is not None}


def clean_fact(fact: str, cell: str) -> str:
    """Return a cell in its one spelling: age in years ("45"), male or female, a lower-case site; "" when unknown."""
    plain = _SPACE.sub(" ", cell).strip().lower()
    if plain in UNKNOWN:
        return ""
    if fact == "age":
        return _age(plain)
    return _SEXES.get(plain, plain) if fact == "sex" else plain


def facts_of(row: Mapping[str, object], columns: Mapping[str, str]) -> dict[str, str]:
    """Return the known facts of a row, cleaned; `columns` is what `fact_columns` gave."""
    cells = {fact: row.get(column) for fact, column in columns.items()}
    found = {fact: clean_fact(fact, "" if cell is None else str(cell)) for fact, cell in cells.items()}
    return {fact: value for fact, value in found.items() if value}


def _age(text: str) -> str:
    try:
        years = float(text)
    except ValueError:
        return ""
    return f"{years:g}" if 0 <= years <= _OLDEST else ""
