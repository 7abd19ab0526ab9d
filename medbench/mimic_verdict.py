"""What a built MIMIC database holds, and what was left out on the way and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medbench import mimic_schema
from medbench.mimic_files import NOTES, Version
from medbench.mimic_splits import Published

if TYPE_CHECKING:
    import duckdb

NOTHING_TO_TRAIN = (
    "There are no discharge notes in this folder: codes and patients are loaded, but nothing can be trained on them."
)
_NOTES_APART = "MIMIC-IV's notes are a download of their own, MIMIC-IV-Note; name its folder as well."


@dataclass(frozen=True)
class TableCount:
    """One table: its name, its file, the rows in the file, and the rows of the chosen patients."""

    name: str
    file: str
    rows: int
    kept: int


@dataclass(frozen=True)
class Verdict:
    """What a database holds.

    Attributes:
        tables: Counts of every table.
        patients: Chosen patients.
        noted: Those among them with a usable discharge note.
        notes: Admissions with a note.
        coded: Admissions with a note and at least one code: what can be trained on.
        codes: Version ("icd9cm", ...) -> codes listed over all admissions.
        distinct: Version -> different codes.
        splits: Split -> admissions with a note and codes.
        left_out: One sentence for each thing that was left out, joined or is to be known.
    """

    tables: list[TableCount]
    patients: int
    noted: int
    notes: int
    coded: int
    codes: dict[str, int]
    distinct: dict[str, int]
    splits: dict[str, int]
    left_out: list[str]

    @property
    def can_train(self) -> bool:
        """True when there is an admission with a note and codes."""
        return self.coded > 0


def judge(
    con: duckdb.DuckDBPyConnection,
    version: Version,
    counts: Sequence[TableCount],
    unknown: Sequence[str],
    wanted: Published | None,
) -> Verdict:
    """Count what is in a database that has all its tables and views."""

    def one(query: str) -> int:
        row = con.execute(query).fetchone()
        return int(row[0] or 0) if row else 0

    def pairs(query: str) -> dict[str, int]:
        return {str(key): int(value) for key, value in con.execute(query).fetchall()}

    names = {count.name for count in counts}
    sentences = [*_about_files(counts, unknown)]
    sentences += _about_notes(one, version) if NOTES[version] in names else [NOTHING_TO_TRAIN]
    if NOTES[version] in names and not one("SELECT count(*) FROM facts"):
        sentences.append(NOTHING_TO_TRAIN)
    elif NOTES[version] not in names and version == "iv":
        sentences.append(_NOTES_APART)
    sentences += [*_about_codes(one, names), *(_about_splits(one, wanted) if wanted else [])]
    return Verdict(
        tables=sorted(counts, key=lambda count: count.name),
        patients=one("SELECT count(*) FROM chosen"),
        noted=one("SELECT count(DISTINCT subject_id) FROM note_parts"),
        notes=one("SELECT count(*) FROM facts"),
        coded=one("SELECT count(*) FROM facts WHERE len(labels) > 0"),
        codes=pairs("SELECT version, count(*) FROM codes GROUP BY 1 ORDER BY 1"),
        distinct=pairs("SELECT version, count(DISTINCT code) FROM codes GROUP BY 1 ORDER BY 1"),
        splits=pairs("SELECT split, count(*) FROM facts WHERE len(labels) > 0 AND split IS NOT NULL GROUP BY 1"),
        left_out=sentences,
    )


def _said(count: int, sentence: str) -> list[str]:
    """Return the sentence with its number, or nothing for none."""
    return [sentence.format(f"{count:,}")] if count else []


def _about_files(counts: Sequence[TableCount], unknown: Sequence[str]) -> list[str]:
    others = sum(count.rows - count.kept for count in counts)
    sentences = _said(others, "Rows of patients that were not chosen: {}.")
    if unknown:
        sentences.append(f"Not a table of this MIMIC, left out: {', '.join(unknown[:10])}.")
    return sentences


def _about_notes(one: Any, version: Version) -> list[str]:
    table, kind = NOTES[version], mimic_schema.IS_DISCHARGE[version]
    right, usable = mimic_schema.NO_ERROR[version], mimic_schema.is_note(version)
    words = mimic_schema.HAS_WORDS
    count = f"SELECT count(*) FROM {table} WHERE"
    return [
        *_said(one(f"{count} ({kind}) IS NOT TRUE"), "Notes of another kind than discharge summary: {}."),
        *_said(one(f"{count} {kind} AND NOT ({right})"), "Discharge notes marked as wrong by their authors: {}."),
        *_said(one(f"{count} {kind} AND {right} AND hadm_id IS NULL"), "Discharge notes outside an admission: {}."),
        *_said(
            one(f"{count} {kind} AND {right} AND {mimic_schema.IN_ADMISSION} AND ({words}) IS NOT TRUE"),
            "Blank discharge notes: {}.",
        ),
        *_said(
            one(f"SELECT (SELECT count(*) FROM {table} WHERE {usable}) - (SELECT count(*) FROM note_parts)"),
            "Discharge notes that repeat another one of their admission word for word, taken once: {}.",
        ),
        *_said(
            one("SELECT count(*) FROM note_parts WHERE position > 1"),
            "Addenda and further notes joined to the first note of their admission: {}.",
        ),
        *_said(
            one("SELECT count(*) FROM facts WHERE len(labels) = 0"), "Admissions with a note and no code: {}."
        ),
        *_said(
            one("SELECT count(DISTINCT hadm_id) FROM codes WHERE hadm_id NOT IN (SELECT hadm_id FROM facts)"),
            "Admissions with codes and no discharge note: {}.",
        ),
    ]  # fmt: skip


def _about_codes(one: Any, names: set[str]) -> list[str]:
    unusable = "coalesce(code, '') = '' OR version IS NULL OR hadm_id IS NULL"
    sentences = [
        *_said(
            one(f"SELECT count(*) FROM listed WHERE {unusable}"),
            "Rows of codes without a code, an admission or an ICD version: {}.",
        ),
        *_said(
            one(f"SELECT (SELECT count(*) FROM listed WHERE NOT ({unusable})) - (SELECT count(*) FROM codes)"),
            "Codes listed again in their admission, counted once: {}.",
        ),
        *_said(
            one("SELECT count(*) FROM codes WHERE seq_num IS NULL"), "Codes without a rank, put last: {}."
        ),
    ]  # fmt: skip
    missing = sorted({"d_icd_diagnoses", "d_icd_procedures"} - names)
    if missing:
        sentences.append(f"{' and '.join(missing)} not found: codes are loaded without their official texts.")
    else:
        sentences += _said(
            one("SELECT count(DISTINCT label) FROM codes WHERE title IS NULL"),
            "Different codes in no dictionary of MIMIC, kept without a text: {}.",
        )
    return sentences


def _about_splits(one: Any, wanted: Published) -> list[str]:
    torn = "SELECT subject_id FROM splits GROUP BY subject_id HAVING count(DISTINCT split) > 1"
    return [
        f"Splits are those of {', '.join(wanted.names)}.",
        *_said(
            one("SELECT count(*) FROM facts WHERE split IS NULL"),
            "Admissions with a note that are in none of the published splits, left out of them: {}.",
        ),
        *_said(
            one(f"SELECT count(*) FROM ({torn})"),
            "Patients in more than one of the published splits, so that test scores will be too good: {}.",
        ),
    ]
